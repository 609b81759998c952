"""What a registry decides: what to take of a message, what to stop serving, whom to forget, and what to answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reploc.wire import SoftState, SoftStateAnswer, Summary
from rli.completeness import Slots

NO_SLOTS: Slots = np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class Decision:
    """What to do with a message: verify, write and apply these summaries of the site of that number, then answer."""

    message: SoftState
    received_at: float
    number: int
    renews: bool
    """Whether it is news, not a late or doubled message."""
    accepted: tuple[Summary, ...]
    dropped: Slots = field(default_factory=lambda: NO_SLOTS)
    """Slots of the site to stop serving at once: the sender does not tell this node of them any more."""


@dataclass(frozen=True)
class DropSite:
    """Stop serving all bits of a site that fell silent."""

    site: str
    number: int


@dataclass(frozen=True)
class Forget:
    """The site is no longer remembered, and its number may be given to another. Its bits were dropped before."""

    site: str
    number: int


@dataclass(frozen=True)
class DropSlots:
    """Stop serving these slots of a site: leftovers of an earlier epoch that the new one does not have."""

    site: str
    number: int
    slots: Slots


@dataclass(frozen=True)
class Settled:
    """The end of a message: what to answer, and what to stop serving before."""

    answer: SoftStateAnswer
    drop: DropSlots | None = None
