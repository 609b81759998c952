"""The columns of an inventory under the names that policies use: what follows from a snapshot and does not change.

What changes while replicas go is computed by detox; what comes from elsewhere, by attribute producers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from placement.inventory import Inventory
from placement.policy.bits import Coded, Column, Columns, of_block_replicas
from placement.policy.partitions import partition_condition
from placement.policy.variables import Level, Variable
from reploc.errors import DefinitionUnknown

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class InventoryColumns:
    """Columns of a snapshot, made when they are asked for and kept; `attributes` holds those of producers by name."""

    def __init__(self, inventory: Inventory, attributes: Mapping[str, Column] | None = None) -> None:
        self.inventory = inventory
        self._kept: dict[str, Column] = dict(attributes or {})
        self._rows: dict[str, Array] = {}

    def column(self, variable: Variable) -> Column:
        """All values of a variable at its own level. Raises KeyError for one that a snapshot alone does not give."""
        name = variable.name
        if name not in self._kept:
            self._kept[name] = _COLUMNS[name](self)
        return self._kept[name]

    def above(self, rows: Array | None, level: Level) -> Array | None:
        """The dataset, site or dataset replica of block replicas; themselves for their own level."""
        if level is Level.BLOCK:
            return rows
        found = {Level.SITE: self.row_site, Level.DATASET: self.row_dataset, Level.REPLICA: self.row_replica}[level]
        return found if rows is None else found[rows]

    @cached_property
    def row_site(self) -> Array:
        return self.inventory.block_replicas["site"].to_numpy()

    @cached_property
    def row_replica(self) -> Array:
        return self.inventory.block_replicas["dataset_replica"].to_numpy()

    @cached_property
    def row_dataset(self) -> Array:
        return self.inventory.dataset_replicas["dataset"].to_numpy()[self.row_replica]

    def rows(self, name: str) -> Array:
        """A column of block replicas."""
        if name not in self._rows:
            self._rows[name] = self.inventory.block_replicas[name].to_numpy()
        return self._rows[name]


def partition_rows(inventory: Inventory, name: str) -> Array:
    """Which block replicas are in a partition, shape (block replicas,).

    Raises DefinitionUnknown: there is no such partition. PolicyInvalid: its condition is none.
    """
    return _members(inventory, name, InventoryColumns(inventory), inventory.block_replicas.height)


def _members(inventory: Inventory, name: str, columns: Columns, size: int) -> Array:
    key = int(inventory.partition_keys([name])[0])
    if key < 0:
        known = ", ".join(inventory.partitions["name"]) or "there are none"
        raise DefinitionUnknown(f"partition {name!r} is not defined; known: {known}")
    parts = inventory.partitions.item(key, "parts")
    found = np.zeros(size, dtype=np.bool_)
    for part in [key] if parts is None else list(parts):
        told = inventory.partitions.row(part, named=True)
        found |= of_block_replicas(partition_condition(told["condition"], told["name"]), columns)
    return found


def rows_in_partition(inventory: Inventory, name: str, rows: Array, groups: Array) -> Array:
    """Whether block replicas would be in a partition if these groups owned them, shape (len(rows),)."""
    columns = _Reowned(InventoryColumns(inventory), rows, groups)
    return _members(inventory, name, columns, len(rows))


class _Reowned:
    """The columns of some block replicas, with other owners."""

    def __init__(self, columns: InventoryColumns, rows: Array, groups: Array) -> None:
        self._columns, self._rows, self._groups = columns, rows, groups

    def column(self, variable: Variable) -> Column:
        if variable.name == "blockreplica.owner":
            return Coded(self._columns.inventory.groups["name"], self._groups)
        found = self._columns.column(variable)
        if variable.level is not Level.BLOCK:
            return found
        return found.taken(self._rows) if isinstance(found, Coded) else found[self._rows]

    def above(self, rows: Array | None, level: Level) -> Array | None:
        return None if level is Level.BLOCK else self._columns.above(self._rows if rows is None else rows, level)


def _enum(series: pl.Series) -> Coded:
    assert isinstance(series.dtype, pl.Enum)
    return Coded(series.dtype.categories.str.to_uppercase(), series.to_physical().to_numpy())


def _text(series: pl.Series) -> Coded:
    words = series.unique().sort()
    return Coded(words, series.cast(pl.Enum(words)).to_physical().to_numpy())


def _release(columns: InventoryColumns) -> Coded:
    found = _text(columns.inventory.datasets["software_version"])
    return Coded(found.words.str.replace_all(r"[^A-Za-z0-9]+", "_"), found.codes)


def _age_relative_to_newest(columns: InventoryColumns) -> Array:
    updated = columns.rows("last_update").astype(np.int64)
    return np.asarray(updated.max(initial=0) - updated)


def _dataset(name: str) -> Callable[[InventoryColumns], Column]:
    return lambda columns: columns.inventory.datasets[name].to_numpy()


def _row(name: str) -> Callable[[InventoryColumns], Column]:
    return lambda columns: columns.rows(name)


def _replica(name: str) -> Callable[[InventoryColumns], Column]:
    return lambda columns: columns.inventory.dataset_replicas[name].to_numpy()


_COLUMNS: dict[str, Callable[[InventoryColumns], Column]] = {
    "never": lambda columns: np.zeros(columns.inventory.sites.height, dtype=np.bool_),
    "always": lambda columns: np.ones(columns.inventory.sites.height, dtype=np.bool_),
    "site.name": lambda columns: Coded(columns.inventory.sites["name"]),
    "site.status": lambda columns: _enum(columns.inventory.sites["status"]),
    "site.storage_type": lambda columns: _enum(columns.inventory.sites["storage_type"]),
    "dataset.name": lambda columns: Coded(columns.inventory.datasets["name"]),
    "dataset.status": lambda columns: _enum(columns.inventory.datasets["status"]),
    "dataset.data_type": lambda columns: _text(columns.inventory.datasets["data_type"]),
    "dataset.release": _release,
    "dataset.size": _dataset("size"),
    "dataset.num_files": _dataset("num_files"),
    "dataset.num_blocks": _dataset("num_blocks"),
    "dataset.is_open": _dataset("is_open"),
    "dataset.last_update": _dataset("last_update"),
    "replica.growing": _replica("growing"),
    "replica.custodial": _replica("custodial"),
    "replica.owner": lambda columns: Coded(
        columns.inventory.groups["name"], columns.inventory.dataset_replicas["group"].to_numpy()
    ),
    "blockreplica.name": lambda columns: Coded(columns.inventory.block_names(), columns.rows("block")),
    "blockreplica.owner": lambda columns: Coded(columns.inventory.groups["name"], columns.rows("group")),
    "blockreplica.size": _row("bytes"),
    "blockreplica.is_locked": _row("locked"),
    "blockreplica.complete": _row("complete"),
    "blockreplica.is_custodial": _row("custodial"),
    "blockreplica.last_update": _row("last_update"),
    "blockreplica.age_relative_to_newest": _age_relative_to_newest,
}
