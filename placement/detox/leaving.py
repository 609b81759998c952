"""What of some dataset replicas of one site would go now: rows that go, rows that change owner, rows that are vetoed.

A line about a dataset replica lets it go whole or not at all; a block action's blocks go one by one. When only some
blocks of a dataset replica go, and a group that owns at the level of datasets has blocks of it, blocks of groups that
own by block are handed over to that group instead (as in Dynamo).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.columns import rows_in_partition
from placement.detox import vetoes
from placement.detox.runs import Array, Batch, Bits, Keys
from placement.detox.vetoes import Veto
from placement.detox.world import World


@dataclass(frozen=True)
class Leaving:
    """Of a batch whose rows are those that a decision would have go: the veto on each and what becomes of the others.

    `reason`, `goes`, `handed` have a place per row, `heir` the group that a handed row is to have; `size`, `files`,
    `freed` and `freed_projected` per dataset replica: what goes, and by how much less of the partition is then there.
    """

    batch: Batch
    reason: Array
    goes: Bits
    handed: Bits
    heir: Array
    size: Keys
    files: Keys
    freed: Keys
    freed_projected: Keys

    @classmethod
    def of(cls, world: World, batch: Batch, single: Bits, exempt: Bits) -> Leaving:
        """`single`: rows that a block action took; `exempt`: per dataset replica, whether its last copy may go."""
        reason = vetoes.of_rows(world, batch.rows, exempt[batch.owner])
        reason = _for_whole_parts(batch, reason, single)
        free = reason == Veto.NONE
        handed, heir = _handed_over(world, batch, free)
        goes = free & ~handed
        left = np.zeros(len(batch.rows), dtype=np.bool_)
        if handed.any():
            left[handed] = ~rows_in_partition(world.inventory, world.partition, batch.rows[handed], heir[handed])
        freed = (goes | left) & world.member[batch.rows]
        size, files = world.row_bytes[batch.rows], world.row_files[batch.rows]
        return cls(
            batch,
            reason,
            goes,
            handed,
            heir,
            batch.summed(np.where(goes, size, 0)),
            batch.summed(np.where(goes, files, 0)),
            batch.summed(np.where(freed, size, 0)),
            batch.summed(np.where(freed, world.row_projected[batch.rows], 0)),
        )


def _for_whole_parts(batch: Batch, reason: Array, single: Bits) -> Array:
    """A veto on one row of what goes whole or not at all is a veto on all of it: the first reason of all."""
    worst = np.full(len(batch), len(Veto), dtype=np.int8)
    vetoed = (reason > 0) & ~single
    np.minimum.at(worst, batch.owner[vetoed], reason[vetoed])
    of_part = worst[batch.owner]
    return np.where(~single & (of_part < len(Veto)), of_part, reason)


def _handed_over(world: World, batch: Batch, free: Bits) -> tuple[Bits, Array]:
    """Which rows change owner instead of going, and the new owner of each."""
    groups = world.inventory.groups
    of_datasets = (groups["level"] == "dataset").to_numpy()
    heir = np.zeros(len(batch.rows), dtype=world.row_group.dtype)
    if not of_datasets.any():
        return np.zeros(len(batch.rows), dtype=np.bool_), heir
    there = world.batch(batch.replicas, world.there)
    leaving = batch.counted(free)
    some = (leaving > 0) & (leaving < there.counted(np.ones(len(there.rows), dtype=np.bool_)))
    by_name = groups["name"].rank("ordinal").to_numpy().astype(np.int64)
    owners = world.row_group[there.rows]
    owning = of_datasets[owners]
    rank = np.full(len(batch), len(by_name) + 1, dtype=np.int64)
    np.minimum.at(rank, there.owner[owning], by_name[owners[owning]])
    mine = world.row_group[batch.rows]
    handed = free & (some & (rank <= len(by_name)))[batch.owner] & ~of_datasets[mine] & (mine > 0)
    heir[handed] = np.argsort(by_name)[rank[batch.owner[handed]] - 1]
    return handed, heir
