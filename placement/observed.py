"""A copy of what was observed, in the database: a restart then asks the index only for what changed since.

It is no truth, and losing it loses nothing but when each replica was first seen. Blocks stand in it by their durable
places, as columns of an Arrow file for each site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import msgspec
import numpy as np
import polars as pl
from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from placement import tables
from placement.inventory import UNKNOWN
from placement.known import Known
from placement.observations import Observation

_VERSIONS = msgspec.json.Decoder(tuple[tuple[str, str], ...])


_JOINED = tables.observations.join(tables.sites, tables.sites.c.id == tables.observations.c.site_id)


def positions(connection: Connection) -> dict[str, int]:
    """The catalog position that is in what was saved of each site."""
    wanted = select(tables.sites.c.name, tables.observations.c.position).select_from(_JOINED)
    return dict(connection.execute(wanted).all())


def read(connection: Connection, known: Known, sites: Sequence[str]) -> dict[str, Observation]:
    """What was saved of some sites, by name."""
    wanted = select(tables.sites.c.name, tables.observations).select_from(_JOINED)
    rows = connection.execute(wanted.where(tables.sites.c.name.in_(sites)))
    return {row["name"]: _observation(row, known) for row in rows.mappings()}


def _observation(row: RowMapping, known: Known) -> Observation:
    frame = pl.read_ipc(BytesIO(row["replicas"]))
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    keys = known.keys_of_ordinals(columns.pop("dataset"), columns.pop("ordinal"))
    there = keys != UNKNOWN
    if not there.all() or (keys[1:] < keys[:-1]).any():
        places = np.flatnonzero(there)
        order = places[np.argsort(keys[places], kind="stable")]
        keys, columns = keys[order], {name: values[order] for name, values in columns.items()}
    told = {name: row[name] for name in ("position", "news_at", "complete")}
    return Observation().having(
        **told,
        versions=_VERSIONS.decode(row["versions"]) if there.all() else (),
        blocks=keys.astype(np.uint32),
        saved=True,
        kept=True,
        **columns,
    )


def save(connection: Connection, known: Known, site_ids: Mapping[str, int], told: Mapping[str, Observation]) -> None:
    """Keeps what was observed of these sites in the place of what was kept before."""
    for name, observation in told.items():
        site = site_ids[name]
        connection.execute(delete(tables.observations).where(tables.observations.c.site_id == site))
        connection.execute(insert(tables.observations).values(_row(site, observation, known)))


def date(connection: Connection, site_ids: Mapping[str, int], told: Mapping[str, Observation]) -> None:
    """Keeps how good the news of sites is whose contents are kept."""
    for name, seen in told.items():
        if not seen.kept:
            values = {"position": seen.position, "news_at": seen.news_at, "complete": seen.complete}
            here = tables.observations.c.site_id == site_ids[name]
            connection.execute(update(tables.observations).where(here).values(values))


def drop(connection: Connection) -> None:
    """Loses all of it."""
    connection.execute(delete(tables.observations))


def _row(site: int, observation: Observation, known: Known) -> dict[str, object]:
    datasets = known.blocks["dataset"].to_numpy()[observation.blocks]
    frame = pl.DataFrame(
        {
            "dataset": known.ids[datasets],
            "ordinal": known.ordinals[observation.blocks],
            "files": observation.files,
            "bytes": observation.bytes,
            "last_update": observation.last_update,
        }
    )
    packed = BytesIO()
    frame.write_ipc(packed, compression="lz4")
    return {
        "site_id": site,
        "versions": msgspec.json.encode(observation.versions),
        "position": observation.position,
        "news_at": observation.news_at,
        "complete": observation.complete,
        "replicas": packed.getvalue(),
    }
