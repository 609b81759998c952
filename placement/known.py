"""The datasets and blocks that are known, in memory: their frames, and the way from names and durable ids to keys.

Keys are handed out once and kept while the process lives: what is new goes behind what is there, and what changed is
changed in a copy, so that inventories that were made before stay as they were. Datasets are found by 64-bit hashes of
their names, many at once, and then compared whole, so that a collision is never an answer; blocks are looked for among
those of their datasets alone, so that nothing as large as all blocks is kept to find one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from placement import schemas
from placement.detox.runs import expanded
from placement.inventory import UNKNOWN, Array


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
        at = np.minimum(self._places(hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, self.keys[at], UNKNOWN)

    def _places(self, hashes: Array) -> Array:
        if bool((hashes[1:] >= hashes[:-1]).all()):
            return np.searchsorted(self.hashes, hashes)
        order = np.argsort(hashes)  # neighbours in the index are then asked for one after the other
        at = np.empty(len(hashes), dtype=np.int64)
        at[order] = np.searchsorted(self.hashes, hashes[order])
        return at


@dataclass(frozen=True)
class BlockRuns:
    """The blocks of each dataset by ordinal: those of dataset `d` are `blocks[first[d] : first[d + 1]]`."""

    first: Array
    blocks: Array

    @property
    def counts(self) -> Array:
        """How many blocks each dataset has, shape (datasets,)."""
        return np.diff(self.first)

    def of(self, datasets: Array) -> Array:
        """The keys of all blocks of some datasets, one dataset after another."""
        member, _ = expanded(self.first[datasets], self.counts[datasets])
        return self.blocks[member]

    def at(self, datasets: Array, ordinals: Array) -> Array:
        """The key of each block by the key of its dataset, which may be UNKNOWN, and its ordinal."""
        found = np.full(len(datasets), UNKNOWN, dtype=np.int64)
        known = (datasets >= 0) & (datasets < len(self.counts))
        known[known] = ordinals[known] < self.counts[datasets[known]]
        found[known] = self.blocks[self.first[datasets[known]] + ordinals[known]]
        return found

    def having(self, new: Array, datasets: int) -> BlockRuns:
        """With further blocks, whose keys follow on: `new` are their datasets, of which there are so many now, those of
        one dataset in the order of their ordinals."""
        order = np.argsort(new, kind="stable")
        ends = np.append(self.first, np.full(datasets - len(self.counts), self.first[-1]))[1:]
        keys = (len(self.blocks) + order).astype(np.uint32)
        counts = np.diff(ends, prepend=0) + np.bincount(new, minlength=datasets)
        return BlockRuns(np.append(0, np.cumsum(counts)), np.insert(self.blocks, ends[new[order]], keys))


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
    runs: BlockRuns
    change: int = 0

    # ---- from names and ids to keys ------------------------------------------------------------------------------

    def dataset_keys(self, names: pl.Series) -> Array:
        """The key of each dataset, UNKNOWN where there is none."""
        keys = self.by_dataset.candidates(hashed(names))
        return _confirmed(keys, self.datasets["name"], names)

    def block_keys(self, datasets: Array, names: pl.Series) -> Array:
        """The key of each block by its dataset's key and its own name, UNKNOWN where there is none."""
        key = ["dataset", "name"]
        near = self.runs.of(np.unique(datasets[datasets >= 0]))
        held = self.blocks.select(key)[near].cast({"dataset": pl.Int64}).with_columns(pl.Series("key", near))
        asked = pl.DataFrame({"dataset": pl.Series(datasets), "name": names}, schema_overrides={"name": pl.String})
        found = asked.join(held, on=key, how="left", nulls_equal=True, maintain_order="left")
        return found["key"].cast(pl.Int64).fill_null(UNKNOWN).to_numpy()

    def keys_of_ids(self, ids: Array) -> Array:
        """The key of each dataset by its durable id."""
        return self.by_id.candidates(ids.astype(np.uint64))

    def keys_of_ordinals(self, ids: Array, ordinals: Array) -> Array:
        """The key of each block by its dataset's durable id and its ordinal."""
        return self.runs.at(self.keys_of_ids(ids), ordinals)

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
            runs=self.runs,
            change=change,
        )
        return grown._with_blocks(keys, blocks)

    def _with_blocks(self, keys: Array, given: pl.DataFrame) -> Known:
        dataset = keys[given["row"].to_numpy()]
        block = self.runs.at(dataset, given["ordinal"].to_numpy())
        is_new = block == UNKNOWN
        block = np.where(is_new, self.blocks.height + np.cumsum(is_new) - 1, block)
        columns = given.with_columns(pl.Series("dataset", dataset.astype(np.uint32))).select(list(schemas.BLOCKS))
        declared = np.append(self.declared, np.zeros(is_new.sum(), dtype=np.bool_))
        declared[block] = given["declared"].to_numpy()
        return Known(
            datasets=self.datasets,
            blocks=_revised(self.blocks, columns, block, is_new),
            ids=self.ids,
            ordinals=np.concatenate([self.ordinals, given["ordinal"].to_numpy()[is_new]]),
            declared=declared,
            by_id=self.by_id,
            by_dataset=self.by_dataset,
            runs=self.runs.having(dataset[is_new], self.datasets.height),
            change=self.change,
        )

    def at(self, change: int) -> Known:
        """The same, known to be so up to a change."""
        return Known(**{name: getattr(self, name) for name in Known.__dataclass_fields__} | {"change": change})


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
    if is_new.all() and frame.is_empty():
        return given.cast(frame.schema)
    new, at = pl.Series(is_new), keys[~is_new]
    changed = given.filter(~new).cast(frame.schema)
    columns = [_scattered(frame[name], at, changed[name]) for name in frame.columns]
    return pl.concat([pl.DataFrame(columns), given.filter(new).cast(frame.schema)]).rechunk()


def _scattered(column: pl.Series, at: Array, values: pl.Series) -> pl.Series:
    """A column with other values at some places; itself where those are there already, as names always are."""
    return column if column.gather(at).equals(values) else column.clone().scatter(at, values)


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
        runs=BlockRuns(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.uint32)),
    )
