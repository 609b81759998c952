"""The inventory: one immutable, columnar picture of what is where, under a version.

Every reader works on one inventory from end to end, and a change makes another, which shares the frames that did not
change (Dynamo paper, section 2.3; there it is a graph of objects). `placement/schemas.py` says what each frame holds.
Two views are in it: the *physical* one counts what is there, the *projected* one counts ordered copies as finished and
ordered deletions as done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from placement import schemas
from placement.schemas import Schema
from reploc import names
from reploc.errors import DefinitionUnknown, InventoryInvalid

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
#: What stands for a name that is not known, among the keys of names.
UNKNOWN = -1
#: Seconds that news, or a plan, may seem to be from the future: the clocks of services that share a database differ a
#: little. What is from further ahead is of a clock that was wrong, then or now, and its age is not known.
AHEAD_MAX_S = 60.0


@dataclass(frozen=True)
class Inventory:
    """What is where. Make one with `Inventory.of`, which checks and completes the frames.

    Equal versions of one service mean equal contents.
    """

    version: str
    sites: pl.DataFrame
    groups: pl.DataFrame
    partitions: pl.DataFrame
    quotas: pl.DataFrame
    datasets: pl.DataFrame
    blocks: pl.DataFrame
    block_replicas: pl.DataFrame
    dataset_replicas: pl.DataFrame

    @classmethod
    def of(
        cls,
        version: str,
        *,
        sites: pl.DataFrame,
        datasets: pl.DataFrame,
        blocks: pl.DataFrame,
        block_replicas: pl.DataFrame,
        groups: pl.DataFrame | None = None,
        partitions: pl.DataFrame | None = None,
        quotas: pl.DataFrame | None = None,
        intents: pl.DataFrame | None = None,
    ) -> Inventory:
        """An inventory of frames in which derived columns, and those with a default, may be left out.

        Block replicas come in any order; one (block, site) at most once. Every frame of groups begins with the one
        that owns what nobody owns (row 0); without `groups` there is no other. Raises InventoryInvalid: a column is
        missing, unknown or of another type, a key points at no row, a name or a replica stands twice.
        """
        held = cls.of_definitions(version, sites, datasets, blocks, groups, partitions, quotas)
        return held.observed(version, block_replicas, intents)

    @classmethod
    def of_definitions(
        cls,
        version: str,
        sites: pl.DataFrame,
        datasets: pl.DataFrame,
        blocks: pl.DataFrame,
        groups: pl.DataFrame | None = None,
        partitions: pl.DataFrame | None = None,
        quotas: pl.DataFrame | None = None,
    ) -> Inventory:
        """An inventory in which nothing is anywhere: the definitions alone. Raises InventoryInvalid."""
        given = {"sites": sites, "datasets": datasets, "blocks": blocks}
        given["groups"] = pl.DataFrame({"name": [schemas.NO_GROUP]}) if groups is None else groups
        given["partitions"] = schemas.empty(schemas.PARTITIONS) if partitions is None else partitions
        given["quotas"] = schemas.empty(schemas.QUOTAS) if quotas is None else quotas
        made = {name: _conformed(name, frame, schemas.FRAMES[name]) for name, frame in given.items()}
        for name in ("sites", "groups", "partitions", "datasets"):
            _require_unique(name, made[name])
        if made["groups"].is_empty() or made["groups"].item(schemas.NOBODY, "name") != schemas.NO_GROUP:
            raise InventoryInvalid(f"groups: row {schemas.NOBODY} must be {schemas.NO_GROUP!r}, who owns nothing")
        _require_keys("blocks", made["blocks"], dataset=made["datasets"].height)
        _require_keys("quotas", made["quotas"], site=made["sites"].height, partition=made["partitions"].height)
        made["datasets"] = _with_totals(made["datasets"], made["blocks"])
        nothing = {name: schemas.empty(schemas.FRAMES[name]) for name in ("block_replicas", "dataset_replicas")}
        return cls(version=version, **made, **nothing)

    def observed(self, version: str, block_replicas: pl.DataFrame, intents: pl.DataFrame | None = None) -> Inventory:
        """The same definitions with other replicas; frames as for `of`. Raises InventoryInvalid."""
        given = _conformed("block_replicas", block_replicas, schemas.BLOCK_REPLICAS)
        _require_keys(
            "block_replicas",
            given,
            block=self.blocks.height,
            site=self.sites.height,
            group=self.groups.height,
        )
        wanted = _conformed("intents", schemas.empty(schemas.INTENTS) if intents is None else intents, schemas.INTENTS)
        _require_keys("intents", wanted, dataset=self.datasets.height, site=self.sites.height, group=self.groups.height)
        replicas, runs = _in_runs(given, self.blocks)
        return self.having(
            version,
            block_replicas=replicas,
            dataset_replicas=_dataset_replicas(replicas, runs, wanted, self.blocks),
        )

    def reckoned(self, version: str, block_replicas: pl.DataFrame) -> Inventory:
        """The same rows with other orders about them: what is projected of dataset replicas follows."""
        first = self.dataset_replicas["first"].to_numpy().astype(np.int64)
        projected = _summed(projected_bytes(block_replicas, self.blocks), first)
        replicas = self.dataset_replicas.with_columns(pl.Series("projected_bytes", projected, dtype=schemas.SIZE))
        return self.having(version, block_replicas=block_replicas, dataset_replicas=replicas)

    def having(self, version: str, **frames: pl.DataFrame) -> Inventory:
        """The same with some frames replaced, which are whole and right already; the others are shared."""
        return Inventory(**{name: getattr(self, name) for name in schemas.FRAMES} | frames, version=version)

    @property
    def frames(self) -> Mapping[str, pl.DataFrame]:
        """Every frame by its name."""
        return {name: getattr(self, name) for name in schemas.FRAMES}

    # ---- names and keys ------------------------------------------------------------------------------------------

    def site_keys(self, site_names: Sequence[str]) -> Array:
        """The key of each site, shape (len(site_names),), UNKNOWN where there is none."""
        return _keys(self.sites, site_names)

    def group_keys(self, group_names: Sequence[str]) -> Array:
        """The key of each group, likewise."""
        return _keys(self.groups, group_names)

    def partition_keys(self, partition_names: Sequence[str]) -> Array:
        """The key of each partition, likewise."""
        return _keys(self.partitions, partition_names)

    def dataset_keys(self, dataset_names: Sequence[str]) -> Array:
        """The key of each dataset, likewise."""
        return _keys(self.datasets, dataset_names)

    def block_keys(self, block_names: Sequence[str]) -> Array:
        """The key of each block by its whole name (`/dataset/name#block`), likewise."""
        parts = [names.split_block(name) for name in block_names]
        asked = pl.DataFrame(
            {"dataset": self.dataset_keys([dataset for dataset, _ in parts]), "name": [block for _, block in parts]},
            schema={"dataset": pl.Int64(), "name": pl.String()},
        ).with_row_index("row")
        known = asked.filter(pl.col("dataset") >= 0).with_columns(pl.col("dataset").cast(schemas.KEY))
        near = self.blocks.lazy().select("dataset", "name").with_row_index("key")
        near = near.join(known.lazy().select("dataset").unique(), on="dataset", how="semi")
        found = known.join(near.collect(), on=["dataset", "name"], how="inner", nulls_equal=True)
        keys = np.full(len(block_names), UNKNOWN, dtype=np.int64)
        keys[found["row"].to_numpy()] = found["key"].to_numpy()
        return keys

    def block_names(self, keys: Array | None = None) -> pl.Series:
        """The whole names of blocks, of all or of those with these keys, in their order."""
        rows = self.blocks.select("dataset", "name") if keys is None else self.blocks.select("dataset", "name")[keys]
        dataset = self.datasets["name"].gather(rows["dataset"])
        block = rows["name"]
        return pl.select(pl.when(block.is_null()).then(dataset).otherwise(dataset + "#" + block).alias("block"))[
            "block"
        ]

    def rows(self, blocks: Array, sites: Array) -> Array:
        """The row of each block replica by the keys of block and site, UNKNOWN where there is none."""
        found = np.full(len(blocks), UNKNOWN, dtype=np.int64)
        runs = self.dataset_replicas
        if not len(blocks) or runs.is_empty():
            return found
        dataset = self.blocks["dataset"].to_numpy()[blocks]
        places = _paired(runs["dataset"].to_numpy(), runs["site"].to_numpy())
        asked = _paired(dataset, sites)
        run = np.minimum(np.searchsorted(places, asked), len(places) - 1)
        here = np.flatnonzero(places[run] == asked)
        keys = _paired(self.block_replicas["dataset_replica"].to_numpy(), self.block_replicas["block"].to_numpy())
        wanted = _paired(run[here], blocks[here])
        row = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found[here] = np.where(keys[row] == wanted, row, UNKNOWN)
        return found

    def marked(self, blocks: Array, sites: Array) -> Array:
        """Flags that are true for block replicas by the keys of block and site, shape (block replicas,)."""
        flags = np.zeros(self.block_replicas.height, dtype=np.bool_)
        rows = self.rows(blocks, sites)
        flags[rows[rows != UNKNOWN]] = True
        return flags

    # ---- sites ---------------------------------------------------------------------------------------------------

    def fresh_sites(self, now: float, max_age_s: float) -> Array:
        """Whether each site's news is complete and at most so old, and not from the future, shape (sites,)."""
        young = (pl.lit(now) - pl.col("news_at")).is_between(-AHEAD_MAX_S, max_age_s).fill_null(value=False)
        return self.sites.select(pl.col("news_complete") & young).to_series().to_numpy()

    @cached_property
    def ready_sites(self) -> Array:
        """Whether each site is READY, shape (sites,)."""
        return (self.sites["status"] == "ready").to_numpy()

    def quota(self, partition: str) -> pl.Series:
        """Bytes that each site has for a partition, one a site: negative is without a bound, null is none.

        Of a partition that is made of others it is the sum of theirs, and without a bound where one of them is. Raises
        DefinitionUnknown.
        """
        key = int(self.partition_keys([partition])[0])
        if key == UNKNOWN:
            known = ", ".join(self.partitions["name"]) or "there are none"
            raise DefinitionUnknown(f"partition {partition!r} is not defined; known: {known}")
        parts = self.partitions.item(key, "parts")
        mine = self.quotas.filter(pl.col("partition").is_in([key] if parts is None else list(parts)))
        summed = mine.group_by("site").agg(
            pl.when((pl.col("quota") < 0).any())
            .then(pl.lit(-1, schemas.SIZE))
            .otherwise(pl.col("quota").sum())
            .alias("quota")
        )
        every = self.sites.select(pl.int_range(pl.len(), dtype=schemas.SITE).alias("site"))
        return every.join(summed, on="site", how="left", maintain_order="left")["quota"]


