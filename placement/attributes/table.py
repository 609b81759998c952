"""Attributes that another system computes: a file with a row per dataset and a column per variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from msgspec import Meta

from placement.attributes import records
from placement.attributes.producer import Asked
from placement.policy.bits import Column
from placement.policy.source import nearest
from placement.policy.variables import INVENTORY, VARIABLES, Kind, Level
from reploc.config import Settings
from reploc.errors import ConfigInvalid

#: What a file may have columns for: variables about datasets that an inventory does not give.
SUPPLIED = frozenset(
    name for name, each in VARIABLES.items() if each.level is Level.DATASET and each.producer != INVENTORY
)


class TableSettings(Settings, frozen=True):
    """A file of attributes."""

    file: Annotated[str, Meta(description="CSV, NDJSON or Parquet file: `dataset`, and a column per variable.")] = ""
    variables: Annotated[tuple[str, ...], Meta(description="The columns of the file that are to be used.")] = ()

    def __post_init__(self) -> None:
        if not self.file or not self.variables:
            raise ValueError("file and variables must be set")
        for name in self.variables:
            if name not in SUPPLIED:
                raise ValueError(
                    f"variables has {name!r}{nearest(name, SUPPLIED)}; expected of {', '.join(sorted(SUPPLIED))}"
                )


class Table:
    """The producer `table`."""

    settings: ClassVar[type[Settings]] = TableSettings

    def __init__(self, settings: TableSettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """What it supplies."""
        return frozenset(self._settings.variables)

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """The file's values; a dataset that it does not have is 0, or false. Raises ConfigInvalid: one stands twice."""
        kinds = {name: _KINDS[VARIABLES[name].kind] for name in self._settings.variables}
        rows = records.read(self._settings.file, {"dataset": pl.String(), **kinds})
        if rows["dataset"].n_unique() != rows.height:
            twice = rows.filter(pl.col("dataset").is_duplicated()).item(0, "dataset")
            raise ConfigInvalid(f"{self._settings.file}: dataset {twice!r} stands twice")
        keys = asked.inventory.dataset_keys(rows["dataset"].to_list())
        found: dict[str, Column] = {}
        for name in kinds:
            values = rows[name].to_numpy()
            column = np.zeros(asked.inventory.datasets.height, dtype=values.dtype)
            column[keys[keys >= 0]] = values[keys >= 0]
            found[name] = column
        return found


_KINDS: dict[Kind, pl.DataType] = {Kind.BOOLEAN: pl.Boolean(), Kind.COUNT: pl.Float64(), Kind.TIME: pl.Int64()}
