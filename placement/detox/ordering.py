"""A plan becomes orders: as part of the cycle that makes it, or later, where everything is still as it was then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from placement import plan_files, recording
from placement.detox import application, planning
from placement.detox.plan import Plan
from placement.detox.planning import Run
from placement.history import CycleRecord
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.plan_files import Ordered
from placement.policy.bits import Column
from placement.recording import Decided
from reploc.errors import InventoryMoved


def order(
    keeper: Keeper,
    plan: Plan,
    max_news_age_s: float,
    *,
    attributes_of: Callable[[Inventory, float], Mapping[str, Column]] | None = None,
    holding: bool = False,
    yes_really: bool = False,
) -> Ordered:
    """Writes the orders of a plan; `holding`: what does not hold any more is left and the rest is done.

    `attributes_of` gives what producers know of locks, and is asked before anybody has to wait for this write.
    Raises PlanOutdated: the plan is too old; InventoryMoved: a block of it is not as it was; PlanExcessive: it was cut
    short by `max_fraction_of_site`. Then nothing is written.
    """
    application.require_meant(plan, yes_really=yes_really)
    seen = keeper.inventory()
    attributes = {} if attributes_of is None else attributes_of(seen, keeper.clock())
    locked = application.locked_of(plan, seen, attributes)
    with keeper.writing() as connection:
        now = keeper.clock()
        inventory = keeper.inventory()
        checked = application.checked(plan, inventory, now, max_news_age_s, locked)
        failed = checked.failed()
        if len(failed) and not holding:
            raise InventoryMoved(plan_files.moved(failed))
        blocks = checked.held()
        decided = Decided(tuple(application.wishes(blocks)), tuple(application.handovers(blocks)))
        number, written = recording.put(connection, _record(plan, inventory.version, now), decided, now)
    return Ordered(number, written, failed)


class Detox:
    """The decider of a detox cycle; `run_of` makes the run for an inventory, a moment and the sites to leave out.

    `plan` is what it decided, once it has.
    """

    kind = "detox"

    def __init__(self, policy: str, run_of: Callable[[Inventory, float, frozenset[str]], Run]) -> None:
        self.policy = policy
        self._run_of = run_of
        self.plan: Plan | None = None

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        """Plans, and wishes what the plan decided. Raises PlanExcessive, and what planning and producers raise."""
        self.plan = plan = planning.make(inventory, self._run_of(inventory, now, left_out))
        application.require_meant(plan, yes_really=False)
        wishes = tuple(application.wishes(plan.blocks))
        return Decided(wishes, tuple(application.handovers(plan.blocks)), _totals(plan), plan.encoded())


def _totals(plan: Plan) -> dict[str, Any]:
    return {
        "partition": plan.header.partition,
        "passes": plan.header.passes,
        "deleted_bytes": sum(site.deleted for site in plan.header.sites),
        "deleted_blocks": plan.deletions().height,
        "handed_over_blocks": plan.handovers().height,
        "last_copies": int(plan.blocks["last_copy"].sum()),
    }


def _record(plan: Plan, version: str, now: float) -> CycleRecord:
    header = plan.header
    totals = _totals(plan) | {"written_on": version}
    return CycleRecord(
        "detox", header.policy, header.inventory, header.at, now, "done", "", None, totals, plan.encoded()
    )
