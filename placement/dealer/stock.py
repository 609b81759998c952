"""What sites hold of datasets, and will once every order is done: by dataset, and of one item block by block.

A block is *held* at a site where it is complete or on its way, and not under deletion. A *survivor* is a complete
replica at a READY site with fresh news that nothing deletes. What was last heard of a site without fresh news is held
still, since nothing is copied because a site seems empty, but it is no source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.detox.runs import Bits, Keys
from placement.inventory import UNKNOWN, Array, Inventory, projected_bytes


@dataclass(frozen=True)
class Item:
    """The blocks of an item that hold files, and what each site holds of them; arrays are of shape (blocks, sites)."""

    dataset: int
    blocks: Keys
    size: Keys
    held: Bits
    projected: Keys
    #: The group that owns what is there or ordered; UNKNOWN where nothing is.
    owner: Array
    #: Whether a block has a survivor, or is complete at a site that is not ready, shape (blocks,).
    sourced: Bits
    rescuable: Bits
    #: Whether a block is under deletion.
    deleting: Bits

    @property
    def whole(self) -> Bits:
        """The sites that hold all of it, shape (sites,)."""
        return np.asarray(self.held.all(axis=0))

    @property
    def leaving(self) -> Bits:
        """The sites at which some of it is under deletion, shape (sites,)."""
        return np.asarray(self.deleting.any(axis=0))

    @property
    def lacking(self) -> Keys:
        """Bytes that each site would get by a copy, shape (sites,)."""
        found: Keys = (self.size[:, None] - np.minimum(self.projected, self.size[:, None])).sum(axis=0)
        return found


class Stock:
    """All that an inventory's sites hold; READY sites without fresh news are `left_out`."""

    def __init__(self, inventory: Inventory, left_out: frozenset[str]) -> None:
        self.inventory = inventory
        absent = inventory.sites["name"].is_in(sorted(left_out)).to_numpy()
        rows = inventory.block_replicas
        self._block, self._site = rows["block"].to_numpy(), rows["site"].to_numpy()
        self._group = rows["group"].to_numpy()
        self._deleting = rows["deleting"].to_numpy()
        complete = rows["complete"].to_numpy() & ~self._deleting
        #: Rows of block replicas, shape (block replicas,): survivors; complete at sites that are not ready; held.
        self.survives: Bits = np.asarray(complete & (inventory.ready_sites & ~absent)[self._site])
        self.stranded: Bits = complete & ~inventory.ready_sites[self._site]
        self.held: Bits = np.asarray(complete | (rows["copying"].to_numpy() & ~self._deleting))
        self._size, self._files = inventory.blocks["size"].to_numpy(), inventory.blocks["files"].to_numpy()

    def item(self, dataset: int, blocks: Sequence[int] | None) -> Item:
        """What each site holds of a dataset, or of some of its blocks."""
        first = int(self._first_block[dataset])
        mine = self._blocks_by_dataset[first : int(self._first_block[dataset + 1])]
        mine = mine if blocks is None else np.intersect1d(mine, np.asarray(blocks, dtype=np.int64))
        mine = mine[self._files[mine] > 0]
        begin, end = int(self._first_row[dataset]), int(self._first_row[dataset + 1])
        rows = np.arange(begin, end)
        place = np.searchsorted(mine, self._block[begin:end])
        ours = place < len(mine)
        ours[ours] = mine[place[ours]] == self._block[begin:end][ours]
        rows, place = rows[ours], place[ours]
        site = self._site[rows]
        shape = (len(mine), self.inventory.sites.height)
        held, projected = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.int64)
        owner = np.full(shape, UNKNOWN, dtype=np.int64)
        held[place, site] = self.held[rows]
        projected[place, site] = self._projected[rows]
        owner[place, site] = self._group[rows]
        sourced, rescuable, deleting = (np.zeros(size, dtype=np.bool_) for size in (shape[:1], shape[:1], shape))
        sourced[place[self.survives[rows]]] = True
        rescuable[place[self.stranded[rows]]] = True
        deleting[place, site] = self._deleting[rows]
        return Item(dataset, mine, self._size[mine], held, projected, owner, sourced, rescuable, deleting)

    def projected(self, rows: Keys) -> Keys:
        """Bytes of block replicas once every order is done, 0 where the row is UNKNOWN."""
        found = np.zeros(len(rows), dtype=np.int64)
        known = rows != UNKNOWN
        found[known] = self._projected[rows[known]]
        return found

    @cached_property
    def whole(self) -> Bits:
        """The dataset replicas that hold, or will, every block of the dataset, shape (dataset replicas,)."""
        replicas = self.inventory.dataset_replicas
        if replicas.is_empty():
            return np.zeros(0, dtype=np.bool_)
        held = self.held & (self._files[self._block] > 0)
        count = np.add.reduceat(held.astype(np.int64), replicas["first"].to_numpy().astype(np.int64))
        wanted = self.blocks_with_files[replicas["dataset"].to_numpy()]
        return np.asarray((count == wanted) & (wanted > 0))

    @cached_property
    def blocks_with_files(self) -> Keys:
        """How many blocks of each dataset hold files, shape (datasets,)."""
        datasets = self.inventory.blocks["dataset"].to_numpy()[self._files > 0]
        return np.bincount(datasets, minlength=self.inventory.datasets.height)

    def whole_copies(self, sites: Bits) -> Keys:
        """How many of some sites, shape (sites,), hold or will hold all of each dataset, shape (datasets,)."""
        replicas = self.inventory.dataset_replicas
        chosen = self.whole & sites[replicas["site"].to_numpy()]
        return np.bincount(replicas["dataset"].to_numpy()[chosen], minlength=self.inventory.datasets.height)

    @cached_property
    def _projected(self) -> Keys:
        return projected_bytes(self.inventory.block_replicas, self.inventory.blocks)

    @cached_property
    def _blocks_by_dataset(self) -> Keys:
        dataset = self.inventory.blocks["dataset"].to_numpy()
        if bool((dataset[1:] >= dataset[:-1]).all()):
            return np.arange(len(dataset))
        return np.argsort(dataset, kind="stable")

    @cached_property
    def _first_block(self) -> Keys:
        counts = np.bincount(self.inventory.blocks["dataset"].to_numpy(), minlength=self.inventory.datasets.height)
        return np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def _first_row(self) -> Keys:
        replicas = self.inventory.dataset_replicas
        ends = np.append(replicas["first"].to_numpy().astype(np.int64), len(self._block))
        return ends[np.searchsorted(replicas["dataset"].to_numpy(), np.arange(self.inventory.datasets.height + 1))]
