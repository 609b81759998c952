"""Detox on the synthetic collaboration: with a policy as large ones have it, and with thousands of names; over a year.

    python -m loadtests.detox [--quick]

The peer is the way of the original: Python objects, line by line and replica by replica, each predicate asked of its
getters anew. One pass of it is measured on a sample of dataset replicas and stands for all; a cycle of the original is
such a pass for every iteration, which is not multiplied here. Ours is a whole cycle, with all its iterations, from the
inventory to a plan's decisions, without what the plan's file takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadtests.collaboration import NOW, Collaboration
from loadtests.curve import Curve, Line
from loadtests.detox_objects import pass_seconds
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, said
from placement.detox import planning
from placement.detox.planning import Run
from placement.detox.settings import DetoxSettings
from placement.detox.simulation import DAY_S, Course, simulate
from placement.inventory import Inventory
from placement.policy.bits import Column
from placement.policy.parser import parse

POLICY = Path(__file__).parents[1] / "configs" / "policies" / "collaboration.txt"
#: Where lines with names are put into the policy, as campaigns are.
PLACE = "# Campaigns under way.\n"

PEER = "one pass over Python objects, from a sample"
CYCLE = Figure("detox, a cycle of 33 lines", "s", "less", 10.0, "1,000,000 dataset replicas", PEER)
NAMED = Figure("detox, a cycle of 4,033 lines", "s", "less", 10.0, "1,000,000 dataset replicas", PEER)
PLAN = Figure("detox, a plan with its file", "s", "less")
COURSE = Figure("detox, one simulated cycle at a tenth of the size", "s", "less")

DATASETS, QUICK_DATASETS, TOY_DATASETS = 500_000, 50_000, 1_000
NAMES = 4_000
#: Dataset replicas that the peer looks at: some twenty thousand predicates a second make this half a minute.
SAMPLE, QUICK_SAMPLE, TOY_SAMPLE = 20_000, 5_000, 300
#: A year in steps of days, and the share of all bytes that arrives in a day.
YEAR_DAYS, STEP_DAYS, QUICK_STEP_DAYS, TOY_STEP_DAYS = 365, 5, 30, 180
GROWTH_PER_DAY = 0.001
#: No bound but the policy's own ends a measured cycle.
SETTINGS = DetoxSettings(max_volume=1 << 62, max_files=1 << 62, max_fraction_of_site=1.0)


def measure(scale: Scale) -> Iterator[Result | Curve]:
    """The figures at the scale's number of datasets."""
    said(f"{scale.names:,} datasets are drawn")
    inventory = Collaboration(datasets=scale.names, seed=scale.seed).inventory()
    at = f"{inventory.dataset_replicas.height:,} dataset replicas, {inventory.block_replicas.height:,} block replicas"
    text = POLICY.read_text(encoding="utf-8")
    sample = scale.of(SAMPLE, QUICK_SAMPLE, TOY_SAMPLE)
    for figure, policy in ((CYCLE, text), (NAMED, _with_names(text, inventory, scale.seed))):
        asked = _run(inventory, policy, scale.seed)
        cycles = [_cycle(inventory, asked) for _ in range(scale.runs)]
        said(f"{PEER}: {sample:,} dataset replicas")
        seconds = pass_seconds(inventory, asked, sample, scale.seed)
        yield Result(figure, at, tuple(took for took, _ in cycles), seconds, f"{cycles[0][1]} iterations")
    began = time.perf_counter()
    size = len(planning.make(inventory, _run(inventory, text, scale.seed)).encoded())
    yield Result(PLAN, at, (time.perf_counter() - began,), note=f"{size / 1e6:.1f} MB")
    yield from _year(scale, text)


def _with_names(text: str, inventory: Inventory, seed: int) -> str:
    names = inventory.datasets["name"].sample(min(NAMES, inventory.datasets.height), seed=seed)
    assert PLACE in text
    return text.replace(PLACE, PLACE + "".join(f"Protect dataset.name == {name}\n" for name in names))


def _run(inventory: Inventory, text: str, seed: int) -> Run:
    policy = parse(text, str(POLICY)).checked()
    return Run(policy, text, str(POLICY), SETTINGS, NOW, attributes(inventory, seed))


def attributes(inventory: Inventory, seed: int) -> Mapping[str, Column]:
    """What producers would give, drawn from a seed."""
    rng = np.random.default_rng(seed)
    datasets, replicas = inventory.datasets.height, inventory.dataset_replicas.height
    return {
        "dataset.usage_rank": rng.exponential(100.0, datasets),
        "dataset.demand_rank": rng.exponential(30.0, datasets),
        "dataset.on_protected_site": rng.random(datasets) < 0.1,
        "dataset.unhandled_copy_exists": rng.random(datasets) < 0.01,
        "replica.num_access": rng.integers(0, 3, replicas),
        "replica.enforcer_protected": rng.random(replicas) < 0.05,
    }


def _cycle(inventory: Inventory, asked: Run) -> tuple[float, int]:
    """Seconds of a cycle with all its iterations, and how many those were."""
    began = time.perf_counter()
    cycle, _ = planning.begun(inventory, asked)
    cycle.run()
    return time.perf_counter() - began, cycle.passes


def _year(scale: Scale, text: str) -> Iterator[Result | Curve]:
    """A year of cycles at a tenth of the size, while data arrives."""
    inventory = Collaboration(datasets=max(scale.names // 10, 100), seed=scale.seed).inventory()
    days = scale.of(STEP_DAYS, QUICK_STEP_DAYS, TOY_STEP_DAYS)
    growth = int(int(inventory.block_replicas["bytes"].sum()) * GROWTH_PER_DAY)
    course = Course(YEAR_DAYS // days, days * DAY_S, growth, scale.seed)
    asked = replace(_run(inventory, text, scale.seed), attributes={})
    began, full = time.perf_counter(), []
    for step in simulate(inventory, asked, course, lambda held, _: attributes(held, scale.seed)):
        bounded = [site for site in step.sites if site.quota is not None and site.quota > 0]
        quota = sum(site.quota or 0 for site in bounded)
        shares = [100 * sum(getattr(s, name) for s in bounded) / quota for name in ("before", "after", "protected")]
        full.append(((step.at - NOW) / DAY_S, *shares))
    took = (time.perf_counter() - began) / course.cycles
    at = f"{inventory.dataset_replicas.height:,} dataset replicas at first, {course.cycles} cycles in a year"
    yield Result(COURSE, at, (took,), note=f"{100 * GROWTH_PER_DAY:g} % of all bytes arrive in a day")
    lines = tuple(
        Line(name, tuple((row[0], row[place]) for row in full))
        for place, name in enumerate(("before a cycle", "after a cycle", "protected"), 1)
    )
    yield Curve(
        "detox-year", "Occupancy over a simulated year of detox", "days", "% of all quotas", lines, at, linear=True
    )


if __name__ == "__main__":
    run(__doc__ or "", measure, DATASETS, QUICK_DATASETS, TOY_DATASETS)
