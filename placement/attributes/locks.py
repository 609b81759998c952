"""Locks: those of the service's own database, which the inventory has, and those of files that others keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from msgspec import Meta

from placement.attributes import records
from placement.attributes.producer import Asked
from placement.inventory import Array, Inventory
from placement.policy.bits import Column
from placement.policy.texts import glob_matching
from placement.policy.values import is_glob
from reploc.config import Settings

_COLUMNS = {"item": pl.String(), "site": pl.String(), "until": pl.Int64()}


class LockSettings(Settings, frozen=True):
    """Locks beside those that were placed at the service itself."""

    files: Annotated[
        tuple[str, ...],
        Meta(description="CSV, NDJSON or Parquet files of locks: item and site, names or globs, and until."),
    ] = ()


class Locks:
    """The producer `locks`."""

    settings: ClassVar[type[Settings]] = LockSettings

    def __init__(self, settings: LockSettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """What it supplies."""
        return frozenset({"blockreplica.is_locked", "replica.is_locked"})

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """Whether each block replica is locked; of a dataset replica it is whether any of its blocks is."""
        inventory = asked.inventory
        locked = inventory.block_replicas["locked"].to_numpy().copy()
        for path in self._settings.files:
            held = records.read(path, _COLUMNS).filter(pl.col("until") > asked.now_s)
            for item, site in held.select("item", "site").iter_rows():
                locked |= _rows(inventory, item, site)
        first = inventory.dataset_replicas["first"].to_numpy()
        of_replicas = np.logical_or.reduceat(locked, first) if len(first) else locked[:0]
        return {"blockreplica.is_locked": locked, "replica.is_locked": of_replicas}


def _rows(inventory: Inventory, item: str, site: str) -> Array:
    """The block replicas that a lock is about. A site that nobody knows locks everywhere, to be on the safe side."""
    sites = _named(inventory.sites["name"], site)
    at = np.ones(len(sites), dtype=np.bool_) if not sites.any() else sites
    block = inventory.block_replicas["block"].to_numpy()
    if "#" in item:
        about = _named(inventory.block_names(), item)[block]
    else:
        about = _named(inventory.datasets["name"], item)[inventory.blocks["dataset"].to_numpy()[block]]
    return np.asarray(about & at[inventory.block_replicas["site"].to_numpy()])


def _named(names: pl.Series, wanted: str) -> Array:
    return glob_matching(wanted, names) if is_glob(wanted) else (names == wanted).to_numpy()
