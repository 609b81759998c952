"""A cycle: one decision on one inventory, checked before, written in one transaction, and kept for ever.

What decides (detox, dealer) is given here as a `Decider` and stays a pure function of the inventory and the moment.
A cycle starts only where the news of every READY site is complete and young enough, or leaves out, when told to, those
whose news is not; and what it decided is written only if nobody else has decided anything meanwhile. However it ends,
it is on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from placement import database, history, recording
from placement.history import CycleRecord
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import Written
from placement.recording import Decided
from reploc import telemetry
from reploc.commands.terminal import shown_age
from reploc.errors import InventoryMoved, NewsMissing, ReplocError

#: Sites that a refusal names; more are counted.
NAMED_MAX = 10
#: How often a cycle decides anew because somebody else has decided something meanwhile, before it gives up.
ATTEMPTS_MAX = 3


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
        elif (ahead := row["news_at"] - now) > 0:
            found[row["name"]] = f"its news is from {shown_age(ahead)} in the future: a clock is or was wrong"
        else:
            found[row["name"]] = f"its news is {shown_age(-ahead)} old"
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
    """Runs one cycle. Raises NewsMissing, InventoryMoved and whatever the decider raises; then nothing was ordered.

    Where somebody else decided something meanwhile, the cycle decides anew, ATTEMPTS_MAX times in all.
    """
    attempts = 0
    while True:
        attempts += 1
        attempt = _Attempt(keeper, decider)
        try:
            done = attempt.run(max_age_s, partial=partial)
        except Exception as wrong:
            if isinstance(wrong, InventoryMoved) and attempts < ATTEMPTS_MAX:
                telemetry.event("cycle.anew", kind=decider.kind, attempt=attempts, detail=wrong.detail)
                continue
            attempt.record_failure(wrong)
            raise
        telemetry.event("cycle.done", kind=decider.kind, cycle=done.number, orders=len(done.written.written))
        return done


class _Attempt:
    """One decision on the inventory of now, and its writing."""

    def __init__(self, keeper: Keeper, decider: Decider) -> None:
        self._keeper = keeper
        self._decider = decider
        self._started = keeper.clock()
        self._version = ""

    def run(self, max_age_s: float, *, partial: bool) -> Outcome:
        inventory, decisions = self._keeper.inventory_with_decisions()
        self._version = inventory.version
        absent = left_out(inventory, self._started, max_age_s, partial=partial)
        decided = self._decider.decide(inventory, self._started, absent)
        with self._keeper.writing() as connection:
            if database.decisions(connection) != decisions:
                raise InventoryMoved(f"somebody else has decided since inventory {inventory.version} was made")
            now = self._keeper.clock()
            number, written = recording.put(connection, self._record(decided), decided, now)
            history.amend(connection, number, _totals(decided, written, absent))
        return Outcome(number, decided, written, tuple(sorted(absent)))

    def record_failure(self, wrong: Exception) -> None:
        """Keeps on record that a cycle did nothing, and why; where even that fails, the log has it."""
        kind = self._decider.kind
        said = wrong.detail if isinstance(wrong, ReplocError) else f"{type(wrong).__name__}: {wrong}"
        outcome = "refused" if isinstance(wrong, NewsMissing | InventoryMoved) else "failed"
        telemetry.event(f"cycle.{outcome}", kind=kind, detail=said)
        try:
            with self._keeper.writing() as connection:
                history.keep(connection, self._record(Decided(), outcome, said))
        except ReplocError as again:
            telemetry.event("cycle.unrecorded", kind=kind, detail=again.detail)

    def _record(self, decided: Decided, outcome: str = "done", reason: str = "") -> CycleRecord:
        return CycleRecord(
            kind=self._decider.kind,
            policy=self._decider.policy,
            inventory=self._version,
            started_s=self._started,
            ended_s=self._keeper.clock(),
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
