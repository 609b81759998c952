"""A network with a seed: it loses, delays, doubles and reorders what it carries, and spoils summaries.

After `heal` it carries everything once and quickly, but what was sent before may still arrive late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import msgspec

from reploc.bloom import CONTAINER_HEADER_BYTES
from reploc.wire import SoftState, Summary
from simnet.clock import Clock

T = TypeVar("T", bound=msgspec.Struct)


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
        #: Pairs (site, node) that do not reach each other, whichever speaks.
        self.cuts: set[tuple[str, str]] = set()

    def heal(self) -> None:
        self.faults = CALM
        self.cuts.clear()

    def carry(self, pair: tuple[str, str], message: T, deliver: Callable[[T], None]) -> None:
        """Delivers the message never, once or twice. A cut made while it is on its way loses it too."""
        if self.rng.random() < self.faults.lost:
            return
        wire = msgspec.msgpack.encode(self._spoiled(message))
        for _ in range(2 if self.rng.random() < self.faults.doubled else 1):
            self.clock.after(
                self.rng.uniform(0, self.faults.delay_max_s), lambda: self._arrive(pair, wire, type(message), deliver)
            )

    def _arrive(self, pair: tuple[str, str], wire: bytes, kind: type[T], deliver: Callable[[T], None]) -> None:
        if pair not in self.cuts:
            deliver(msgspec.msgpack.decode(wire, type=kind))

    def _spoiled(self, message: T) -> T:
        if not isinstance(message, SoftState):
            return message
        summaries = [
            spoiled(one, self.rng) if self.rng.random() < self.faults.spoiled else one for one in message.summaries
        ]
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
    """The bytes of a body that its geometry or checksum guards: all but those of the number of names."""
    count = range(8) if summary.from_seq else range(CONTAINER_HEADER_BYTES - 8, CONTAINER_HEADER_BYTES)
    return [at for at in range(len(summary.body)) if at not in count]
