"""The record of one run: durable, whole, and the same byte for byte for the same findings.

`running → done | held | failed | broken`: *done* counts and is within its limits, *held* waits for an operator to
release it, *failed* does not count because what it saw is not to be believed, *broken* ended in an error.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from consistency.limits import Breach
from consistency.tally import Tally

RunState: TypeAlias = Literal["running", "done", "held", "failed", "broken"]
#: Exit statuses of `reploc consistency check`, by the state of its run; 2 is a wrong use, as of every command.
STATUS: dict[RunState, int] = {"done": 0, "held": 1, "failed": 3, "broken": 4, "running": 4}


class ListingReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the storage was listed."""

    directories: int = 0
    files: int = 0
    others: int = 0
    failed: int = 0
    partial: int = 0
    retries: int = 0
    resumed: int = 0
    seconds: float = 0.0
    doors: dict[str, int] = {}


class CatalogReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the catalog was read as: its position, its mappings, and those that no door of the site names."""

    position: int = 0
    mappings: int = 0
    foreign: int = 0
    first_foreign: str = ""
    changes: int = 0
    read_twice: bool = False
    seconds: float = 0.0


class ActionReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done about confirmed findings: how many of each, and what did not work, in words."""

    recopied: int = 0
    unregistered: int = 0
    lost: int = 0
    quarantined: int = 0
    removed_directories: int = 0
    emptied_from_trash: int = 0
    spared: int = 0
    failures: list[str] = []


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run at one site. Times are seconds since the epoch; `reasons` say why it failed or is held."""

    run: int
    site: str
    state: RunState
    began_at: float
    seconds: float = 0.0
    tally: Tally = msgspec.field(default_factory=Tally)
    listing: ListingReport = msgspec.field(default_factory=ListingReport)
    catalog: CatalogReport = msgspec.field(default_factory=CatalogReport)
    empty_directories: int = 0
    confirmed: dict[str, int] = {}
    breaches: list[Breach] = []
    reasons: list[str] = []
    actions: ActionReport = msgspec.field(default_factory=ActionReport)
    released_by: str = ""
