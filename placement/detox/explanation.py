"""Why a dataset replica stays or goes: every line of the policy beside it, with the values that its predicates saw."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from placement.detox.cycle import Cycle
from placement.detox.runs import Batch
from placement.detox.values import shown_values
from placement.detox.vetoes import REASONS, Veto
from placement.policy.syntax import Comparison, Flag, Line, by_single_blocks, leaves
from placement.policy.variables import Level
from reploc.errors import DefinitionUnknown


class PredicateSeen(Struct, frozen=True):
    """One predicate: whether it holds for the dataset replica, and the value that it saw; of blocks, for how many."""

    predicate: str
    holds: bool
    saw: str


class LineSeen(Struct, frozen=True):
    """One line in its turn. `outcome`: `decides`, `takes n of m blocks`, `no match`, `not today`, `not reached`."""

    line: int
    text: str
    outcome: str
    predicates: list[PredicateSeen]


class Explanation(Struct, frozen=True):
    """How a policy looks at a dataset replica as the cycle begins, and what becomes of it in the end."""

    site: str
    dataset: str
    blocks: int
    bytes: int
    triggered: bool
    lines: list[LineSeen]
    outcome: list[str]


def explain(cycle: Cycle, site: str, dataset: str, now_s: float) -> Explanation:
    """Explains a dataset replica; runs the cycle, which has not begun, to its end.

    Raises DefinitionUnknown: nothing of the dataset at the site is in the policy's partition at a target site.
    """
    replica = _replica(cycle, site, dataset)
    batch = cycle.world.batch(np.array([replica]))
    if not len(batch.rows):
        raise DefinitionUnknown(f"nothing of {dataset!r} at {site} is in the partition at a target site with news")
    lines = list(_lines(cycle, batch, now_s))
    size = int(cycle.world.row_bytes[batch.rows].sum())
    cycle.run()
    key = int(cycle.world.replica_site[replica])
    triggered = bool(cycle.triggered_at_start[key])
    return Explanation(site, dataset, len(batch.rows), size, triggered, lines, _outcome(cycle, batch, triggered))


def _replica(cycle: Cycle, site: str, dataset: str) -> int:
    inventory = cycle.world.inventory
    site_key, dataset_key = int(inventory.site_keys([site])[0]), int(inventory.dataset_keys([dataset])[0])
    if site_key < 0:
        raise DefinitionUnknown(f"site {site!r} is not defined")
    if dataset_key < 0:
        raise DefinitionUnknown(f"dataset {dataset!r} is not defined")
    replicas, _ = cycle.world.siblings(np.array([dataset_key]))
    found = replicas[cycle.world.replica_site[replicas] == site_key]
    if not len(found):
        raise DefinitionUnknown(f"nothing of {dataset!r} is at {site}")
    return int(found[0])


def _lines(cycle: Cycle, batch: Batch, now_s: float) -> list[LineSeen]:
    seen: list[LineSeen] = []
    policy, decided = cycle.policy, False
    for line in policy.lines:
        number = line.place.line if line.place else 0
        if decided:
            seen.append(LineSeen(number, line.text, "not reached", []))
            continue
        outcome, batch, decided = _tried(cycle, line, batch, now_s)
        seen.append(LineSeen(number, line.text, outcome, _predicates(cycle, line, batch)))
    default = policy.default
    outcome = "not reached" if decided else "decides, as the default"
    seen.append(LineSeen(default.place.line if default.place else 0, default.text, outcome, []))
    return seen


def _tried(cycle: Cycle, line: Line, batch: Batch, now_s: float) -> tuple[str, Batch, bool]:
    """What a line does with the blocks in view, those that are left then, and whether it decided."""
    assert line.condition is not None
    if line.validity is not None and not line.validity.holds(now_s):
        return "not today", batch, False
    if not cycle.conditions.of_replicas(line.condition, batch)[0]:
        return "no match", batch, False
    if not line.action.by_block or not by_single_blocks(line.condition):
        return "decides", batch, True
    taken = cycle.conditions.of_rows(line.condition, batch)
    if taken.all():
        return "decides", batch, True
    return f"takes {int(taken.sum())} of {len(taken)} blocks", batch.without(taken), False


def _predicates(cycle: Cycle, line: Line, batch: Batch) -> list[PredicateSeen]:
    assert line.condition is not None
    return [_predicate(cycle, leaf, batch) for leaf in leaves(line.condition)]


def _predicate(cycle: Cycle, leaf: Flag | Comparison, batch: Batch) -> PredicateSeen:
    holds = bool(cycle.conditions.of_replicas(leaf, batch)[0])
    if leaf.variable.level is Level.BLOCK:
        count = int(cycle.conditions.of_rows(leaf, batch).sum())
        return PredicateSeen(str(leaf), holds, f"holds for {count} of {len(batch.rows)} blocks in view")
    value = shown_values(leaf.variable, cycle.conditions.values(leaf.variable, batch))[0]
    return PredicateSeen(str(leaf), holds, str(value))


def _outcome(cycle: Cycle, batch: Batch, triggered: bool) -> list[str]:
    """What became of the blocks, a sentence for each fate."""
    gone = {int(row) for part in cycle.gone.rows for row in part}
    handed = {int(row) for part in cycle.reowned.rows for row in part}
    policy = cycle.policy
    counts: dict[str, int] = {}
    for row in batch.rows.tolist():
        number = int(cycle.row_line[row])
        line = policy.lines[number] if number < len(policy.lines) else policy.default
        where = f"line {line.place.line if line.place else 0} ({line.action})"
        if row in gone:
            said = f"deleted by {where}"
        elif row in handed:
            said = f"handed over, by {where}"
        elif cycle.row_veto[row]:
            said = f"stays, although {where} would have it go: {REASONS[Veto(int(cycle.row_veto[row]))]}"
        else:
            waits = triggered and line.action.decision.value == "Dismiss"
            said = f"stays, by {where}{', since the site was released before its turn' if waits else ''}"
        counts[said] = counts.get(said, 0) + 1
    return [f"{count} of {len(batch.rows)} blocks: {said}" for said, count in counts.items()]
