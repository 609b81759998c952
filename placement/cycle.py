"""A cycle: one decision on one inventory, checked before, written in one transaction, and kept for ever.

What decides (detox, dealer) is given here as a `Decider` and stays a pure function of the inventory and the moment.
A cycle starts only where the news of every READY site is complete and young enough, or leaves out, when told to, those
whose news is not; and what it decided is written only if nobody else has written meanwhile. However it ends, it is on
record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from placement import database, history, orders
from placement.history import CycleRecord
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import Written
from placement.orders import Handover, Wish
from reploc import telemetry
from reploc.commands.terminal import shown_age
from reploc.errors import InventoryMoved, NewsMissing, ReplocError

#: Sites that a refusal names; more are counted.
NAMED_MAX = 10


@dataclass(frozen=True)
class Decided:
    """What a decider decided: wishes and changes of owners, and what history keeps of it."""

    wishes: tuple[Wish, ...] = ()
    handovers: tuple[Handover, ...] = ()
    totals: Mapping[str, Any] = field(default_factory=dict)
    decisions: bytes = b""
    seed: int | None = None


class Decider(Protocol):
    """What decides in a cycle. `kind` is its name, `policy` the text that it decides by."""

    @property
    def kind(self) -> str: ...

    @property
    def policy(self) -> str: ...

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        """What shall be done. Of the sites that are left out nothing is known: nothing is deleted or copied there, and
        no copy there counts. Raises what keeps it from deciding; then nothing is ordered."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A cycle that was done: its number in history, what was decided, and what became of it."""

    number: int
    decided: Decided
    written: Written
    left_out: tuple[str, ...]


def news_missing(inventory: Inventory, now: float, max_age_s: float) -> dict[str, str]:
    """The READY sites whose news is not complete or too old, and what is wrong with it."""
    stale = np.flatnonzero(inventory.ready_sites & ~inventory.fresh_sites(now, max_age_s))
    found = {}
    for row in (inventory.sites.row(int(key), named=True) for key in stale):
        if row["news_at"] is None:
            found[row["name"]] = "nothing was heard"
        elif not row["news_complete"]:
            found[row["name"]] = "its news is incomplete"
        else:
            found[row["name"]] = f"its news is {shown_age(now - row['news_at'])} old"
    return found


def left_out(inventory: Inventory, now: float, max_age_s: float, *, partial: bool) -> frozenset[str]:
    """The sites that a cycle leaves out. Raises NewsMissing: there are some, and it is not told to."""
    missing = news_missing(inventory, now, max_age_s)
    if missing and not partial:
        named = ", ".join(f"{site} ({why})" for site, why in sorted(missing.items())[:NAMED_MAX])
        more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
        raise NewsMissing(f"of READY sites news is missing: {named}{more}")
    return frozenset(missing)


def run(keeper: Keeper, decider: Decider, max_age_s: float, *, partial: bool = False) -> Outcome:
    """Runs one cycle. Raises NewsMissing, InventoryMoved and whatever the decider raises; then nothing was ordered."""
    started = keeper.clock()
    version, decided = "", Decided()
    try:
        inventory, intended = keeper.inventory_with_intent()
        version = inventory.version
        absent = left_out(inventory, started, max_age_s, partial=partial)
        decided = decider.decide(inventory, started, absent)
        with keeper.writing() as connection:
            if database.intended(connection) != intended:
                raise InventoryMoved(f"somebody else has written since inventory {version} was made")
            number = history.keep(connection, _record(keeper, decider, decided, started, version))
            written = orders.write(
                connection,
                decided.wishes,
                decided.handovers,
                asked_by=f"cycle {number}",
                now=keeper.clock(),
                cycle=number,
            )
            history.amend(connection, number, _totals(decided, written, absent))
    except Exception as wrong:
        _record_failure(keeper, decider, started, version, wrong)
        raise
    telemetry.event("cycle.done", kind=decider.kind, cycle=number, orders=len(written.written))
    return Outcome(number, decided, written, tuple(sorted(absent)))


def _record(
    keeper: Keeper,
    decider: Decider,
    decided: Decided,
    started: float,
    version: str,
    outcome: str = "done",
    reason: str = "",
) -> CycleRecord:
    return CycleRecord(
        kind=decider.kind,
        policy=decider.policy,
        inventory=version,
        started_s=started,
        ended_s=keeper.clock(),
        outcome=outcome,
        reason=reason,
        seed=decided.seed,
        decisions=decided.decisions,
        totals=decided.totals,
    )


def _totals(decided: Decided, written: Written, absent: frozenset[str]) -> dict[str, Any]:
    told = {
        "orders": len(written.written),
        "joined": len(written.joined),
        "cancelled": len(written.cancelled),
        "handed_over": written.handed_over,
        "left_out": sorted(absent),
    }
    return {**decided.totals, **told}


def _record_failure(keeper: Keeper, decider: Decider, started: float, version: str, wrong: Exception) -> None:
    """Keeps on record that a cycle did nothing, and why; where even that fails, the log has it."""
    said = wrong.detail if isinstance(wrong, ReplocError) else f"{type(wrong).__name__}: {wrong}"
    outcome = "refused" if isinstance(wrong, NewsMissing | InventoryMoved) else "failed"
    telemetry.event(f"cycle.{outcome}", kind=decider.kind, detail=said)
    try:
        with keeper.writing() as connection:
            history.keep(connection, _record(keeper, decider, Decided(), started, version, outcome, said))
    except ReplocError as again:
        telemetry.event("cycle.unrecorded", kind=decider.kind, detail=again.detail)
