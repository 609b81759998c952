"""What a run may find and do before it stops and asks: a broken listing looks like a catastrophe, and must not be one.

Two questions, both pure. *Is this comparison to be believed?* An empty scan, one of another site, or too much that
could not be looked at, makes the run *failed*: nothing of it counts. *May it be acted on?* More findings of a kind than
its bounds, in number, as a share, or together with what was done in the week before, make the whole run *held* until an
operator releases it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from consistency.tally import Count, Tally
from reploc.config import Settings

#: What is bounded: the findings, and directories that nothing is in.
Bounded: TypeAlias = Literal["missing", "orphan", "damaged", "empty-directories"]
BOUNDED: tuple[Bounded, ...] = ("missing", "orphan", "damaged", "empty-directories")
#: The week of the weekly limits.
WEEK_S = 7 * 86_400.0


class KindLimits(Settings, frozen=True):
    """How much of one kind may be found, and done in a week."""

    files: Annotated[int, Meta(description="Found in one run, at most.", ge=0)] = 1_000
    fraction: Annotated[
        float, Meta(description="Found in one run as a share (0 to 1) of what there is, at most.", ge=0.0, le=1.0)
    ] = 0.01
    files_per_week: Annotated[int, Meta(description="Acted on in seven days, at most.", ge=0)] = 5_000


class Limits(Settings, frozen=True):
    """The bounds of a run. A share is of the catalog's files, of orphans and directories that of what was scanned."""

    missing: KindLimits = field(default_factory=KindLimits)
    damaged: KindLimits = field(default_factory=KindLimits)
    orphan: KindLimits = field(default_factory=KindLimits)
    empty_directories: KindLimits = field(default_factory=lambda: KindLimits(files=10_000, fraction=0.1))
    unknown_fraction: Annotated[
        float, Meta(description="Share of the catalog that could not be looked at, at most.", ge=0.0, le=1.0)
    ] = 0.05

    def of(self, kind: Bounded) -> KindLimits:
        """The bounds of a kind."""
        return {
            "missing": self.missing,
            "damaged": self.damaged,
            "orphan": self.orphan,
            "empty-directories": self.empty_directories,
        }[kind]


class Breach(msgspec.Struct, frozen=True):
    """A bound that was crossed: what of, which bound, its value, and what was met."""

    of: str
    bound: str
    limit: float
    found: float

    def __str__(self) -> str:
        return f"{self.of}: {self.found:.6g} beyond the bound {self.bound} = {self.limit:.6g}"


def unbelievable(tally: Tally, directories_failed: int, limits: Limits) -> list[str]:
    """Why a comparison does not count, one sentence each; none where it does."""
    said = []
    if not tally.scanned.files and tally.expected.files:
        said.append(f"the scan found no file, and the catalog has {tally.expected.files}")
    elif tally.expected.files > tally.unchecked.files and not tally.common.files:
        said.append("the scan and the catalog have no file in common: they are of two sites")
    if tally.unchecked_fraction > limits.unknown_fraction:
        said.append(
            f"{tally.unchecked_fraction:.4%} of the catalog's files lie below {directories_failed} directories that "
            f"could not be listed; at most {limits.unknown_fraction:.4%} may"
        )
    return said


def breaches(
    found: Mapping[Bounded, int], tally: Tally, directories: int, done_this_week: Mapping[Bounded, int], limits: Limits
) -> list[Breach]:
    """The bounds that a run crosses with so much found of each kind, after so much was done in the week before."""
    return [
        breach
        for kind in BOUNDED
        for breach in _of_kind(
            kind, found.get(kind, 0), _whole(kind, tally, directories), done_this_week.get(kind, 0), limits.of(kind)
        )
    ]


def _whole(kind: Bounded, tally: Tally, directories: int) -> int:
    counts: dict[Bounded, Count] = {"missing": tally.expected, "damaged": tally.expected, "orphan": tally.scanned}
    return counts[kind].files if kind in counts else directories


def _of_kind(kind: Bounded, found: int, whole: int, done: int, limits: KindLimits) -> Iterator[Breach]:
    if found > limits.files:
        yield Breach(kind, "files", limits.files, found)
    if found > limits.fraction * whole:
        yield Breach(kind, "fraction", limits.fraction, found / whole if whole else 1.0)
    if found and done + found > limits.files_per_week:
        yield Breach(kind, "files_per_week", limits.files_per_week, done + found)
