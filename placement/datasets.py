"""The rows of datasets with their blocks: read into what is known, and revised by what is defined or seen.

A block's totals are what somebody defined, or else the largest (files, bytes) that any site ever held; those only rise.
A revision reads the rows concerned, puts new numbers into their packs as arrays, and writes the rows that changed, so
that doing it twice writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl
from sqlalchemy import Connection, bindparam, insert, select, update

from placement import packs, tables
from placement.database import DECISIONS, DEFINITIONS, advance, count
from placement.files import Place
from placement.known import Known
from placement.schemas import Schema
from reploc import sql
from reploc.names import split_block

#: Rows that are read at once: some five megabytes of packs, and several times as much while they are unpacked.
ROWS_AT_ONCE = 10_000
#: Names in one question: SQLite takes 32,766 parameters.
NAMES_AT_ONCE = 10_000

#: What a dataset is told to be; null leaves it as it is.
ATTRIBUTES = ("status", "data_type", "software_version", "is_open", "last_update")
DATASETS_TOLD: Schema = {
    "name": pl.String(),
    "status": pl.String(),
    "data_type": pl.String(),
    "software_version": pl.String(),
    "is_open": pl.Boolean(),
    "last_update": pl.Int64(),
}
#: What is told of blocks; `dataset` is its name. A null of the last two leaves it as it is.
BLOCKS_TOLD: Schema = {
    "dataset": pl.String(),
    "name": pl.String(),
    "size": pl.Int64(),
    "files": pl.Int64(),
    "is_open": pl.Boolean(),
    "last_update": pl.Int64(),
}
_DEFAULT = {"status": "unknown", "data_type": "unknown", "software_version": "", "is_open": False, "last_update": 0}
#: Rows of the table by column.
Rows: TypeAlias = dict[str, list[Any]]
_COLUMNS = [column for column in tables.datasets.c if column.name != "change"]


def refreshed(connection: Connection, known: Known) -> Known:
    """What is known, with every write of datasets that is not in it yet."""
    change = count(connection, DEFINITIONS)
    if change == known.change:
        return known
    wanted = select(*_COLUMNS).order_by(tables.datasets.c.id)
    if known.change:  # by the index of changes, in its order: by that of ids every row there is would be looked at
        table = tables.datasets.c
        wanted = select(*_COLUMNS).where(table.change > known.change).order_by(table.change, table.id)
    told, blocks, rows = [], [], 0
    for part in sql.columns(connection, wanted, ROWS_AT_ONCE):
        told.append(_attributes(part))
        blocks.append(_unpacked(part).with_columns(pl.col("row") + rows))
        rows += told[-1].height
    if not told:
        return known.at(change)
    return known.merged(pl.concat(told), pl.concat(blocks), change)


def revise(connection: Connection, datasets: pl.DataFrame, blocks: pl.DataFrame, *, declared: bool, now: int) -> int:
    """Puts what is told (DATASETS_TOLD, BLOCKS_TOLD) into the rows; how many datasets changed.

    `declared`: somebody defines these totals. Otherwise they were seen, and raise what was not declared. A name stands
    at most once in each frame; datasets that only `blocks` names are made where they are not there.
    """
    named = blocks.select(pl.col("dataset").alias("name")).unique()
    told = datasets.join(named, on="name", how="full", coalesce=True).sort("name").with_row_index("row")
    held = _rows(connection, told["name"])
    before = _attributes(held)
    rows = told.select("name", pl.col("row").cast(pl.Int64))
    place = before.select("name").join(rows, on="name", how="left", maintain_order="left")["row"]
    unpacked = _unpacked(held)
    given = blocks.join(rows.rename({"name": "dataset"}), on="dataset").drop("dataset")
    after = _joined(unpacked.with_columns(place.gather(unpacked["row"])), given, declared=declared, now=now)
    revised = _revised(told, before, after, now)
    changed = revised.filter("changed")
    if changed.height:
        _write(
            connection,
            changed.drop("restated"),
            after.filter(pl.col("row").is_in(changed["row"].cast(pl.Int64).implode())),
        )
        if changed["restated"].any():
            advance(connection, DECISIONS)
    return changed.height


def _rows(connection: Connection, names: pl.Series) -> Rows:
    """The rows of the datasets with these names that there are, by column."""
    held: Rows = {column.name: [] for column in _COLUMNS}
    for begin in range(0, len(names), NAMES_AT_ONCE):
        wanted = select(*_COLUMNS).where(tables.datasets.c.name.in_(names.slice(begin, NAMES_AT_ONCE).to_list()))
        for part in sql.columns(connection, wanted, NAMES_AT_ONCE):
            for name, values in part.items():
                held[name] += values
    return held


def _attributes(rows: Rows) -> pl.DataFrame:
    schema = {"id": pl.Int64(), **DATASETS_TOLD}
    return pl.DataFrame({name: pl.Series(rows[name], dtype=kind) for name, kind in schema.items()})


def _unpacked(rows: Rows) -> pl.DataFrame:
    return packs.unpack(rows["numbers"], rows["names"])


def _joined(before: pl.DataFrame, given: pl.DataFrame, *, declared: bool, now: int) -> pl.DataFrame:
    """All blocks of the rows as they shall be, in the order of (row, ordinal), new ones last; `changed` says which."""
    both = before.join(given, on=["row", "name"], how="full", coalesce=True, nulls_equal=True, suffix="_told")
    was_declared = pl.col("declared").fill_null(value=False)
    totals = []
    for name in ("size", "files"):
        old, told = pl.col(name).cast(pl.Int64), pl.col(f"{name}_told")
        seen = pl.when(was_declared).then(old).otherwise(pl.max_horizontal(old, told))
        totals.append((pl.coalesce(told, old) if declared else seen).alias(f"{name}_new"))
    told_of = pl.col("size_told").is_not_null()
    both = both.with_columns(
        *totals,
        pl.coalesce("is_open_told", "is_open", pl.lit(value=False)).alias("is_open_new"),
        (was_declared | (told_of & pl.lit(declared))).alias("declared_new"),
        pl.col("ordinal").is_null().alias("is_new"),
    )
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in ("size", "files", "is_open", "declared")]
    both = both.with_columns(pl.any_horizontal("is_new", *differs).alias("changed"))
    moved = pl.when("changed").then(pl.lit(now, pl.Int64)).otherwise(pl.col("last_update").cast(pl.Int64))
    both = both.with_columns(pl.coalesce("last_update_told", moved).alias("last_update_new"))
    redated = pl.col("last_update").cast(pl.Int64).ne_missing(pl.col("last_update_new"))
    return both.sort("row", "is_new", "ordinal", "name", nulls_last=True).select(
        "row",
        "name",
        *(pl.col(f"{name}_new").alias(name) for name in ("size", "files", "last_update", "is_open", "declared")),
        (pl.col("changed") | redated).alias("changed"),
    )


def _revised(told: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame, now: int) -> pl.DataFrame:
    """The attributes of the datasets as they shall be, which rows are to be written, and whose status is another."""
    both = told.join(before, on="name", how="left", suffix="_old").sort("row")
    moved = both["row"].is_in(after.filter("changed")["row"].cast(pl.UInt32).unique().implode()) | both["id"].is_null()
    told_at = pl.coalesce("last_update", pl.when(moved).then(now).otherwise(pl.col("last_update_old")))
    new = [pl.coalesce(name, f"{name}_old", pl.lit(_DEFAULT[name])).alias(f"{name}_new") for name in ATTRIBUTES[:-1]]
    both = both.with_columns(*new, told_at.alias("last_update_new"))
    differs = [pl.col(f"{name}_new").ne_missing(pl.col(f"{name}_old")) for name in ATTRIBUTES]
    return both.select(
        "row",
        "id",
        "name",
        *(pl.col(f"{name}_new").alias(name) for name in ATTRIBUTES),
        (pl.any_horizontal(*differs) | moved).alias("changed"),
        (pl.col("id").is_not_null() & pl.col("status_new").ne_missing(pl.col("status_old"))).alias("restated"),
    )


def _write(connection: Connection, changed: pl.DataFrame, blocks: pl.DataFrame) -> None:
    change = advance(connection, DEFINITIONS) + 1
    numbers, names = packs.packed(blocks, changed["row"])
    rows = [
        {**row, "numbers": some, "names": named, "change": change}
        for row, some, named in zip(changed.drop("row", "changed").iter_rows(named=True), numbers, names, strict=True)
    ]
    old = [{("key" if name == "id" else name): value for name, value in row.items()} for row in rows if row["id"]]
    new = [{name: value for name, value in row.items() if name != "id"} for row in rows if not row["id"]]
    revised: dict[str, Any] = {
        column.name: bindparam(column.name) for column in tables.datasets.c if column.name != "id"
    }
    if old:
        connection.execute(update(tables.datasets).where(tables.datasets.c.id == bindparam("key")).values(revised), old)
    if new:
        connection.execute(insert(tables.datasets), new)


def ids(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The durable id of each dataset that there is."""
    held = _rows(connection, pl.Series(sorted(set(names)), dtype=pl.String))
    return dict(zip(held["name"], held["id"], strict=True))