def _paired(high: Array, low: Array) -> Array:
    """Two keys as one number, ordered by the first and then the second."""
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


def _keys(frame: pl.DataFrame, wanted: Sequence[str]) -> Array:
    asked = pl.DataFrame({"name": wanted}, schema={"name": pl.String()})
    known = frame.lazy().select("name").with_row_index("key").join(asked.lazy().unique(), on="name", how="semi")
    found = asked.join(known.collect(), on="name", how="left", maintain_order="left")
    return found["key"].cast(pl.Int64).fill_null(UNKNOWN).to_numpy()


def _conformed(name: str, frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The frame with every column that is not derived, in order and of its type."""
    derived = schemas.DERIVED.get(name, frozenset())
    defaults = schemas.DEFAULTS[name]
    if strange := set(frame.columns) - set(schema):
        raise InventoryInvalid(f"{name}: unknown column {min(strange)!r}; expected {', '.join(schema)}")
    columns = []
    for column, kind in schema.items():
        if column in derived:
            continue
        if column in frame.columns:
            given = frame[column]
            fill = defaults.get(column)
            columns.append(_typed(name, given if fill is None else given.fill_null(fill), kind))
        elif column in defaults:
            columns.append(pl.repeat(defaults[column], frame.height, dtype=kind, eager=True).alias(column))
        else:
            raise InventoryInvalid(f"{name}: column {column!r} is missing")
    return pl.DataFrame(columns)


def _typed(name: str, column: pl.Series, kind: pl.DataType) -> pl.Series:
    if column.dtype != kind:
        try:
            column = column.cast(kind)
        except pl.exceptions.PolarsError as wrong:
            said = str(wrong).splitlines()[0]
            raise InventoryInvalid(f"{name}: column {column.name!r} is not {kind}: {said}") from wrong
    if column.null_count() and (name, column.name) not in _NULLABLE:
        raise InventoryInvalid(f"{name}: column {column.name!r} lacks {column.null_count():,} values")
    return column


_NULLABLE = {("sites", "news_at"), ("partitions", "condition"), ("partitions", "parts"), ("blocks", "name")}


def _require_keys(name: str, frame: pl.DataFrame, **heights: int) -> None:
    for column, height in heights.items():
        most = frame[column].max()
        if isinstance(most, int) and most >= height:
            raise InventoryInvalid(f"{name}: column {column!r} names row {most:,} of {height:,}")


def _require_unique(name: str, frame: pl.DataFrame) -> None:
    if frame["name"].n_unique() != frame.height:
        twice = frame.filter(pl.col("name").is_duplicated()).item(0, "name")
        raise InventoryInvalid(f"{name}: {twice!r} stands twice")


def _with_totals(datasets: pl.DataFrame, blocks: pl.DataFrame) -> pl.DataFrame:
    """The datasets with the sums over their blocks."""
    dataset = blocks["dataset"].to_numpy()
    sums = {"num_blocks": np.bincount(dataset, minlength=datasets.height)}
    for name, values in (("size", blocks["size"]), ("num_files", blocks["files"])):
        sums[name] = np.zeros(datasets.height, dtype=np.int64)
        np.add.at(sums[name], dataset, values.to_numpy())
    columns = [pl.Series(name, values).cast(schemas.DATASETS[name]) for name, values in sums.items()]
    return datasets.with_columns(columns).select(list(schemas.DATASETS))


# ---- runs of rows: dataset replicas ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Runs:
    """Where each dataset replica begins among the sorted block replicas, and of which dataset and site it is."""

    first: Array
    dataset: Array
    site: Array


def _in_runs(given: pl.DataFrame, blocks: pl.DataFrame) -> tuple[pl.DataFrame, _Runs]:
    """The block replicas in the order of (dataset, site, block) with their derived columns, and the runs of rows."""
    order = row_order(given["site"].to_numpy(), given["block"].to_numpy(), blocks)
    ordered = given if order is None else given[order]
    site, block = ordered["site"].to_numpy(), ordered["block"].to_numpy()
    dataset = blocks["dataset"].to_numpy()[block]
    starts = np.ones(ordered.height, dtype=np.bool_)
    same_run = (dataset[1:] == dataset[:-1]) & (site[1:] == site[:-1])
    starts[1:] = ~same_run
    if twice := np.flatnonzero(same_run & (block[1:] == block[:-1])).tolist():
        raise InventoryInvalid(f"block_replicas: block {block[twice[0]]} at site {site[twice[0]]} stands twice")
    first = np.flatnonzero(starts)
    runs = _Runs(first.astype(np.uint32), dataset[first], site[first])
    columns = {
        "dataset_replica": pl.Series(np.cumsum(starts, dtype=np.uint32) - np.uint32(1)),
        "complete": pl.Series(_complete(ordered, blocks)),
    }
    whole = [columns.get(name, ordered.get_column(name, default=None)) for name in schemas.BLOCK_REPLICAS]
    frame = pl.DataFrame([column.alias(name) for name, column in zip(schemas.BLOCK_REPLICAS, whole, strict=True)])
    return frame, runs


def _complete(replicas: pl.DataFrame, blocks: pl.DataFrame) -> Array:
    """Whether each block replica holds all of its block, which holds something."""
    block = replicas["block"].to_numpy()
    whole: Array = replicas["files"].to_numpy() > 0
    for mine, all_of_it in (("bytes", "size"), ("files", "files")):
        whole &= replicas[mine].to_numpy() == blocks[all_of_it].to_numpy()[block]
    return whole


def row_order(site: Array, block: Array, blocks: pl.DataFrame) -> pl.Series | None:
    """The order in which block replicas stand by (dataset, site, block), None where they do already.

    What sites hold comes in long ascending runs, of which there are a tenth as many as rows; it is they that are
    sorted. Where runs of one dataset replica overlap, the rows are.
    """
    dataset = blocks["dataset"].to_numpy()[block]
    breaks = (dataset[1:] != dataset[:-1]) | (site[1:] != site[:-1]) | (block[1:] < block[:-1])
    first = np.append(np.zeros(min(len(block), 1), dtype=np.int64), np.flatnonzero(breaks) + 1)
    runs = _order(dataset[first], site[first], block[first])
    if runs is None:
        runs = np.arange(len(first))
    last = np.append(first[1:], len(block))[runs] - 1
    first = first[runs]
    overlap = (dataset[first[1:]] == dataset[first[:-1]]) & (site[first[1:]] == site[first[:-1]])
    if bool((overlap & (block[first[1:]] < block[last[:-1]])).any()):
        return pl.Series(_order(dataset, site, block))
    count = last - first + 1
    moved = (first - (np.cumsum(count) - count)).astype(np.uint32)  # modulo 2³², as is the sum
    if not moved.any():
        return None
    return pl.Series(np.repeat(moved, count) + np.arange(len(block), dtype=np.uint32))


def _order(dataset: Array, site: Array, block: Array) -> Array | None:
    """The order of (dataset, site, block), None where they stand in it already.

    One 64-bit key where the three fit into it, as they do up to a billion blocks or so: it sorts several times faster.
    """
    if not len(block):
        return None
    columns = (dataset, site, block)
    widths = [int(column.max()).bit_length() for column in columns]
    if sum(widths) > 64:
        return np.lexsort(columns[::-1])
    key = np.zeros(len(block), dtype=np.uint64)
    for column, width in zip(columns, widths, strict=True):
        key = (key << np.uint64(width)) | column
    if bool((key[1:] >= key[:-1]).all()):
        return None
    return pl.Series(key).arg_sort().to_numpy()


def _dataset_replicas(replicas: pl.DataFrame, runs: _Runs, intents: pl.DataFrame, blocks: pl.DataFrame) -> pl.DataFrame:
    """The frame of dataset replicas: sums over runs of block replicas, and what is intended for each as a whole."""
    first = runs.first.astype(np.int64)
    count = np.diff(np.append(first, replicas.height))
    files, size = replicas["files"].to_numpy(), replicas["bytes"].to_numpy()
    present = files > 0
    complete = replicas["complete"].to_numpy()
    created = replicas["last_update"].to_numpy()
    present_blocks = _summed(present, first)
    whole_blocks = _summed(complete, first)
    is_complete = (present_blocks == whole_blocks) & (whole_blocks > 0)
    is_full = is_complete & (whole_blocks == _blocks_with_files(blocks, runs.dataset))
    never = np.uint32(np.iinfo(np.uint32).max)
    earliest = _reduced(np.minimum, np.where(present, created, never), first)
    columns = {
        "dataset": runs.dataset,
        "site": runs.site,
        "first": runs.first,
        "count": count.astype(np.uint32),
        "files": _summed(files, first),
        "bytes": _summed(size, first),
        "projected_bytes": _summed(projected_bytes(replicas, blocks), first),
        "complete": is_complete,
        "full": is_full,
        "partial": is_complete & ~is_full,
        "first_block_created": np.where(earliest == never, np.uint32(0), earliest),
        "last_block_created": _reduced(np.maximum, np.where(present, created, np.uint32(0)), first),
    }
    made = pl.DataFrame({name: pl.Series(values) for name, values in columns.items()})
    told = made.join(intents, on=["dataset", "site"], how="left", maintain_order="left")
    unsaid = [pl.col(name).fill_null(value) for name, value in schemas.DEFAULTS["intents"].items()]
    whole = told.with_columns(unsaid).select(
        [pl.col(name).cast(kind) for name, kind in schemas.DATASET_REPLICAS.items()]
    )
    if whole.height != made.height:
        raise InventoryInvalid("intents: a dataset replica stands twice")
    return whole


def _blocks_with_files(blocks: pl.DataFrame, datasets: Array) -> Array:
    """How many blocks of each of these datasets hold anything: nobody can report one that does not."""
    counts = np.bincount(blocks.filter(pl.col("files") > 0)["dataset"].to_numpy())
    return np.append(counts, np.zeros(int(datasets.max(initial=0)) + 1, dtype=counts.dtype))[datasets]


def projected_bytes(replicas: pl.DataFrame, blocks: pl.DataFrame) -> Array:
    """Bytes of each block replica once every order is done: a copy has all of its block, a deletion leaves nothing."""
    projected: Array = replicas["bytes"].to_numpy().copy()
    copied = np.flatnonzero(replicas["copying"].to_numpy())
    projected[copied] = blocks["size"].to_numpy()[replicas["block"].to_numpy()[copied]]
    projected[replicas["deleting"].to_numpy()] = 0
    return projected


def _summed(values: Array, first: Array) -> Array:
    """The sum of each run of values, as 64-bit integers."""
    return np.add.reduceat(values, first, dtype=np.int64) if len(first) else np.zeros(0, dtype=np.int64)


def _reduced(how: np.ufunc, values: Array, first: Array) -> Array:
    return how.reduceat(values, first) if len(first) else values[:0]
