"""Lanes: what operations have in common that the schedule decides by, so that it decides about many at once.

A million waiting operations are a few thousand lanes. Files of one lane go in batches; small and large files have lanes
of their own, so that small ones do not wait behind large ones for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fileops.operation import Kind, State, Step

#: Bytes from which a file is large: ten seconds of a 100 Mbit/s share of a line.
LARGE_BYTES = 128 << 20


@dataclass(frozen=True)
class Lane:
    """Operations of one order (0: by hand) and kind at one site, from the same sources, under the same witness."""

    id: int
    order: int
    kind: Kind
    site: str
    sources: tuple[str, ...]
    witness: str
    large: bool


@dataclass(frozen=True)
class Wish:
    """An operation that is wanted: of `order` (0: by hand), with the sites that a copy may be taken from."""

    kind: Kind
    site: str
    lfn: str
    size: int | None = None
    checksum: str | None = None
    collection: str | None = None
    sources: tuple[str, ...] = ()
    witness: str = ""
    order: int = 0

    @property
    def large(self) -> bool:
        return self.kind == "copy" and (self.size or 0) >= LARGE_BYTES


@dataclass(frozen=True)
class Claimed:
    """An operation that is this runner's, as long as its lease lasts and nobody claims it with a higher fence.

    `before` is the fencing number of the claim before this one, 0 where there was none; `reason` is why the attempt
    before this one failed.
    """

    id: int
    lane: Lane
    lfn: str
    size: int | None
    checksum: str | None
    collection: str | None
    attempts: int
    fence: int
    cancel: bool
    step: Step
    pfns: tuple[str, ...]
    failures: dict[str, str]
    source: str
    before: int = 0
    reason: str = ""


class Standing(Enum):
    """How an operation stands with who asks to go on with it."""

    #: It is theirs: they may go on.
    OURS = auto()
    #: Somebody else has it by now, or it has ended.
    LOST = auto()
    #: It is theirs, and is to be cancelled.
    CANCELLED = auto()
    #: It is theirs, but another deletion is about to take the copy that must survive this one.
    OPPOSED = auto()


@dataclass(frozen=True)
class Ended:
    """What became of a claimed operation: an event of its life, why, and what is to be remembered.

    `due_s` is the moment of the next attempt of one that waits; `bad` are the sources that failed, with the reason;
    `moved` bytes travelled in `seconds`; `position` is that of the site's catalog after the last change.
    """

    operation: Claimed
    event: str
    words: str
    due_s: float = 0.0
    failures: dict[str, str] | None = None
    seconds: float = 0.0
    moved: int = 0
    position: int = 0


@dataclass(frozen=True)
class Tally:
    """The passage of one operation as its order counts it."""

    order: int
    before: State
    after: State
    size: int
