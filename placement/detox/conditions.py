"""Conditions asked of dataset replicas in a world that changes: bits for each of many, or for each of their rows.

What a snapshot fixes is computed once and read by index. What replicas that go can change is computed from the world's
numbers, for those that are asked about alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from placement.detox.runs import Array, Batch, Bits, Keys, expanded
from placement.detox.world import World
from placement.policy import bits, texts
from placement.policy.bits import Coded, Column
from placement.policy.syntax import Both, Comparison, Condition, Either, Flag, OfBlocks
from placement.policy.variables import ON_TAPE, Level, Variable

#: What the oldest block of a replica without blocks is: later than every time, as in the ancestor.
NO_FIRST_BLOCK = 2**32 - 1


class Conditions:
    """Asks conditions at a moment. Bits of predicates that cannot change are kept."""

    def __init__(self, world: World, now_s: float) -> None:
        self._world, self._now_s = world, now_s
        self._fixed: dict[Flag | Comparison, Bits] = {}

    # ---- of dataset replicas -----------------------------------------------------------------------------------------

    def of_replicas(self, condition: Condition, batch: Batch) -> Bits:
        """For each dataset replica of a batch whether the condition holds; each block predicate by any row in view."""
        if isinstance(condition, Both | Either):
            joined = np.logical_and if isinstance(condition, Both) else np.logical_or
            return np.asarray(joined.reduce([self.of_replicas(part, batch) for part in condition.parts]))
        if isinstance(condition, OfBlocks):
            of_rows = self.of_rows(condition.part, batch)
            return batch.every(of_rows) if condition.every else batch.any(of_rows)
        level = condition.variable.level
        if level is Level.BLOCK:
            return batch.any(self._of_blocks(condition, batch.rows))
        if level is Level.SITE:
            return self.of_sites(condition)[self._world.replica_site[batch.replicas]]
        keys = self._world.replica_dataset[batch.replicas] if level is Level.DATASET else batch.replicas
        if condition.variable.volatile:
            return self._held(condition, self.values(condition.variable, batch))
        return self._whole_column(condition)[keys]

    def of_rows(self, condition: Condition, batch: Batch) -> Bits:
        """For each row of a batch whether the condition holds for it; what is about its replica is the replica's."""
        if isinstance(condition, Both | Either):
            joined = np.logical_and if isinstance(condition, Both) else np.logical_or
            return np.asarray(joined.reduce([self.of_rows(part, batch) for part in condition.parts]))
        if isinstance(condition, Flag | Comparison) and condition.variable.level is Level.BLOCK:
            return self._of_blocks(condition, batch.rows)
        return self.of_replicas(condition, batch)[batch.owner]

    def _whole_column(self, leaf: Flag | Comparison) -> Bits:
        if leaf not in self._fixed:
            self._fixed[leaf] = bits.holds(leaf, self._world.columns.column(leaf.variable), self._now_s)
        return self._fixed[leaf]

    def _of_blocks(self, leaf: Flag | Comparison, rows: Keys) -> Bits:
        return self._held(leaf, self.row_values(leaf.variable, rows))

    def _held(self, leaf: Flag | Comparison, column: Column) -> Bits:
        """Whether a predicate holds for each value; of words, which are always the same, it is known already."""
        if not isinstance(column, Coded) or column.codes is None:
            return bits.holds(leaf, column, self._now_s)
        assert isinstance(leaf, Comparison)
        if leaf not in self._fixed:
            self._fixed[leaf] = texts.satisfying(leaf, column.words)
        return self._fixed[leaf][column.codes]

    # ---- of sites ----------------------------------------------------------------------------------------------------

    def of_sites(self, condition: Condition) -> Bits:
        """For each site whether the condition holds now, shape (sites,)."""
        if isinstance(condition, Flag | Comparison) and not condition.variable.volatile:
            if condition not in self._fixed:
                self._fixed[condition] = bits.holds(condition, self.site_values(condition.variable), self._now_s)
            return self._fixed[condition]
        return self._of_site_values(condition, self.site_values)

    def at_site(self, condition: Condition, site: int, gone: Array, gone_projected: Array) -> Bits:
        """Whether the condition holds at a site after each of several amounts of bytes went from it."""
        world = self._world

        def values(variable: Variable) -> Column:
            used = world.site_bytes[site] - gone
            projected = world.site_projected[site] - gone_projected
            if variable.volatile:
                return _site_value(variable.name, used, projected, np.full(len(gone), world.quota[site]))
            rows = np.full(len(gone), site)
            found = self.site_values(variable)
            return found.taken(rows) if isinstance(found, Coded) else found[rows]

        return self._of_site_values(condition, values)

    def _of_site_values(self, condition: Condition, values: Callable[[Variable], Column]) -> Bits:
        if isinstance(condition, Both | Either):
            joined = np.logical_and if isinstance(condition, Both) else np.logical_or
            return np.asarray(joined.reduce([self._of_site_values(part, values) for part in condition.parts]))
        assert not isinstance(condition, OfBlocks)
        return bits.holds(condition, values(condition.variable), self._now_s)

    def any_of_sites(self, conditions: Sequence[Condition]) -> Bits:
        """For each site whether one of the conditions holds now."""
        return np.asarray(np.logical_or.reduce([self.of_sites(each) for each in conditions]))

    def site_values(self, variable: Variable) -> Column:
        """The values of a variable for all sites, as of now."""
        world = self._world
        if variable.name in ("site.quota", "site.free") or variable.volatile:
            return _site_value(variable.name, world.site_bytes, world.site_projected, world.quota)
        return world.columns.column(variable)

    # ---- values ------------------------------------------------------------------------------------------------------

    def values(self, variable: Variable, batch: Batch) -> Column:
        """The values of a variable that is about a dataset, replica or site, for each dataset replica of a batch."""
        world = self._world
        if variable.level is Level.SITE:
            sites = world.replica_site[batch.replicas]
            found = self.site_values(variable)
            return found.taken(sites) if isinstance(found, Coded) else found[sites]
        if variable.volatile:
            return _VALUES[variable.name](world, batch)
        keys = world.replica_dataset[batch.replicas] if variable.level is Level.DATASET else batch.replicas
        found = world.columns.column(variable)
        return found.taken(keys) if isinstance(found, Coded) else found[keys]

    def row_values(self, variable: Variable, rows: Keys) -> Column:
        """The values of a variable that is about block replicas, for some of them."""
        if variable.volatile:
            return _ROW_VALUES[variable.name](self._world, rows)
        if variable.name == "blockreplica.owner":
            return Coded(self._world.inventory.groups["name"], self._world.row_group[rows])
        found = self._world.columns.column(variable)
        return found.taken(rows) if isinstance(found, Coded) else found[rows]