def places(connection: Connection, blocks: Sequence[str]) -> dict[str, Place]:
    """The durable place of each block that there is, by whole name (a dataset's is that of the dataset as a block)."""
    parts = {name: split_block(name) for name in blocks}
    held = {each.name: each for each in _named(connection, {dataset for dataset, _ in parts.values()})}
    return {
        name: (held[dataset].id, held[dataset].blocks[name])
        for name, (dataset, _) in parts.items()
        if dataset in held and name in held[dataset].blocks
    }


@dataclass(frozen=True)
class Ordinals:
    """A dataset with its durable id, and the ordinal of each of its blocks by whole name."""

    name: str
    id: int
    blocks: dict[str, int]


def ordinals(connection: Connection, dataset: str) -> Ordinals | None:
    """A dataset's, or None where there is no such dataset."""
    return next(_named(connection, {dataset}), None)


def _named(connection: Connection, datasets: Collection[str]) -> Iterator[Ordinals]:
    held = _rows(connection, pl.Series(sorted(datasets), dtype=pl.String))
    found = [Ordinals(name, id_, {}) for name, id_ in zip(held["name"], held["id"], strict=True)]
    for row, own, ordinal in _unpacked(held).select("row", "name", "ordinal").iter_rows():
        name = found[row].name
        found[row].blocks[name if own is None else f"{name}#{own}"] = ordinal
    return iter(found)
