"""What plugins propose, and what the dealer answers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from placement.inventory import UNKNOWN


@dataclass(frozen=True, slots=True)
class Proposal:
    """One copy of a dataset, or of some of its blocks, at one of some sites.

    Keys are those of the inventory that the plugin was shown. One proposal is one copy: who wants three of a dataset
    proposes it three times.
    """

    dataset: int
    #: Keys of blocks of that dataset, rising; None: all that it has.
    blocks: tuple[int, ...] | None = None
    #: Keys of the sites that may get it; None: any. A full copy of another group is handed over where one site is
    #: named; where several are, those that have it all get no other.
    sites: tuple[int, ...] | None = None
    #: Who shall own it; empty: as the dealer's settings say.
    group: str = ""
    #: May be read from a site that is not ready, where no survivor has it.
    rescue: bool = False
    #: Why, for people; it stands in the plan.
    why: str = ""
    #: The number of the request that it is for, so that nothing is copied once that has ended; None: of no request.
    request: int | None = None

    @property
    def at_one(self) -> bool:
        """Whether it names the one site that shall have it."""
        return self.sites is not None and len(self.sites) == 1


class Answer(Enum):
    """What became of a proposal."""

    COPY = "copy"
    HAND_OVER = "hand over"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the dealer decided about a proposal: at which site (UNKNOWN where at none), or why not."""

    proposal: Proposal
    answer: Answer
    site: int = UNKNOWN
    reason: str = ""