def _site_value(name: str, used: Array, projected: Array, quota: Array) -> Array:
    if name == "site.quota":
        return quota
    if name == "site.free":
        return np.asarray(quota - used)
    return np.asarray((projected if name == "site.projected_occupancy" else used) / quota)


def _on_tape(world: World, batch: Batch) -> Coded:
    dataset = world.replica_dataset[batch.replicas]
    full, some = world.full_on_tape[dataset] > 0, world.some_on_tape[dataset] > 0
    codes = np.where(full, ON_TAPE.index("FULL"), np.where(some, ON_TAPE.index("PARTIAL"), 0))
    return Coded(pl.Series(ON_TAPE), codes)


def _partial(world: World, batch: Batch) -> Bits:
    whole = world.replica_whole[batch.replicas]
    return np.asarray((whole > 0) & (whole == world.replica_there[batch.replicas]) & ~world.full[batch.replicas])


def _is_last_copy(world: World, batch: Batch) -> Bits:
    """Whether some whole block of the replica, in the partition or not, has no survivor elsewhere."""
    every = world.batch(batch.replicas, world.held)
    others = world.survivors[world.row_block[every.rows]] - world.survivor[every.rows]
    return every.any(world.complete[every.rows] & (others == 0))


def _common_owner(*, disk_only: bool) -> Callable[[World, Batch], Keys]:
    def count(world: World, batch: Batch) -> Keys:
        dataset = world.replica_dataset[batch.replicas]
        first = world.dataset_first[dataset]
        others, place = expanded(first, world.dataset_first[dataset + 1] - first)
        mine = batch.replicas[place]
        shared = (world.owners[mine] & world.owners[others]).any(axis=1)
        site = world.replica_site[others]
        counts = shared & world.full[others]
        counts &= world.ready_disk[site] if disk_only else world.ready[site] & (mine != others)
        return np.bincount(place[counts], minlength=len(batch))

    return count


def _of_dataset(counts: Callable[[World], Array]) -> Callable[[World, Batch], Array]:
    return lambda world, batch: counts(world)[world.replica_dataset[batch.replicas]]


_VALUES: dict[str, Callable[[World, Batch], Column]] = {
    "dataset.on_tape": _on_tape,
    "dataset.num_full_copy": _of_dataset(lambda world: world.full_copies),
    "dataset.num_full_disk_copy": _of_dataset(lambda world: world.full_disk_copies),
    "replica.size": lambda world, batch: batch.summed(world.row_bytes[batch.rows]),
    "replica.incomplete": lambda world, batch: batch.any(~world.complete[batch.rows]),
    "replica.partial": _partial,
    "replica.full": lambda world, batch: world.full[batch.replicas],
    "replica.is_locked": lambda world, batch: batch.any(world.locked[batch.rows]),
    "replica.is_last_copy": _is_last_copy,
    "replica.last_block_created": lambda world, batch: batch.reduced(
        np.maximum, world.columns.rows("last_update")[batch.rows], 0
    ),
    "replica.first_block_created": lambda world, batch: batch.reduced(
        np.minimum, world.columns.rows("last_update")[batch.rows], NO_FIRST_BLOCK
    ),
    "replica.num_full_disk_copy_common_owner": _common_owner(disk_only=True),
    "replica.num_full_other_copy_common_owner": _common_owner(disk_only=False),
}


def _is_last_transfer_source(world: World, rows: Keys) -> Bits:
    block = world.row_block[rows]
    elsewhere = world.block_disk[block] - world.on_disk[rows]
    return np.asarray(world.complete[rows] & (world.block_broken[block] > 0) & (elsewhere == 0))


_ROW_VALUES: dict[str, Callable[[World, Keys], Array]] = {
    "blockreplica.num_full_disk_copy": lambda world, rows: world.block_disk[world.row_block[rows]],
    "blockreplica.num_full_other_copy": lambda world, rows: (
        world.block_ready[world.row_block[rows]] - world.at_ready[rows]
    ),
    "blockreplica.on_tape": lambda world, rows: world.complete[rows] & (world.block_mss[world.row_block[rows]] > 0),
    "blockreplica.is_last_transfer_source": _is_last_transfer_source,
}
