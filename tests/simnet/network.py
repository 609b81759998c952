"""A network with a seed: it loses, delays, doubles and reorders what it carries, spoils summaries, and has cuts.

A way is a pair of parties (who speaks, who hears): a cut may go one way only, and between nodes as well as between a
site and a node. All faults are counted, but for delays, which everything has. After `heal` it carries everything once
and quickly, but what was sent before may still arrive late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeAlias, TypeVar

import msgspec

from reploc.bloom import CONTAINER_HEADER_BYTES
from reploc.wire import SoftState, Summary
from simnet.clock import Clock

T = TypeVar("T", bound=msgspec.Struct)
#: Who speaks, and who hears.
Way: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Faults:
    """How often each fault occurs, as a fraction of messages or, where `spoiled`, of summaries.

    Delays are even between 0 and `delay_max_s`.
    """

    lost: float = 0.0
    doubled: float = 0.0
    spoiled: float = 0.0
    delay_max_s: float = 0.01


CALM = Faults()


class Network:
    """Carries messages as the bytes that would be on the wire."""

    def __init__(self, clock: Clock, rng: Random, faults: Faults = CALM) -> None:
        self.clock = clock
        self.rng = rng
        self.faults = faults
        self._cuts: set[Way] = set()
        #: Faults that were made so far.
        self.made = 0

    def heal(self) -> None:
        self.faults = CALM
        self._cuts.clear()

    def cut(self, way: Way) -> None:
        """Nothing that goes this way arrives any more, not even what has left already."""
        self._cuts.add(way)

    def is_open(self, way: Way) -> bool:
        """Whether what goes this way can arrive; what cannot is counted as a fault."""
        self.made += way in self._cuts
        return way not in self._cuts

    def carry(self, way: Way, message: T, deliver: Callable[[T], None]) -> None:
        """Delivers the message never, once or twice."""
        if self.rng.random() < self.faults.lost:
            self.made += 1
            return
        wire = msgspec.msgpack.encode(self._spoiled(message))
        doubled = self.rng.random() < self.faults.doubled
        self.made += doubled
        for _ in range(2 if doubled else 1):
            self.clock.after(
                self.rng.uniform(0, self.faults.delay_max_s), lambda: self._arrive(way, wire, type(message), deliver)
            )

    def _arrive(self, way: Way, wire: bytes, kind: type[T], deliver: Callable[[T], None]) -> None:
        if self.is_open(way):
            deliver(msgspec.msgpack.decode(wire, type=kind))

    def _spoiled(self, message: T) -> T:
        if not isinstance(message, SoftState):
            return message
        spoil = [self.rng.random() < self.faults.spoiled for _ in message.summaries]
        self.made += sum(spoil)
        summaries = [spoiled(one, self.rng) if bad else one for bad, one in zip(spoil, message.summaries, strict=True)]
        return msgspec.structs.replace(message, summaries=summaries)


def spoiled(summary: Summary, rng: Random) -> Summary:
    """The summary with a bit flipped, its end cut off, or another checksum than its body's."""
    body = bytearray(summary.body)
    match rng.randrange(3):
        case 0:
            body[rng.choice(_guarded(summary))] ^= 1 << rng.randrange(8)
            return msgspec.structs.replace(summary, body=bytes(body))
        case 1:
            return msgspec.structs.replace(summary, body=bytes(body[: rng.randrange(len(body))]))
        case _:
            return msgspec.structs.replace(summary, checksum=summary.checksum ^ 1 << rng.randrange(64))


def _guarded(summary: Summary) -> list[int]:
    """The bytes of a body that its geometry or checksum guards: of a filter all but those of the number of names."""
    if summary.kind != "bloom":
        return list(range(len(summary.body)))
    count = range(8) if summary.from_seq else range(CONTAINER_HEADER_BYTES - 8, CONTAINER_HEADER_BYTES)
    return [at for at in range(len(summary.body)) if at not in count]
