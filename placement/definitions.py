"""Sites, groups, partitions and quotas: what is defined, kept in the database and read into frames.

A definition is put whole: who puts one again replaces it, and who puts the same again changes nothing. Rows keep their
ids, and frames stand in the order of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import polars as pl
from sqlalchemy import Connection, Table, delete, insert, select, update

from placement import schemas, tables
from placement.database import DEFINITIONS, advance
from placement.messages import GroupItem, PartitionItem, QuotaItem, SiteItem
from placement.policy import partitions as conditions
from reploc import names
from reploc.errors import DefinitionUnknown, InventoryInvalid
from reploc.sites import Site

#: Characters of a group's or a partition's name: it is a word in a policy and a column in a table.
NAME_CHARS_MAX = 128


@dataclass(frozen=True)
class Definitions:
    """The frames of what is defined, with the durable id of each row, and the sites as carriers use them."""

    sites: pl.DataFrame
    groups: pl.DataFrame
    partitions: pl.DataFrame
    quotas: pl.DataFrame
    site_ids: dict[int, int]
    group_ids: dict[int, int]
    defined: dict[str, SiteItem]


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(connection: Connection) -> Definitions:
    """Everything that is defined."""
    sites = connection.execute(select(tables.sites).order_by(tables.sites.c.id)).all()
    groups = connection.execute(select(tables.groups).order_by(tables.groups.c.id)).all()
    partitions = connection.execute(select(tables.partitions).order_by(tables.partitions.c.id)).all()
    quotas = connection.execute(select(tables.quotas).order_by(tables.quotas.c.site_id)).all()
    site_ids = {row.id: key for key, row in enumerate(sites)}
    partition_ids = {row.id: key for key, row in enumerate(partitions)}
    partition_keys = {row.name: key for key, row in enumerate(partitions)}
    parts = [row.parts and [partition_keys[part] for part in row.parts.split(",")] for row in partitions]
    defined = {row.name: _site(row.definition, row.bandwidth, row.cores) for row in sites}
    return Definitions(
        sites=_sites(list(defined.values())),
        groups=pl.DataFrame(
            {
                "name": [schemas.NO_GROUP, *(row.name for row in groups)],
                "level": ["block", *(row.level for row in groups)],
            },
            schema=schemas.GROUPS,
        ),
        partitions=pl.DataFrame(
            {"name": list(partition_keys), "condition": [row.condition for row in partitions], "parts": parts},
            schema=schemas.PARTITIONS,
        ),
        quotas=pl.DataFrame(
            {
                "site": [site_ids[row.site_id] for row in quotas],
                "partition": [partition_ids[row.partition_id] for row in quotas],
                "quota": [row.quota for row in quotas],
            },
            schema=schemas.QUOTAS,
        ),
        site_ids=site_ids,
        group_ids={row.id: key for key, row in enumerate(groups, schemas.NOBODY + 1)},
        defined=defined,
    )


def _site(definition: bytes, bandwidth: float, cores: int) -> SiteItem:
    return SiteItem(site=msgspec.json.decode(definition, type=Site), bandwidth=bandwidth, cores=cores)


def _sites(defined: Sequence[SiteItem]) -> pl.DataFrame:
    """The frame of sites of which nothing was heard yet."""
    return pl.DataFrame(
        {
            "name": [item.site.name for item in defined],
            "storage_type": [item.site.storage for item in defined],
            "status": [item.site.status for item in defined],
            "bandwidth": [item.bandwidth for item in defined],
            "cores": [item.cores for item in defined],
            "position": [0] * len(defined),
            "news_at": [None] * len(defined),
            "news_complete": [False] * len(defined),
        },
        schema=schemas.SITES,
    )


# ---- writing ---------------------------------------------------------------------------------------------------------


def put_sites(connection: Connection, items: Sequence[SiteItem]) -> int:
    """Defines sites; how many changed. Raises InventoryInvalid: one stands twice."""
    rows = [
        {
            "name": item.site.name,
            "definition": msgspec.json.encode(item.site),
            "bandwidth": item.bandwidth,
            "cores": item.cores,
        }
        for item in items
    ]
    return _put(connection, tables.sites, rows)


def put_groups(connection: Connection, items: Sequence[GroupItem]) -> int:
    """Defines groups; how many changed. Raises InventoryInvalid: a name that is none, twice, or nobody's."""
    for item in items:
        _require_name(item.name, "group")
        if item.name == schemas.NO_GROUP:
            raise InventoryInvalid(f"group {schemas.NO_GROUP!r} stands for nobody and cannot be defined")
    return _put(connection, tables.groups, [{"name": item.name, "level": item.level} for item in items])


