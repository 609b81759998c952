"""The world of a cycle: who has what, how many copies count, how full sites are; it changes as replicas go.

Numbers are kept per block, dataset and site, and change by what goes: nothing is counted twice over the inventory.
*Survivors* look at the whole inventory whatever the policy's counts look at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.columns import InventoryColumns, partition_rows, rows_in_partition
from placement.detox.runs import Array, Batch, Bits, Keys, expanded
from placement.inventory import Inventory, projected_bytes
from placement.policy.variables import VARIABLES


@dataclass(frozen=True)
class Scene:
    """What a cycle begins with: `partition` is its name, `fresh` whether each READY site's news may be believed."""

    inventory: Inventory
    columns: InventoryColumns
    partition: str
    fresh: Bits


class World:
    """Rows are block replicas, keys are rows of the inventory's frames. Arrays are as of now.

    A world is aimed at target sites before anything is asked of dataset replicas.
    """

    def __init__(self, scene: Scene) -> None:
        inventory = scene.inventory
        self.inventory, self.columns, self.partition = inventory, scene.columns, scene.partition
        rows, replicas = inventory.block_replicas, inventory.dataset_replicas
        self.row_replica: Keys = rows["dataset_replica"].to_numpy().astype(np.int64)
        self.row_block: Keys = rows["block"].to_numpy().astype(np.int64)
        self.row_site: Array = rows["site"].to_numpy()
        self.row_bytes: Array = rows["bytes"].to_numpy()
        self.row_files: Array = rows["files"].to_numpy().astype(np.int64)
        self.row_projected: Array = projected_bytes(rows, inventory.blocks)
        self.row_group: Array = rows["group"].to_numpy().copy()
        self.complete: Bits = rows["complete"].to_numpy()
        self.locked: Bits = np.asarray(scene.columns.column(VARIABLES["blockreplica.is_locked"]))
        self.source: Bits = rows["source"].to_numpy()
        #: Rows that are not under a deletion, and of those the ones with something there.
        self.held: Bits = ~rows["deleting"].to_numpy()
        self.there: Bits = self.held & (self.row_files > 0)
        self.replica_dataset: Keys = replicas["dataset"].to_numpy().astype(np.int64)
        self.replica_site: Keys = replicas["site"].to_numpy().astype(np.int64)
        self.replica_first: Array = replicas["first"].to_numpy()
        self.replica_count: Array = replicas["count"].to_numpy()
        datasets = np.arange(inventory.datasets.height + 1)
        self.dataset_first: Keys = np.searchsorted(self.replica_dataset, datasets)
        self._take_sites(scene)
        self._take_partition(scene)

    def _take_sites(self, scene: Scene) -> None:
        sites = self.inventory.sites
        kind = sites["storage_type"]
        self.ready: Bits = self.inventory.ready_sites & scene.fresh
        self.ready_disk: Bits = self.ready & (kind == "disk").to_numpy()
        self.tape: Bits = (kind == "mss").to_numpy() & (scene.fresh | ~self.inventory.ready_sites)
        #: Of a READY site without fresh news nothing is known: nothing goes there, nothing there counts.
        self.known: Bits = scene.fresh | ~self.inventory.ready_sites
        quota = self.inventory.quota(scene.partition)
        told = quota.fill_null(0).to_numpy()
        #: Bytes, infinite without a bound, NaN where there is none.
        self.quota: Array = np.where(told < 0, np.inf, np.where(told == 0, np.nan, told.astype(np.float64)))

    def _take_partition(self, scene: Scene) -> None:
        member = partition_rows(self.inventory, scene.partition)
        self.member: Bits = member & self.held
        sites = self.inventory.sites.height
        self.site_bytes = _sums(self.row_site, np.where(self.member, self.row_bytes, 0), sites)
        moving = np.flatnonzero(self.member & (self.row_projected != self.row_bytes))
        more = self.row_projected[moving] - self.row_bytes[moving]
        self.site_projected = self.site_bytes + _sums(self.row_site[moving], more, sites)

    def aim(self, targets: Bits, *, targets_only: bool = False) -> None:
        """Lines decide on what is at these sites; `targets_only`: copies count there and in the partition alone."""
        #: Rows that lines decide on: in the partition, at a target site of which there is news, with something to go.
        self.pool: Bits = self.member & self.there & (targets & self.known)[self.row_site]
        counted: Bits = self.member & targets[self.row_site] if targets_only else self.held
        self.counts_here: Bits = self.there & self.known[self.row_site] & counted
        self._count(counted)

    def _count(self, counted: Bits) -> None:
        blocks, datasets = self.inventory.blocks.height, self.inventory.datasets.height
        self.survivor: Bits = self.complete & self.held & self.ready[self.row_site]
        self.survivors = _tally(self.row_block, self.survivor, blocks)
        self.whole: Bits = self.complete & self.counts_here
        self.on_disk: Bits = self.whole & self.ready_disk[self.row_site]
        self.at_ready: Bits = self.whole & self.ready[self.row_site]
        self.on_mss: Bits = self.whole & self.tape[self.row_site]
        self.broken: Bits = ~self.complete & self.held & self.known[self.row_site] & counted
        self.block_disk = _tally(self.row_block, self.on_disk, blocks)
        self.block_ready = _tally(self.row_block, self.at_ready, blocks)
        self.block_mss = _tally(self.row_block, self.on_mss, blocks)
        self.block_broken = _tally(self.row_block, self.broken, blocks)
        held = self.inventory.blocks.filter(self.inventory.blocks["files"] > 0)["dataset"].to_numpy()
        need = np.bincount(held, minlength=datasets)[self.replica_dataset]
        self.replica_whole = _folded(self.whole, self.replica_first)
        self.replica_there = _folded(self.counts_here, self.replica_first)
        self.full: Bits = (self.replica_whole == need) & (need > 0)
        dataset, site = self.replica_dataset, self.replica_site
        self.full_copies = _tally(dataset, self.full & self.ready[site], datasets)
        self.full_disk_copies = _tally(dataset, self.full & self.ready_disk[site], datasets)
        self.full_on_tape = _tally(dataset, self.full & self.tape[site], datasets)
        self.some_on_tape = _tally(dataset, (self.replica_there > 0) & self.tape[site], datasets)
        self.owners = _owner_sets(self.row_group, self.held, self.replica_first, self.inventory.groups.height)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def batch(self, replicas: Keys, among: Bits | None = None) -> Batch:
        """Dataset replicas with those rows that are in the pool, or in other bits."""
        rows, owner = expanded(self.replica_first[replicas], self.replica_count[replicas])
        kept = (self.pool if among is None else among)[rows]
        return Batch(replicas, rows[kept], owner[kept])

    def siblings(self, datasets: Keys) -> tuple[Keys, Keys]:
        """All dataset replicas of datasets, and for each the place of its dataset in the argument."""
        first = self.dataset_first[datasets]
        return expanded(first, self.dataset_first[datasets + 1] - first)

    # ---- changing ----------------------------------------------------------------------------------------------------

    def remove(self, rows: Keys, site: int) -> None:
        """Rows of one site go: at most one of each block, and of one dataset replica of each dataset."""
        block = self.row_block[rows]
        for flags, counts in (
            (self.survivor, self.survivors),
            (self.on_disk, self.block_disk),
            (self.at_ready, self.block_ready),
            (self.on_mss, self.block_mss),
            (self.broken, self.block_broken),
        ):
            counts[block[flags[rows]]] -= 1
            flags[rows] = False
        self._uncount(rows, site)
        member = rows[self.member[rows]]
        self.site_bytes[site] -= int(self.row_bytes[member].sum())
        self.site_projected[site] -= int(self.row_projected[member].sum())
        for flags in (self.whole, self.counts_here, self.member, self.pool, self.held, self.there):
            flags[rows] = False
        self._owned_anew(np.unique(self.row_replica[rows]))

    def _uncount(self, rows: Keys, site: int) -> None:
        """Takes rows, whose flags still stand, out of what is counted by dataset replica and dataset."""
        replicas, place = np.unique(self.row_replica[rows], return_inverse=True)
        dataset = self.replica_dataset[replicas]
        there_before = self.replica_there[replicas] > 0
        self.replica_whole[replicas] -= np.bincount(place[self.whole[rows]], minlength=len(replicas))
        self.replica_there[replicas] -= np.bincount(place[self.counts_here[rows]], minlength=len(replicas))
        lost = self.full[replicas] & (np.bincount(place[self.whole[rows]], minlength=len(replicas)) > 0)
        self.full[replicas[lost]] = False
        emptied = there_before & (self.replica_there[replicas] == 0)
        self.full_copies[dataset[lost]] -= int(self.ready[site])
        self.full_disk_copies[dataset[lost]] -= int(self.ready_disk[site])
        self.full_on_tape[dataset[lost]] -= int(self.tape[site])
        self.some_on_tape[dataset[emptied]] -= int(self.tape[site])

    def reown(self, rows: Keys, groups: Array, site: int) -> None:
        """Rows of one site get other owners, and are not decided on again; who owns them may end their membership."""
        self.row_group[rows] = groups
        stays = rows_in_partition(self.inventory, self.partition, rows, groups)
        left = rows[~stays & self.member[rows]]
        self.site_bytes[site] -= int(self.row_bytes[left].sum())
        self.site_projected[site] -= int(self.row_projected[left].sum())
        self.member[left] = False
        self.pool[rows] = False
        self._owned_anew(np.unique(self.row_replica[rows]))

    def _owned_anew(self, replicas: Keys) -> None:
        rows, owner = expanded(self.replica_first[replicas], self.replica_count[replicas])
        begins = np.flatnonzero(np.diff(owner, prepend=-1))
        self.owners[replicas] = _owner_sets(self.row_group[rows], self.held[rows], begins, self.inventory.groups.height)


def _sums(keys: Array, values: Array, size: int) -> Keys:
    return np.bincount(keys, weights=values, minlength=size).astype(np.int64)


def _tally(keys: Array, chosen: Bits, size: int) -> Array:
    return np.bincount(keys[chosen], minlength=size).astype(np.int32)


def _folded(bits: Bits, first: Array) -> Keys:
    return np.add.reduceat(bits, first, dtype=np.int64) if len(first) else np.zeros(0, dtype=np.int64)


def _owner_sets(groups: Array, counts: Bits, first: Array, group_count: int) -> Array:
    """For each run of rows the set of its owners, a bit each, shape (runs, words); nobody is no owner."""
    words = (group_count + 63) // 64
    found = np.zeros((len(first), words), dtype=np.uint64)
    if not len(first):
        return found
    owned = counts & (groups > 0)
    for word in range(words):
        mine = owned & (groups // 64 == word)
        bit = np.where(mine, np.uint64(1) << (groups % 64).astype(np.uint64), np.uint64(0))
        found[:, word] = np.bitwise_or.reduceat(bit, first)
    return found
