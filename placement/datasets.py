"""The rows of datasets with their blocks: read into what is known, and revised by what is defined or seen.

A block's totals are what somebody defined, or else the largest (files, bytes) that any site ever held; those only rise.
A revision reads the rows concerned, puts new numbers into their packs as arrays, and writes the rows that changed, so
that doing it twice writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, bindparam, insert, select, update

from placement import packs, tables
from placement.database import DECISIONS, DEFINITIONS, advance, count
from placement.files import Place
from placement.known import Known
from placement.schemas import Schema, empty
from reploc.names import split_block

#: Rows that are read or written at once: some thirty megabytes of packs.
ROWS_AT_ONCE = 50_000
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
_COLUMNS = [column for column in tables.datasets.c if column.name != "change"]


def refreshed(connection: Connection, known: Known) -> Known:
    """What is known, with every write of datasets that is not in it yet."""
    change = count(connection, DEFINITIONS)
    if change == known.change:
        return known
    later = select(*_COLUMNS).where(tables.datasets.c.change > known.change).order_by(tables.datasets.c.id)
    rows = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(later)
    told, blocks = [], []
    for part in rows.partitions():
        told.append(_attributes(part))
        blocks.append(_unpacked(part).with_columns(pl.col("row") + sum(each.height for each in told[:-1])))
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
    held = {row.name: row for row in _rows(connection, told["name"])}
    there = [row for name in told["name"] if (row := held.get(name))]
    places = told.filter(pl.col("name").is_in(list(held))).select("row").cast(pl.Int64)
    before = _unpacked(there).with_columns(pl.col("row").replace_strict(range(len(there)), places["row"].to_list()))
    given = blocks.join(told.select(pl.col("name").alias("dataset"), pl.col("row").cast(pl.Int64)), on="dataset")
    after = _joined(before, given.drop("dataset"), declared=declared, now=now)
    ids = pl.DataFrame(
        {"name": list(held), "id": [row.id for row in held.values()]}, schema={"name": pl.String, "id": pl.Int64}
    )
    before_attributes = _attributes(there).drop("id")
    revised = _revised(told.join(ids, on="name", how="left"), before_attributes, after, now)
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


def _rows(connection: Connection, names: pl.Series) -> Iterator[Any]:
    for begin in range(0, len(names), NAMES_AT_ONCE):
        wanted = names.slice(begin, NAMES_AT_ONCE).to_list()
        yield from connection.execute(select(*_COLUMNS).where(tables.datasets.c.name.in_(wanted)))


def _attributes(rows: Sequence[Any]) -> pl.DataFrame:
    schema = {"id": pl.Int64(), **DATASETS_TOLD}
    if not rows:
        return empty(schema)
    columns = dict(zip((column.name for column in _COLUMNS), zip(*rows, strict=True), strict=True))
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)


def _unpacked(rows: Sequence[Any]) -> pl.DataFrame:
    return packs.unpack([row.numbers for row in rows], [row.names for row in rows])


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
    return {row.name: row.id for row in _rows(connection, pl.Series(sorted(set(names)), dtype=pl.String))}


def places(connection: Connection, blocks: Sequence[str]) -> dict[str, Place]:
    """The durable place of each block that there is, by whole name (a dataset's is that of the dataset as a block)."""
    parts = {name: split_block(name) for name in blocks}
    rows = list(_rows(connection, pl.Series(sorted({dataset for dataset, _ in parts.values()}), dtype=pl.String)))
    held = {row.name: (row.id, _ordinals(row)) for row in rows}
    return {
        name: (held[dataset][0], held[dataset][1][block])
        for name, (dataset, block) in parts.items()
        if dataset in held and block in held[dataset][1]
    }


@dataclass(frozen=True)
class Ordinals:
    """A dataset's durable id, and the ordinal of each of its blocks by whole name."""

    id: int
    blocks: dict[str, int]


def ordinals(connection: Connection, dataset: str) -> Ordinals | None:
    """A dataset's, or None where there is no such dataset."""
    for row in _rows(connection, pl.Series([dataset])):
        held = _ordinals(row)
        return Ordinals(row.id, {dataset if name is None else f"{dataset}#{name}": at for name, at in held.items()})
    return None


def _ordinals(row: Any) -> dict[str | None, int]:
    return dict(_unpacked([row]).select("name", "ordinal").iter_rows())
