"""What people see of an inventory: its sites with their news, its datasets, and the replicas of one."""

from __future__ import annotations

import numpy as np
import polars as pl

from placement.definitions import Definitions as Defined
from placement.inventory import UNKNOWN, Array, Inventory
from placement.messages import (
    Dataset,
    DatasetRow,
    Datasets,
    DatasetsQuery,
    Definitions,
    GroupItem,
    InventoryStatus,
    PartitionItem,
    QuotaItem,
    ReplicaRow,
    SiteNews,
)
from placement.policy.texts import glob_matching
from reploc import names
from reploc.errors import DefinitionUnknown


def status(inventory: Inventory, now: float) -> InventoryStatus:
    """The whole in numbers, and each site."""
    replicas = inventory.dataset_replicas
    sums = replicas.group_by("site").agg(
        pl.len().alias("dataset_replicas"),
        pl.col("count").cast(pl.Int64).sum().alias("block_replicas"),
        pl.col("bytes").sum(),
        pl.col("projected_bytes").sum(),
    )
    each = inventory.sites.with_row_index("site").with_columns(pl.col("site").cast(pl.UInt16))
    held = each.join(sums, on="site", how="left", maintain_order="left").fill_null(0)
    ages = [None if at is None else round(max(now - at, 0.0), 3) for at in inventory.sites["news_at"]]
    return InventoryStatus(
        version=inventory.version,
        datasets=inventory.datasets.height,
        blocks=inventory.blocks.height,
        dataset_replicas=replicas.height,
        block_replicas=inventory.block_replicas.height,
        bytes=int(replicas["bytes"].sum()),
        sites=[
            SiteNews(
                name=row["name"],
                storage=row["storage_type"],
                status=row["status"],
                age_s=age,
                complete=row["news_complete"],
                position=row["position"],
                dataset_replicas=row["dataset_replicas"],
                block_replicas=row["block_replicas"],
                bytes=row["bytes"],
                projected_bytes=row["projected_bytes"],
            )
            for row, age in zip(held.iter_rows(named=True), ages, strict=True)
        ],
    )


def definitions(found: Defined) -> Definitions:
    """What is defined, as it was told."""
    names_of = found.partitions["name"].to_list()
    sites = found.sites["name"].to_list()
    return Definitions(
        sites=list(found.defined.values()),
        groups=[GroupItem(name, level) for name, level in found.groups.slice(1).iter_rows()],
        partitions=[
            PartitionItem(name, condition, None if parts is None else [names_of[part] for part in parts])
            for name, condition, parts in found.partitions.iter_rows()
        ],
        quotas=[QuotaItem(sites[site], names_of[part], quota) for site, part, quota in found.quotas.iter_rows()],
    )


def datasets(inventory: Inventory, asked: DatasetsQuery) -> Datasets:
    """A page of the datasets whose names match, in the order of names."""
    known = inventory.datasets["name"]
    wanted = names.pattern(asked.pattern)
    matching = (known == asked.pattern).to_numpy() if wanted.literal else glob_matching(asked.pattern, known)
    if asked.after is not None:
        matching = matching & (known > asked.after).to_numpy()
    keys = np.flatnonzero(matching)
    order = known.gather(keys).arg_sort()[: asked.limit + 1].to_numpy()
    rows = _rows(inventory, keys[order])
    page = rows[: asked.limit]
    return Datasets(page, page[-1].name if len(rows) > asked.limit else None)


def dataset(inventory: Inventory, name: str) -> Dataset:
    """One dataset with its block replicas. Raises DefinitionUnknown."""
    key = int(inventory.dataset_keys([name])[0])
    if key == UNKNOWN:
        raise DefinitionUnknown(f"dataset {name!r} is not defined")
    runs = inventory.dataset_replicas.filter(pl.col("dataset") == key)
    told = [inventory.block_replicas.slice(row["first"], row["count"]) for row in runs.iter_rows(named=True)]
    replicas = pl.concat(told) if told else inventory.block_replicas.clear()
    blocks = inventory.block_names(replicas["block"].to_numpy())
    sites, groups = inventory.sites["name"].to_list(), inventory.groups["name"].to_list()
    return Dataset(
        _rows(inventory, np.array([key]))[0],
        [
            ReplicaRow(
                block=block,
                site=sites[row["site"]],
                group=groups[row["group"]],
                **{name: row[name] for name in _COPIED},
            )
            for block, row in zip(blocks, replicas.iter_rows(named=True), strict=True)
        ],
    )


_COPIED = ("files", "bytes", "complete", "custodial", "copying", "deleting", "locked", "last_update")


def _rows(inventory: Inventory, keys: Array) -> list[DatasetRow]:
    counted = inventory.dataset_replicas.filter(pl.col("dataset").is_in(pl.Series(keys.astype(np.uint32)).implode()))
    sums = counted.group_by("dataset").agg(pl.len().alias("replicas"), pl.col("full").sum().alias("full_replicas"))
    held = inventory.datasets[keys].with_columns(pl.Series("dataset", keys.astype(np.uint32)))
    whole = held.join(sums, on="dataset", how="left", maintain_order="left").fill_null(0)
    return [
        DatasetRow(**{name: row[name] for name in DatasetRow.__struct_fields__}) for row in whole.iter_rows(named=True)
    ]
