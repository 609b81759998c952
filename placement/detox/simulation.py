"""Detox over time: cycle after cycle against data that grows, to see what a policy comes to before it is used.

Data grows as it grew: what arrives are copies of datasets that are there, drawn from a seed, new by name and time, at
the sites and of the groups of their models. Whatever a cycle orders is done before the next. What nobody used before
the simulation nobody uses in it, so that a policy that goes by use finds ever more that is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from msgspec import Struct

from placement import schemas
from placement.detox.planning import Run, begun
from placement.inventory import Inventory
from placement.policy.bits import Column

DAY_S = 86_400.0


class SiteState(Struct, frozen=True):
    """One target site after a cycle; `full` is its occupancy just before, null without a quota."""

    site: str
    before: int
    after: int
    quota: int | None
    protected: int


class Step(Struct, frozen=True):
    """One cycle: its number and clock, what had arrived since the one before, what it deleted, and the sites then."""

    cycle: int
    at: float
    arrived: int
    deleted: int
    datasets: int
    passes: int
    sites: tuple[SiteState, ...]


@dataclass(frozen=True)
class Course:
    """How a simulation runs: so many cycles, so far apart, with so many bytes arriving in a day."""

    cycles: int
    every_s: float
    growth_per_day: int
    seed: int


def simulate(
    inventory: Inventory, run: Run, course: Course, attributes: Callable[[Inventory, float], Mapping[str, Column]]
) -> Iterator[Step]:
    """The cycles one after another. Raises what planning raises.

    `attributes` are asked anew for each cycle's inventory and clock.
    """
    rng = np.random.default_rng(course.seed)
    now = run.now_s
    held = inventory
    for number in range(1, course.cycles + 1):
        now += course.every_s
        before = int(held.block_replicas["bytes"].sum())
        held = _grown(held, int(course.growth_per_day * course.every_s / DAY_S), now, number, rng)
        arrived = int(held.block_replicas["bytes"].sum()) - before
        this = replace(run, now_s=now, attributes=attributes(held, now), left_out=frozenset())
        cycle, targets = begun(held, this)
        cycle.run()
        world = cycle.world
        gone = np.concatenate([np.zeros(0, dtype=np.int64), *cycle.gone.rows])
        quota, names = held.quota(run.policy.partition), held.sites["name"]
        states = tuple(
            SiteState(
                names[key],
                int(cycle.site_bytes_before[key]),
                int(world.site_bytes[key]),
                quota[key],
                int(cycle.site_protected[key]),
            )
            for key in names.arg_sort().to_list()
            if targets[key]
        )
        deleted = int(world.row_bytes[gone].sum())
        yield Step(number, now, arrived, deleted, held.datasets.height, cycle.passes, states)
        held = _without(held, gone, world.row_group)


def _grown(inventory: Inventory, size: int, now: float, number: int, rng: np.random.Generator) -> Inventory:
    """The inventory with new datasets whose replicas have about so many bytes altogether."""
    replicas = inventory.block_replicas.filter(pl.col("complete"))
    dataset_of = inventory.blocks["dataset"]
    weight = np.bincount(
        dataset_of.gather(replicas["block"]).to_numpy(),
        weights=replicas["bytes"].to_numpy(),
        minlength=inventory.datasets.height,
    )
    there = np.flatnonzero(weight > 0)
    if not len(there) or size <= 0:
        return inventory
    order = rng.permutation(there)
    enough = int(np.searchsorted(np.cumsum(weight[order]), size)) + 1
    models = np.sort(order[:enough])
    new_key = np.full(inventory.datasets.height, -1, dtype=np.int64)
    new_key[models] = inventory.datasets.height + np.arange(len(models))
    second = int(now)
    datasets = inventory.datasets[models].with_columns(
        _renamed(inventory.datasets["name"].gather(models), number), pl.lit(second, schemas.TIME).alias("last_update")
    )
    mine = np.flatnonzero(new_key[dataset_of.to_numpy()] >= 0)
    new_block = np.full(inventory.blocks.height, -1, dtype=np.int64)
    new_block[mine] = inventory.blocks.height + np.arange(len(mine))
    blocks = inventory.blocks[mine].with_columns(
        pl.Series("dataset", new_key[dataset_of.to_numpy()[mine]]).cast(schemas.KEY),
        pl.lit(second, schemas.TIME).alias("last_update"),
    )
    block = new_block[replicas["block"].to_numpy()]
    rows = replicas.filter(pl.Series(block >= 0)).with_columns(
        pl.Series("block", block[block >= 0]).cast(schemas.KEY),
        pl.lit(second, schemas.TIME).alias("last_update"),
        *(pl.lit(value=False).alias(name) for name in ("copying", "deleting", "source", "locked")),
    )
    return _made(
        inventory,
        pl.concat([inventory.datasets, datasets]),
        pl.concat([inventory.blocks, blocks]),
        pl.concat([inventory.block_replicas, rows]),
    )


def _renamed(names: pl.Series, number: int) -> pl.Series:
    """New names of the same form: the number of the cycle before the last part."""
    return names.str.replace(r"(/[^/]*)$", f"-sim{number:04d}${{1}}").alias("name")


def _without(inventory: Inventory, gone: np.ndarray, groups: np.ndarray) -> Inventory:
    kept = np.ones(inventory.block_replicas.height, dtype=np.bool_)
    kept[gone] = False
    owned = inventory.block_replicas.with_columns(pl.Series("group", groups).cast(schemas.GROUP))
    return _made(inventory, inventory.datasets, inventory.blocks, owned.filter(pl.Series(kept)))


def _made(inventory: Inventory, datasets: pl.DataFrame, blocks: pl.DataFrame, rows: pl.DataFrame) -> Inventory:
    base = Inventory.of_definitions(
        inventory.version,
        inventory.sites,
        datasets.drop(schemas.DERIVED["datasets"]),
        blocks,
        inventory.groups,
        inventory.partitions,
        inventory.quotas,
    )
    intents = inventory.dataset_replicas.select(list(schemas.INTENTS))
    return base.observed(inventory.version, rows.drop(schemas.DERIVED["block_replicas"]), intents)
