"""Detox decides what its slow twin decides, on thousands of small random worlds and policies."""

from random import Random

import numpy as np
import pytest
from small_worlds import MEMBERS, NOW, as_columns, drawn_attributes, drawn_text, drawn_world
from twin import Bounds, Twin

from placement.columns import InventoryColumns, partition_rows
from placement.detox.conditions import Conditions
from placement.detox.cycle import Cycle
from placement.detox.settings import DetoxSettings
from placement.detox.vetoes import Veto
from placement.detox.world import Scene, World
from placement.policy.parser import parse

#: Worlds in one test, and tests: enough to meet every pair of kinds of lines many times, in some twenty seconds.
WORLDS, TESTS = 100, 20


def decided(seed: int) -> tuple[dict, dict, str]:
    rng = Random(seed)
    partition = rng.choice(list(MEMBERS))
    held = drawn_world(rng, partition)
    text = drawn_text(rng, partition)
    attributes = drawn_attributes(rng, held)
    fresh = np.array([rng.random() < 0.9 for _ in range(held.sites.height)])
    bounds = Bounds(rng.choice([0.01, 0.1, 1.0]), max_fraction=rng.choice([1.0, 1.0, 0.5]))
    bounds.max_volume, bounds.max_files = rng.choice([10**18, 10**18, 3_000]), rng.choice([10**9, 10**9, 20])
    policy = parse(text).checked()
    member = partition_rows(held, partition)
    twin = Twin(held, policy, NOW, member.tolist(), attributes, fresh.tolist(), MEMBERS[partition], bounds)
    twin.run()
    settings = DetoxSettings(
        deletion_per_iteration=bounds.per_iteration,
        max_volume=bounds.max_volume,
        max_files=bounds.max_files,
        max_fraction_of_site=bounds.max_fraction,
    )
    columns = InventoryColumns(held, as_columns(attributes, held))
    world = World(Scene(held, columns, partition, fresh))
    world.aim(Conditions(world, NOW).any_of_sites([line.condition for line in policy.on]))
    cycle = Cycle(policy, world, settings, NOW)
    cycle.run()
    return of_cycle(cycle), of_twin(twin), text


def of_cycle(cycle: Cycle) -> dict:
    names = cycle.world.inventory.groups["name"].to_list()
    lines = {row: int(line) for row, line in enumerate(cycle.row_line) if cycle.world.pool[row]}
    return {
        "gone": [
            (int(row), int(line))
            for rows, numbers in zip(cycle.gone.rows, cycle.gone.lines, strict=True)
            for row, line in zip(rows, numbers, strict=True)
        ],
        "reowned": {
            int(row): names[group]
            for rows, groups in zip(cycle.reowned.rows, cycle.new_owner, strict=True)
            for row, group in zip(rows, groups, strict=True)
        },
        "vetoed": {row: Veto(int(veto)).name for row, veto in enumerate(cycle.row_veto) if veto},
        "lines": lines,
        "over": {cycle.world.inventory.sites["name"][site] for site in cycle.budget.over},
    }


def of_twin(twin: Twin) -> dict:
    places = [(name, site) for name in twin.datasets for site in twin.sites]
    lines = {} if not twin.policy.iterative else {n: v for place in places for n, v in twin.decide(*place).items()}
    return {"gone": twin.gone, "reowned": twin.reowned, "vetoed": twin.vetoed, "lines": lines, "over": twin.over}


@pytest.mark.parametrize("test", range(TESTS))
def test_detox_and_its_slow_twin_decide_the_same(test: int) -> None:
    for seed in range(test * WORLDS, (test + 1) * WORLDS):
        ours, theirs, text = decided(seed)
        if "Static" in text:
            ours["lines"] = {}
        # Within what goes of one dataset replica the order is of no meaning.
        assert sorted(ours.pop("gone")) == sorted(theirs.pop("gone")), f"seed {seed}\n{text}"
        assert ours == theirs, f"seed {seed}\n{text}"
