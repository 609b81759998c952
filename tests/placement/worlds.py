"""Small inventories in few words: sites, datasets with their blocks, and who has what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from placement import schemas
from placement.inventory import Inventory

#: A block unless something else is said: so many files of so many bytes together.
FILES, BYTES = 10, 1_000


def inventory(
    sites: Sequence[str | Mapping[str, Any]],
    datasets: Sequence[str | Mapping[str, Any]],
    replicas: Sequence[Mapping[str, Any]],
    *,
    groups: Sequence[str | Mapping[str, Any]] = (),
    blocks: Mapping[str, Mapping[str, Any]] | None = None,
    **frames: pl.DataFrame,
) -> Inventory:
    """An inventory of rows given by name.

    A dataset is its name or its columns, with `blocks`: the names behind its `#` (none: it is its own only block).
    `blocks` says what is special about a block, by its whole name. A replica is {"block": whole name, "site": …} and
    what is special about it; it is complete where neither files nor bytes are said.
    """
    held = [{"name": each} if isinstance(each, str) else dict(each) for each in datasets]
    rows: list[dict[str, Any]] = []
    whole: dict[str, int] = {}
    for key, dataset in enumerate(held):
        for name in dataset.pop("blocks", [None]):
            block = dataset["name"] if name is None else f"{dataset['name']}#{name}"
            whole[block] = len(rows)
            special = (blocks or {}).get(block, {})
            rows.append({"dataset": key, "name": name, "size": BYTES, "files": FILES} | dict(special))
    named = [schemas.NO_GROUP, *groups]
    group_rows = [{"name": each} if isinstance(each, str) else dict(each) for each in named]
    site_rows = [{"name": each} if isinstance(each, str) else dict(each) for each in sites]
    site_key = {row["name"]: key for key, row in enumerate(site_rows)}
    group_key = {row["name"]: key for key, row in enumerate(group_rows)}
    told = []
    for replica in replicas:
        key = whole[replica["block"]]
        row = {"files": rows[key]["files"], "bytes": rows[key]["size"], "group": schemas.NO_GROUP} | dict(replica)
        told.append(row | {"block": key, "site": site_key[row["site"]], "group": group_key[row["group"]]})
    columns = {"block": pl.Int64, "site": pl.Int64, "group": pl.Int64, "files": pl.Int64, "bytes": pl.Int64}
    of_blocks = {"dataset": pl.Int64, "name": pl.String, "size": pl.Int64, "files": pl.Int64}
    return Inventory.of(
        "test",
        sites=pl.DataFrame(site_rows),
        groups=pl.DataFrame(group_rows),
        datasets=pl.DataFrame(held) if held else pl.DataFrame(schema={"name": pl.String}),
        blocks=pl.DataFrame(rows, schema_overrides={"name": pl.String}) if rows else pl.DataFrame(schema=of_blocks),
        block_replicas=pl.DataFrame(told) if told else pl.DataFrame(schema=columns),
        **frames,
    )
