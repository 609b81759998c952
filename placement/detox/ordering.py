"""A plan becomes orders: checked against the inventory of now, written with the cycle's history in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from placement import history, orders
from placement.detox import application
from placement.detox.plan import Plan
from placement.history import CycleRecord
from placement.keeper import Keeper
from placement.messages import Written
from reploc.errors import PlanOutdated

#: Blocks that do not hold any more and are told of in an error.
FAILURES_TOLD_MAX = 5


@dataclass(frozen=True)
class Ordered:
    """What came of a plan: the number of its cycle, the orders, and what did not hold and was left."""

    cycle: int
    written: Written
    left: pl.DataFrame


def order(keeper: Keeper, plan: Plan, *, holding: bool = False, yes_really: bool = False) -> Ordered:
    """Writes the orders of a plan; `holding`: what does not hold any more is left and the rest is done.

    Raises PlanOutdated: the plan is too old, or a block of it is not as it was; PlanExcessive: it was cut short by
    `max_fraction_of_site`. Then nothing is written.
    """
    application.require_meant(plan, yes_really=yes_really)
    with keeper.writing() as connection:
        now = keeper.clock()
        inventory = keeper.inventory()
        checked = application.checked(plan, inventory, now)
        failed = checked.failed()
        if len(failed) and not holding:
            raise PlanOutdated(_told(failed))
        blocks = checked.held()
        number = history.keep(connection, _record(plan, inventory.version, now))
        written = orders.write(
            connection,
            list(application.wishes(blocks)),
            list(application.handovers(blocks)),
            asked_by=f"cycle {number}",
            now=now,
            cycle=number,
        )
    return Ordered(number, written, failed)


def _record(plan: Plan, version: str, now: float) -> CycleRecord:
    header = plan.header
    totals = {
        "partition": header.partition,
        "passes": header.passes,
        "deleted_bytes": sum(site.deleted for site in header.sites),
        "deleted_blocks": plan.deletions().height,
        "handed_over_blocks": plan.handovers().height,
        "last_copies": int(plan.blocks["last_copy"].sum()),
        "written_on": version,
    }
    return CycleRecord(
        "detox", header.policy, header.inventory, header.at, now, "ordered", "", None, totals, plan.encoded()
    )


def _told(failed: pl.DataFrame) -> str:
    first = [
        f"{row['block']} at {row['site']}: {row['reason']}"
        for row in failed.head(FAILURES_TOLD_MAX).iter_rows(named=True)
    ]
    more = f" · and {failed.height - FAILURES_TOLD_MAX:,} more" if failed.height > FAILURES_TOLD_MAX else ""
    return f"{failed.height:,} blocks are not as the plan has them: {' · '.join(first)}{more}"
