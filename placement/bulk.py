"""The definitions and owners of a whole inventory, put into the database at once."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from sqlalchemy import Connection, delete, insert, select

from placement import datasets, definitions, intents, schemas, tables
from placement.database import DECISIONS, INTENT, advance
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.messages import GroupItem, PartitionItem, QuotaItem

#: Datasets of one step: their rows, packed and unpacked, are some hundred megabytes.
DATASETS_AT_ONCE = 50_000
#: Numbers in one statement: SQLite takes 32,766 parameters.
NUMBERS_AT_ONCE = 10_000


def define(keeper: Keeper, made: Inventory, progress: Callable[[int], object]) -> int:
    """Defines what an inventory holds but for its sites, in one transaction; how many datasets changed.

    Raises DefinitionUnknown: a site is not defined. `progress` is told how many datasets came in.
    """
    now = int(keeper.clock())
    changed = 0
    with keeper.writing() as connection:
        _define_small(connection, made)
        for begin in range(0, made.datasets.height, DATASETS_AT_ONCE):
            changed += _define_datasets(connection, made, begin, now)
            progress(min(DATASETS_AT_ONCE, made.datasets.height - begin))
        _define_owners(connection, made)
    return changed


def _define_small(connection: Connection, made: Inventory) -> None:
    sites, partitions = made.sites["name"].to_list(), made.partitions["name"].to_list()
    known = intents.ids(connection, tables.sites)
    for site in sites:
        intents.known_id(known, site, "site")
    groups = [GroupItem(name, level) for name, level in made.groups.slice(schemas.NOBODY + 1).iter_rows()]
    definitions.put_groups(connection, groups)
    items = [
        PartitionItem(name, condition, None if parts is None else [partitions[part] for part in parts])
        for name, condition, parts in made.partitions.iter_rows()
    ]
    definitions.put_partitions(connection, items)
    told = [QuotaItem(sites[site], partitions[part], quota) for site, part, quota in made.quotas.iter_rows()]
    definitions.put_quotas(connection, told)


def _define_datasets(connection: Connection, made: Inventory, begin: int, now: int) -> int:
    chosen = made.datasets.slice(begin, DATASETS_AT_ONCE)
    blocks = made.blocks.filter(pl.col("dataset").is_between(begin, begin + chosen.height - 1))
    blocks = blocks.with_columns(made.datasets["name"].gather(blocks["dataset"]).alias("dataset"))
    return datasets.revise(
        connection,
        schemas.told(chosen.drop("size", "num_files", "num_blocks"), datasets.DATASETS_TOLD),
        schemas.told(blocks, datasets.BLOCKS_TOLD),
        declared=True,
        now=now,
    )


def _define_owners(connection: Connection, made: Inventory) -> None:
    """Owners of dataset replicas, and of the blocks in them whose owner is another; in the place of those on record."""
    sites, groups = intents.ids(connection, tables.sites), intents.ids(connection, tables.groups)
    site = [sites[name] for name in made.sites["name"]]
    group = [0, *(groups[name] for name in made.groups["name"][schemas.NOBODY + 1 :])]
    ids = dict(connection.execute(select(tables.datasets.c.name, tables.datasets.c.id)).all())
    dataset = [ids[name] for name in made.datasets["name"]]
    whole = made.dataset_replicas.filter(pl.col("group") != schemas.NOBODY)
    rows = [
        {
            "dataset_id": dataset[row["dataset"]],
            "site_id": site[row["site"]],
            "group_id": group[row["group"]],
            "growing": row["growing"],
            "custodial": row["custodial"],
        }
        for row in whole.iter_rows(named=True)
    ]
    for begin in range(0, len(dataset), NUMBERS_AT_ONCE):
        chosen = dataset[begin : begin + NUMBERS_AT_ONCE]
        for table in (tables.dataset_intents, tables.block_intents):
            connection.execute(delete(table).where(table.c.dataset_id.in_(chosen)))
    if rows:
        connection.execute(insert(tables.dataset_intents), rows)
    if own := _block_owners(connection, made, site, group):
        connection.execute(insert(tables.block_intents), own)
    for name in (INTENT, DECISIONS):
        advance(connection, name)


def _block_owners(
    connection: Connection, made: Inventory, site: list[int], group: list[int]
) -> list[dict[str, object]]:
    replicas = made.block_replicas
    whole = made.dataset_replicas["group"].gather(replicas["dataset_replica"])
    other = replicas.filter((replicas["group"] != whole) & (replicas["group"] != schemas.NOBODY))
    blocks = made.block_names(other["block"].to_numpy()).to_list()
    places = datasets.places(connection, blocks)
    return [
        {
            "dataset_id": places[block][0],
            "ordinal": places[block][1],
            "site_id": site[row["site"]],
            "group_id": group[row["group"]],
            "custodial": row["custodial"],
        }
        for block, row in zip(blocks, other.iter_rows(named=True), strict=True)
    ]
