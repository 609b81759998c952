"""The frames of an inventory: which columns each has, and of what type.

Keys are row numbers: the row of `sites` whose number is 3 is site 3, wherever a column `site` says so. They hold within
one inventory; between two, names are compared. Sizes are bytes, times are seconds since the epoch of POSIX in UTC (0:
never). What each thing is: the Dynamo paper, section 2.3.
"""

from __future__ import annotations

from typing import TypeAlias

import polars as pl

Schema: TypeAlias = dict[str, pl.DataType]

STORAGE_TYPE = pl.Enum(["unknown", "disk", "mss", "buffer"])
SITE_STATUS = pl.Enum(["unknown", "ready", "waitroom", "morgue"])
DATASET_STATUS = pl.Enum(["unknown", "deleted", "deprecated", "invalid", "production", "valid", "ignored"])
#: The level at which a group owns data: a dataset replica as a whole, or each of its blocks.
OWNERSHIP_LEVEL = pl.Enum(["block", "dataset"])

KEY = pl.UInt32()
SITE = pl.UInt16()
GROUP = pl.UInt16()
PARTITION = pl.UInt16()
SIZE = pl.Int64()
FILES = pl.UInt32()
TIME = pl.UInt32()
FLAG = pl.Boolean()

#: The row of `groups` that nobody's data has as its owner; its name is NO_GROUP.
NOBODY = 0
NO_GROUP = "None"

#: `news_at`: the moment at which the site's catalog is known to have held just what is here, null where nothing was
#: heard; `position` is the catalog's position then, `news_complete` whether every part of that news has come.
SITES: Schema = {
    "name": pl.String(),
    "storage_type": STORAGE_TYPE,
    "status": SITE_STATUS,
    "bandwidth": pl.Float64(),
    "cores": pl.UInt32(),
    "position": pl.Int64(),
    "news_at": pl.Float64(),
    "news_complete": FLAG,
}
GROUPS: Schema = {"name": pl.String(), "level": OWNERSHIP_LEVEL}
#: Either a `condition` over block replicas, or `parts`, the rows of the partitions that it is made of.
PARTITIONS: Schema = {"name": pl.String(), "condition": pl.String(), "parts": pl.List(PARTITION)}
#: Negative is without a bound; a site that has no row has none.
QUOTAS: Schema = {"site": SITE, "partition": PARTITION, "quota": SIZE}
#: `size`, `num_files`, `num_blocks` are the sums over the dataset's blocks.
DATASETS: Schema = {
    "name": pl.String(),
    "status": DATASET_STATUS,
    "data_type": pl.String(),
    "software_version": pl.String(),
    "is_open": FLAG,
    "last_update": TIME,
    "size": SIZE,
    "num_files": pl.Int64(),
    "num_blocks": pl.UInt32(),
}
#: `name` is what stands behind the `#`, null where the dataset is its own only block.
BLOCKS: Schema = {
    "dataset": KEY,
    "name": pl.String(),
    "size": SIZE,
    "files": FILES,
    "is_open": FLAG,
    "last_update": TIME,
}
#: In the order of (dataset, site, block), so that a dataset replica is a run of rows. `files` and `bytes` are there
#: (physical: 0 while only an order speaks of the replica); `complete`: they equal the block's. `copying`, `deleting`:
#: under an order that is open, or whose end the site's news does not include yet; `source`: an open copy of the block
#: names this site as one to read from; `locked`: a lock holds.
BLOCK_REPLICAS: Schema = {
    "dataset_replica": KEY,
    "block": KEY,
    "site": SITE,
    "group": GROUP,
    "files": FILES,
    "bytes": SIZE,
    "last_update": TIME,
    "complete": FLAG,
    "custodial": FLAG,
    "copying": FLAG,
    "deleting": FLAG,
    "source": FLAG,
    "locked": FLAG,
}
#: In the order of (dataset, site): rows `first` to `first + count - 1` of the block replicas. `bytes` and `files` are
#: physical, `projected_bytes` is as if every order were done. `complete`: something is present and all of it is
#: complete; `full`: all blocks of the dataset that hold files are; `partial`: complete, but some blocks are absent. The
#: moments of the first and the last block count block replicas that are present, and are 0 where none is.
DATASET_REPLICAS: Schema = {
    "dataset": KEY,
    "site": SITE,
    "group": GROUP,
    "growing": FLAG,
    "custodial": FLAG,
    "first": KEY,
    "count": pl.UInt32(),
    "files": pl.Int64(),
    "bytes": SIZE,
    "projected_bytes": SIZE,
    "complete": FLAG,
    "full": FLAG,
    "partial": FLAG,
    "first_block_created": TIME,
    "last_block_created": TIME,
}
#: What is told of a dataset replica as a whole, whatever its blocks; given when an inventory is made.
INTENTS: Schema = {"dataset": KEY, "site": SITE, "group": GROUP, "growing": FLAG, "custodial": FLAG}

#: Every frame of an inventory by its name.
FRAMES: dict[str, Schema] = {
    "sites": SITES,
    "groups": GROUPS,
    "partitions": PARTITIONS,
    "quotas": QUOTAS,
    "datasets": DATASETS,
    "blocks": BLOCKS,
    "block_replicas": BLOCK_REPLICAS,
    "dataset_replicas": DATASET_REPLICAS,
}
#: Columns that are computed when an inventory is made, so that who makes one leaves them out.
DERIVED = {
    "datasets": frozenset({"size", "num_files", "num_blocks"}),
    "block_replicas": frozenset({"dataset_replica", "complete"}),
}
#: What a column holds where who makes an inventory leaves it out.
DEFAULTS: dict[str, dict[str, str | float | bool | None]] = {
    "sites": {
        "storage_type": "disk",
        "status": "ready",
        "bandwidth": 0.0,
        "cores": 0,
        "position": 0,
        "news_at": None,
        "news_complete": True,
    },
    "groups": {"level": "block"},
    "partitions": {"condition": None, "parts": None},
    "quotas": {},
    "datasets": {
        "status": "valid",
        "data_type": "unknown",
        "software_version": "",
        "is_open": False,
        "last_update": 0,
    },
    "blocks": {"is_open": False, "last_update": 0},
    "block_replicas": {
        "group": NOBODY,
        "last_update": 0,
        "custodial": False,
        "copying": False,
        "deleting": False,
        "source": False,
        "locked": False,
    },
    "intents": {"group": NOBODY, "growing": False, "custodial": False},
}


def told(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """A frame with all columns of a schema, null where it has none."""
    missing = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns]
    return frame.with_columns(missing).select(list(schema)).cast(pl.Schema(schema))


def empty(schema: Schema) -> pl.DataFrame:
    """A frame without rows."""
    return pl.DataFrame(schema=schema)