def put_partitions(connection: Connection, items: Sequence[PartitionItem]) -> int:
    """Defines partitions; how many changed.

    Raises InventoryInvalid: neither or both of condition and parts, a part that is not defined or has parts itself, a
    quota of its own where there shall be parts; PolicyInvalid: the condition is none.
    """
    for item in items:
        _require_name(item.name, "partition")
        if (item.condition is None) == (item.parts is None):
            raise InventoryInvalid(f"partition {item.name!r}: expected either a condition or parts")
        if item.condition is not None:
            conditions.partition_condition(item.condition, item.name)
    rows = [
        {"name": item.name, "condition": item.condition, "parts": None if item.parts is None else ",".join(item.parts)}
        for item in items
    ]
    changed = _put(connection, tables.partitions, rows)
    _require_parts(connection)
    return changed


def _require_parts(connection: Connection) -> None:
    parts = dict(connection.execute(select(tables.partitions.c.name, tables.partitions.c.parts)).all())
    own = select(tables.partitions.c.name).join(tables.quotas, tables.quotas.c.partition_id == tables.partitions.c.id)
    with_quota = set(connection.scalars(own))
    for name, told in parts.items():
        for part in told.split(",") if told else ():
            if part not in parts:
                raise InventoryInvalid(f"partition {name!r}: its part {part!r} is not defined")
            if parts[part] is not None:
                raise InventoryInvalid(f"partition {name!r}: its part {part!r} has parts itself")
        if told and name in with_quota:
            raise InventoryInvalid(f"partition {name!r} has parts, whose quotas are its own; it has one already")


def put_quotas(connection: Connection, items: Sequence[QuotaItem]) -> int:
    """Sets quotas, or takes those away that are null; how many changed.

    Raises DefinitionUnknown: no such site or partition; InventoryInvalid: of a partition that is made of others.
    """
    sites = dict(connection.execute(select(tables.sites.c.name, tables.sites.c.id)).all())
    rows = connection.execute(select(tables.partitions)).all()
    partitions = {row.name: row for row in rows}
    held = {(row.site_id, row.partition_id): row.quota for row in connection.execute(select(tables.quotas)).all()}
    changed = 0
    for item in items:
        site, partition = sites.get(item.site), partitions.get(item.partition)
        if site is None:
            raise DefinitionUnknown(f"site {item.site!r} is not defined")
        if partition is None:
            raise DefinitionUnknown(f"partition {item.partition!r} is not defined; known: {_listed(partitions)}")
        if partition.parts is not None:
            raise InventoryInvalid(f"partition {item.partition!r} is made of others; its quota is the sum of theirs")
        if held.get((site, partition.id)) == item.quota:
            continue
        here = (tables.quotas.c.site_id == site) & (tables.quotas.c.partition_id == partition.id)
        connection.execute(delete(tables.quotas).where(here))
        if item.quota is not None:
            connection.execute(insert(tables.quotas).values(site_id=site, partition_id=partition.id, quota=item.quota))
        changed += 1
    if changed:
        advance(connection, DEFINITIONS)
    return changed


def _put(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> int:
    """Makes or replaces rows by name; how many changed."""
    held = {row.name: row for row in connection.execute(select(table)).all()}
    told = {row["name"]: row for row in rows}
    if len(told) < len(rows):
        raise InventoryInvalid(f"{next(row['name'] for row in rows if row is not told[row['name']])!r} stands twice")
    changed = 0
    for name, row in told.items():
        old = held.get(str(name))
        if old is None:
            connection.execute(insert(table).values(row))
        elif any(getattr(old, key) != value for key, value in row.items()):
            connection.execute(update(table).where(table.c.name == name).values(row))
        else:
            continue
        changed += 1
    if changed:
        advance(connection, DEFINITIONS)
    return changed


def _require_name(name: str, what: str) -> None:
    wrong = (
        names.fault(name) or (name != name.strip() and "begins or ends with a blank") or ("," in name and "holds ','")
    )
    if wrong or len(name) > NAME_CHARS_MAX:
        raise InventoryInvalid(f"{what} {name[:80]!r} {wrong or f'is longer than {NAME_CHARS_MAX} characters'}")


def _listed(known: Iterable[str]) -> str:
    return ", ".join(sorted(known)) or "there are none"
