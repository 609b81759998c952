"""One site as a node knows it: the sender that it is bound to, and what is held of that in which epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from reploc.hierarchy import Beneath, teller
from reploc.wire import SlotAnswer, SoftState, Summary
from rli.claims import mark


class State(Enum):
    """What a site is to the node."""

    LEARNED = "listed"
    """Another node named it; nothing was heard from it yet."""
    LIVE = "live"
    SILENT = "silent"


@dataclass(slots=True)
class Site:
    """One site, with the sender that it is bound to."""

    name: str
    number: int
    url: str
    state: State
    #: Sequence held of each slot in this epoch, 0 where none is, shape (slots,).
    sequences: NDArray[np.uint64] = field(repr=False)
    #: The checksum of what is held of each slot whose sequence is not 0, shape (slots,).
    checksums: NDArray[np.uint64] = field(repr=False)
    #: Empty while none was heard.
    sender: str = ""
    #: What tells the sender from another (`rli/claims.py`).
    claim: str = ""
    epoch: int = 0
    incarnation: int = 0
    #: The highest message number of this epoch.
    message: int = 0
    #: The message with which it began to be live: what was sent before tells of an earlier time, and nothing that is
    #: held would say so.
    first: int = 0
    #: The position that is fully applied, 0 where nothing is.
    applied: int = 0
    #: Whether any is: an empty catalog's is 0.
    settled: bool = False
    #: Since when the site is bound to its sender.
    bound_at: float = 0.0
    #: What an index node that is heard says of itself; None of a catalog.
    beneath: Beneath | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """Its name, where it answers, and the index that it is a node of, if it is one; of a sender that an index node
        relays, those of the node."""
        return (self.name, self.url, "") if self.beneath is None else (teller(self.name), self.url, self.beneath.index)

    @property
    def is_one_piece(self) -> bool:
        """Whether what it sends has one slot, which stands for all."""
        return len(self.sequences) == 1

    def begin_epoch(self, message: SoftState, now: float) -> None:
        """From now on the sender and epoch of this message count; nothing of them is held yet."""
        self.sequences, self.checksums = np.zeros((2, pieces(message)), dtype=np.uint64)
        if message.sender != self.sender or self.state is not State.LIVE:
            self.bound_at = now
        if message.sender != self.sender:
            self.applied, self.settled = 0, False
            self.claim = mark(message.sender)
        self.sender = message.sender
        self.epoch = message.epoch
        self.incarnation = message.incarnation
        self.message = self.first = 0

    def counts(self, message: SoftState) -> bool:
        """Whether the summaries of a message may be taken."""
        return self.state is State.LIVE and self.is_of(message) and message.message >= self.first

    def held(self, slot: int) -> int:
        """The sequence held of a slot."""
        return int(self.sequences[slot])

    @property
    def all_held(self) -> list[tuple[int, int]]:
        """Each slot of which anything is held, with its sequence."""
        return [(slot, self.held(slot)) for slot in np.flatnonzero(self.sequences).tolist()]

    def takes(self, summary: Summary) -> bool:
        """Whether a summary takes its slot forward from what is held, or, if it is whole, repairs it."""
        held = self.held(summary.slot)
        return summary.from_seq <= held < summary.to_seq if summary.from_seq else held <= summary.to_seq

    def answer(self, summary: Summary, spoiled: Mapping[int, str]) -> SlotAnswer:
        """`ok` where the summary's sequence or a later one is held; `spoiled` says of some slots why not."""
        held = self.held(summary.slot)
        if summary.slot in spoiled:
            return SlotAnswer(summary.slot, "resend", spoiled[summary.slot])
        if held < summary.from_seq:
            return SlotAnswer(
                summary.slot, "resend", f"sequence {held} is held, the increment is from {summary.from_seq}"
            )
        if held < summary.to_seq:
            return SlotAnswer(summary.slot, "resend", f"sequence {held} is held, {summary.to_seq} was not applied")
        return SlotAnswer(summary.slot, "ok")

    def is_of(self, message: SoftState) -> bool:
        """Whether the message is of the sender, epoch and incarnation that count."""
        return (self.sender, self.epoch, self.incarnation) == (message.sender, message.epoch, message.incarnation)


def pieces(message: SoftState) -> int:
    """How many slots a sender's messages have."""
    return 1 if message.one_piece else message.slots
