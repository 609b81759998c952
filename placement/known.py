"""The datasets and blocks that are known, in memory: their frames, and the way from names and durable ids to keys.

Keys are handed out once and kept while the process lives: what is new goes behind what is there, and what changed is
changed in a copy, so that inventories that were made before stay as they were. Names are found by 64-bit hashes, many
at once, and then compared whole, so that a collision is never an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from placement import schemas
from placement.inventory import UNKNOWN, Array

#: Names hashed at once: the whole texts of so many fit into some fifty megabytes.
HASHED_AT_ONCE = 500_000
#: An odd 64-bit constant (2⁶⁴ over the golden ratio): spreads a dataset's hash before the block's is added.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class HashIndex:
    """Hashes in ascending order, and the key of each."""

    hashes: Array
    keys: Array

    @classmethod
    def of(cls, hashes: Array, first: int = 0) -> HashIndex:
        """The index of hashes whose keys count up from `first`."""
        order = pl.Series(hashes).arg_sort().to_numpy()
        return cls(hashes[order], order.astype(np.int64) + first)

    def having(self, new: HashIndex) -> HashIndex:
        """Both together."""
        at = np.searchsorted(self.hashes, new.hashes)
        return HashIndex(np.insert(self.hashes, at, new.hashes), np.insert(self.keys, at, new.keys))

    def candidates(self, hashes: Array) -> Array:
        """The first key of each hash, UNKNOWN where there is none; `hashes` in any order."""
        if not len(self.hashes):
            return np.full(len(hashes), UNKNOWN, dtype=np.int64)
        order = np.argsort(hashes)  # neighbours in the index are then asked for one after the other
        at = np.empty(len(hashes), dtype=np.int64)
        at[order] = np.searchsorted(self.hashes, hashes[order])
        at = np.minimum(at, len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, self.keys[at], UNKNOWN)


def hashed(names: pl.Series) -> Array:
    """64-bit hashes of names, null as a name of its own."""
    return names.hash(seed=1).to_numpy()


@dataclass(frozen=True)
class Known:
    """Datasets and blocks. `ids` are the datasets' durable ids, `ordinals` the blocks' places in their dataset's row,
    `declared` says whose totals somebody defined. `change` is the last write that is in it."""

    datasets: pl.DataFrame
    blocks: pl.DataFrame
    ids: Array
    ordinals: Array
    declared: Array
    by_id: HashIndex
    by_dataset: HashIndex
    by_block: HashIndex
    by_ordinal: HashIndex
    change: int = 0

    # ---- from names and ids to keys ------------------------------------------------------------------------------

    def dataset_keys(self, names: pl.Series) -> Array:
        """The key of each dataset, UNKNOWN where there is none."""
        keys = self.by_dataset.candidates(hashed(names))
        return _confirmed(keys, self.datasets["name"], names)

    def block_keys(self, datasets: Array, names: pl.Series) -> Array:
        """The key of each block by its dataset's key and its own name, UNKNOWN where there is none."""
        known = datasets >= 0
        keys = np.full(len(datasets), UNKNOWN, dtype=np.int64)
        asked, wanted = datasets[known], names.filter(pl.Series(known))
        found = self.by_block.candidates(self._block_hashes(asked, wanted))
        found = _confirmed(found, self.blocks["name"], wanted)
        same = self.blocks["dataset"].to_numpy()[np.maximum(found, 0)] == asked if self.blocks.height else found >= 0
        keys[known] = np.where(same, found, UNKNOWN)
        return keys

    def keys_of_ids(self, ids: Array) -> Array:
        """The key of each dataset by its durable id."""
        return self.by_id.candidates(ids.astype(np.uint64))

    def keys_of_ordinals(self, ids: Array, ordinals: Array) -> Array:
        """The key of each block by its dataset's durable id and its ordinal."""
        return self.by_ordinal.candidates(_place(ids, ordinals))

    def _block_hashes(self, datasets: Array, names: pl.Series) -> Array:
        return datasets.astype(np.uint64) * _SPREAD + hashed(names)

    # ---- what changes --------------------------------------------------------------------------------------------

    def merged(self, rows: pl.DataFrame, blocks: pl.DataFrame, change: int) -> Known:
        """With rows of the table of datasets (`id` and the columns of a dataset), and their blocks as unpacked."""
        if rows.is_empty():
            return self.at(change)
        ids = rows["id"].to_numpy()
        keys = self.keys_of_ids(ids)
        is_new = keys == UNKNOWN
        keys = np.where(is_new, self.datasets.height + np.cumsum(is_new) - 1, keys)
        columns = [name for name in schemas.DATASETS if name not in schemas.DERIVED["datasets"]]
        datasets = _revised(self.datasets, rows.select(columns), keys, is_new)
        grown = Known(
            datasets=datasets,
            blocks=self.blocks,
            ids=np.concatenate([self.ids, ids[is_new]]),
            ordinals=self.ordinals,
            declared=self.declared,
            by_id=self.by_id.having(HashIndex.of(ids[is_new].astype(np.uint64), self.datasets.height)),
            by_dataset=self.by_dataset.having(
                HashIndex.of(hashed(rows["name"].filter(pl.Series(is_new))), self.datasets.height)
            ),
            by_block=self.by_block,
            by_ordinal=self.by_ordinal,
            change=change,
        )
        return grown._with_blocks(keys, ids, blocks)

    def _with_blocks(self, keys: Array, ids: Array, given: pl.DataFrame) -> Known:
        row = given["row"].to_numpy()
        places = _place(ids[row], given["ordinal"].to_numpy())
        block = self.by_ordinal.candidates(places)
        is_new = block == UNKNOWN
        first = self.blocks.height
        block = np.where(is_new, first + np.cumsum(is_new) - 1, block)
        dataset = keys[row]
        columns = given.with_columns(pl.Series("dataset", dataset.astype(np.uint32))).select(list(schemas.BLOCKS))
        new = columns.filter(pl.Series(is_new))
        hashes = self._block_hashes(dataset[is_new], new["name"])
        declared = np.concatenate([self.declared, np.zeros(len(new), dtype=np.bool_)])
        declared[block] = given["declared"].to_numpy()
        return Known(
            datasets=self.datasets,
            blocks=_revised(self.blocks, columns, block, is_new),
            ids=self.ids,
            ordinals=np.concatenate([self.ordinals, given["ordinal"].to_numpy()[is_new]]),
            declared=declared,
            by_id=self.by_id,
            by_dataset=self.by_dataset,
            by_block=self.by_block.having(HashIndex.of(hashes, first)),
            by_ordinal=self.by_ordinal.having(HashIndex.of(places[is_new], first)),
            change=self.change,
        )

    def at(self, change: int) -> Known:
        """The same, known to be so up to a change."""
        return Known(**{name: getattr(self, name) for name in Known.__dataclass_fields__} | {"change": change})


