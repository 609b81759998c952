"""Popularity: how long ago and how much data was used, from records of accesses.

`usage_rank` is that of the ancestor: days since the last use, or the last change where that is later, less accesses per
gigabyte. `demand_rank` is the weight by which the dealer copies (Dynamo paper, section 4.2): each access counts half
after every `half_life_days`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from msgspec import Meta

from placement.attributes import records
from placement.attributes.producer import Asked
from placement.policy.bits import Column
from reploc.config import Settings
from reploc.errors import ConfigInvalid

DAY_S = 86_400.0
GB = 1e9
_COLUMNS = {"dataset": pl.String(), "at": pl.Int64(), "accesses": pl.Int64()}


class PopularitySettings(Settings, frozen=True):
    """Where accesses are recorded."""

    records: Annotated[
        str, Meta(description="CSV, NDJSON or Parquet file of accesses: dataset, at (seconds, UTC), accesses.")
    ] = ""
    half_life_days: Annotated[float, Meta(description="After so many days an access counts half.", gt=0)] = 4.0

    def __post_init__(self) -> None:
        if not self.records:
            raise ValueError("records is empty; expected the file of accesses")


class Popularity:
    """The producer `popularity`."""

    settings: ClassVar[type[Settings]] = PopularitySettings

    def __init__(self, settings: PopularitySettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """What it supplies."""
        return frozenset({"dataset.last_access", "dataset.usage_rank", "dataset.demand_rank", "replica.num_access"})

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """Columns from all accesses up to the moment that is asked for; those of unknown datasets are passed over."""
        found = records.read(self._settings.records, _COLUMNS)
        return columns(found, asked, self._settings.half_life_days)


def columns(accesses: pl.DataFrame, asked: Asked, half_life_days: float) -> dict[str, Column]:
    """The columns of accesses (dataset, at, accesses), for every dataset, or dataset replica."""
    inventory, datasets = asked.inventory, asked.inventory.datasets.height
    if not half_life_days > 0:
        raise ConfigInvalid("half_life_days must be above 0")
    past = accesses.filter(pl.col("at") <= asked.now_s)
    names = past["dataset"].unique()
    key = dict(zip(names, inventory.dataset_keys(names.to_list()).tolist(), strict=True))
    keys = past["dataset"].replace_strict(key, return_dtype=pl.Int64).to_numpy() if len(names) else np.zeros(0, int)
    known = keys >= 0
    keys, at = keys[known], past["at"].to_numpy()[known].astype(np.float64)
    counts = past["accesses"].to_numpy()[known]
    last = inventory.datasets["last_update"].to_numpy().astype(np.float64)
    np.maximum.at(last, keys, at)
    total = np.bincount(keys, weights=counts, minlength=datasets)
    weight = counts * 0.5 ** ((asked.now_s - at) / (half_life_days * DAY_S))
    changed = last.copy()
    replica_dataset = inventory.dataset_replicas["dataset"].to_numpy()
    np.maximum.at(changed, replica_dataset, inventory.dataset_replicas["last_block_created"].to_numpy())
    size_gb = inventory.datasets["size"].to_numpy() / GB
    per_gb = np.divide(total, size_gb, out=np.zeros(datasets), where=size_gb > 0)
    return {
        "dataset.last_access": last.astype(np.int64),
        "dataset.usage_rank": (asked.now_s - changed) / DAY_S - per_gb,
        "dataset.demand_rank": np.bincount(keys, weights=weight, minlength=datasets),
        "replica.num_access": total.astype(np.int64)[replica_dataset],
    }
