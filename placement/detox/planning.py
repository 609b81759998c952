"""From an inventory, a policy and a clock to a plan; nothing is changed (Dynamo paper, section 4.1).

Of READY sites without complete and recent news nothing is known; who calls says which are left out for that reason
(`placement/cycle.py`), or has stopped before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from placement.columns import InventoryColumns
from placement.detox.conditions import Conditions
from placement.detox.cycle import Cycle
from placement.detox.plan import Plan, PlanHeader
from placement.detox.record import Record
from placement.detox.runs import Bits
from placement.detox.settings import DetoxSettings
from placement.detox.world import Scene, World
from placement.inventory import Inventory
from placement.policy.bits import Column
from placement.policy.syntax import Comparison, Policy, leaves
from placement.policy.variables import Level

#: Names that a note or error counts out.
NAMES_TOLD_MAX = 10


@dataclass(frozen=True)
class Run:
    """What a run is given beside the inventory. `attributes` are columns by the names of variables.

    `left_out` names the READY sites of which there is no fresh news. `yes_really`: a site may lose more than
    `max_fraction_of_site`.
    """

    policy: Policy
    text: str
    file: str
    settings: DetoxSettings
    now_s: float
    attributes: Mapping[str, Column]
    left_out: frozenset[str] = frozenset()
    yes_really: bool = False


def make(inventory: Inventory, run: Run) -> Plan:
    """The plan of a run. Raises DefinitionUnknown (its partition), PolicyInvalid (its condition)."""
    cycle, targets = begun(inventory, run)
    cycle.run()
    triggered = cycle.triggered_at_start
    record = Record(cycle)
    blocks = record.blocks()
    names = inventory.sites["name"]
    header = PlanHeader(
        run.text,
        run.file,
        run.policy.partition,
        inventory.version,
        run.now_s,
        run.settings,
        run.yes_really,
        cycle.passes,
        watermarks(run.policy),
        tuple(sorted(run.left_out)),
        tuple(sorted(names[site] for site in cycle.budget.over)),
        tuple(_notes(cycle, targets, int(blocks["last_copy"].sum()))),
        record.sites(targets, triggered),
    )
    return Plan(header, record.decisions(), blocks)


def begun(inventory: Inventory, run: Run) -> tuple[Cycle, Bits]:
    """A cycle before its first pass, and its target sites. Raises as `make`."""
    fresh = ~inventory.sites["name"].is_in(sorted(run.left_out)).to_numpy()
    columns = InventoryColumns(inventory, run.attributes)
    world = World(Scene(inventory, columns, run.policy.partition, fresh))
    targets = Conditions(world, run.now_s).any_of_sites([line.condition for line in run.policy.on])
    world.aim(targets, targets_only=run.settings.count_scope == "targets")
    return Cycle(run.policy, world, run.settings, run.now_s, yes_really=run.yes_really), targets


def watermarks(policy: Policy) -> tuple[float, ...]:
    """The occupancies that `When` and `Until` compare with, from the highest."""
    conditions = [line.condition for line in (*policy.when, *policy.until)]
    found = {
        float(value)
        for condition in conditions
        for leaf in leaves(condition)
        if isinstance(leaf, Comparison) and leaf.variable.name in ("site.occupancy", "site.projected_occupancy")
        for value in leaf.values
        if isinstance(value, int | float)
    }
    return tuple(sorted(found, reverse=True))


def _notes(cycle: Cycle, targets: Bits, last_copies: int) -> list[str]:
    world, policy = cycle.world, cycle.policy
    names, found = world.inventory.sites["name"], []
    if not targets.any():
        found.append("no site matches On: nothing can happen")
    without = sorted(names.filter(targets & np.isnan(world.quota)))
    asked = any(each.level is Level.SITE and each.volatile for each in policy.variables())
    if without and asked:
        found.append(f"no quota, so that no predicate on occupancy holds: {_counted(without)}")
    matched = set(np.unique(cycle.row_line).tolist()) | {
        int(line) for part in cycle.gone.lines + cycle.reowned.lines for line in np.unique(part)
    }
    idle = [str(line.place.line) for n, line in enumerate(policy.lines) if line.place and n not in matched]
    if idle:
        found.append(f"lines that decided nothing: {_counted(idle)}")
    if last_copies:
        found.append(f"{last_copies} last copies of blocks go, by the status of their datasets")
    return found


def _counted(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_TOLD_MAX} more" if len(names) > NAMES_TOLD_MAX else ""
    return ", ".join(names[:NAMES_TOLD_MAX]) + more