def _place(ids: Array, ordinals: Array) -> Array:
    """A block's durable place as one number: no dataset has 2²⁴ blocks, and no database 2⁴⁰ datasets."""
    return (ids.astype(np.uint64) << np.uint64(24)) | ordinals.astype(np.uint64)


def _confirmed(keys: Array, names: pl.Series, wanted: pl.Series) -> Array:
    """The keys whose names are the wanted ones, whole; the others are UNKNOWN."""
    found = np.flatnonzero(keys >= 0)
    held, asked = names.gather(keys[found]), wanted.gather(found)
    same = held.eq_missing(asked).to_numpy()
    confirmed = keys.copy()
    confirmed[found[~same]] = UNKNOWN
    return confirmed


def _revised(frame: pl.DataFrame, given: pl.DataFrame, keys: Array, is_new: Array) -> pl.DataFrame:
    """A frame with given rows in the place of those with their keys, and the new ones behind all."""
    new, old = pl.Series(is_new), ~is_new
    revised = frame
    if old.any():
        at, changed = keys[old], given.filter(~new)
        revised = frame.with_columns([frame[name].clone().scatter(at, changed[name]) for name in frame.columns])
    if not is_new.any():
        return revised
    behind = given.filter(new).cast(frame.schema)
    return pl.concat([revised, behind]).rechunk() if frame.height else behind


def nothing() -> Known:
    """Nothing is known yet."""
    none = HashIndex(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64))
    kept = {name: kind for name, kind in schemas.DATASETS.items() if name not in schemas.DERIVED["datasets"]}
    return Known(
        datasets=schemas.empty(kept),
        blocks=schemas.empty(schemas.BLOCKS),
        ids=np.zeros(0, dtype=np.int64),
        ordinals=np.zeros(0, dtype=np.uint32),
        declared=np.zeros(0, dtype=np.bool_),
        by_id=none,
        by_dataset=none,
        by_block=none,
        by_ordinal=none,
    )
