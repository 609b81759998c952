"""Who owns what: the group and flags of each dataset replica, and of the blocks in it whose owner is another.

An owner is intent, not observation: it is kept whether or not the site's catalog holds anything yet. A block's owner is
its own where one is on record, else the dataset replica's, else nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from sqlalchemy import Connection, Table, delete, insert, select

from placement import datasets, schemas, tables
from placement.database import INTENT, advance
from placement.inventory import UNKNOWN, Array
from placement.known import Known
from placement.messages import OwnerItem
from reploc import names, sql
from reploc.errors import DefinitionUnknown

#: Rows that are read at once.
ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Owner:
    """Who owns a dataset replica, or a block replica where `ordinal` is one."""

    dataset_id: int
    ordinal: int | None
    site_id: int
    group_id: int | None
    growing: bool = False
    custodial: bool = False


@dataclass(frozen=True)
class Intents:
    """Owners as arrays of keys: `datasets` is a frame of `schemas.INTENTS`, `blocks` one of block, site, group and
    custodial."""

    datasets: pl.DataFrame
    blocks: pl.DataFrame


def read(connection: Connection, known: Known, site_ids: dict[int, int], group_ids: dict[int, int]) -> Intents:
    """All owners; `site_ids` and `group_ids` lead from durable ids to keys."""
    whole = _columns(connection, tables.dataset_intents, ("dataset_id", "site_id", "group_id", "growing", "custodial"))
    parts = _columns(connection, tables.block_intents, ("dataset_id", "ordinal", "site_id", "group_id", "custodial"))
    sites, groups = _table(site_ids), _table(group_ids)
    dataset = known.keys_of_ids(whole["dataset_id"])
    block = known.keys_of_ordinals(parts["dataset_id"], parts["ordinal"])
    return Intents(
        pl.DataFrame(
            {
                "dataset": dataset.astype(np.uint32),
                "site": sites[whole["site_id"]],
                "group": groups[whole["group_id"]],
                "growing": whole["growing"].astype(np.bool_),
                "custodial": whole["custodial"].astype(np.bool_),
            },
            schema=schemas.INTENTS,
        ),
        pl.DataFrame(
            {
                "block": block,
                "site": sites[parts["site_id"]],
                "group": groups[parts["group_id"]],
                "custodial": parts["custodial"].astype(np.bool_),
            }
        ).filter(pl.col("block") != UNKNOWN),
    )


def _columns(connection: Connection, table: Table, columns: Sequence[str]) -> dict[str, Array]:
    held: dict[str, list[Array]] = {name: [np.zeros(0, dtype=np.int64)] for name in columns}
    for part in sql.columns(connection, select(*(table.c[name] for name in columns)), ROWS_AT_ONCE):
        for name, values in part.items():
            held[name].append(np.array(values, dtype=np.int64))
    return {name: np.concatenate(parts) for name, parts in held.items()}


def _table(ids: dict[int, int]) -> Array:
    """Keys by durable ids, as an array to look many up."""
    table = np.zeros(max(ids, default=0) + 1, dtype=np.uint16)
    for durable, key in ids.items():
        table[durable] = key
    return table


def put(connection: Connection, items: Sequence[OwnerItem]) -> int:
    """Says who owns what; how many changed. Raises DefinitionUnknown: no such dataset, block, site or group."""
    if not items:
        return 0
    sites, groups = ids(connection, tables.sites), ids(connection, tables.groups)
    places = datasets.places(connection, [item.item for item in items if names.split_block(item.item)[1] is not None])
    whole = datasets.ids(connection, [item.item for item in items if names.split_block(item.item)[1] is None])
    owners = []
    for item in items:
        is_block = names.split_block(item.item)[1] is not None
        found = places.get(item.item) if is_block else (whole[item.item], None) if item.item in whole else None
        if found is None:
            raise DefinitionUnknown(f"{'block' if is_block else 'dataset'} {item.item!r} is not defined")
        owners.append(
            Owner(
                dataset_id=found[0],
                ordinal=found[1],
                site_id=known_id(sites, item.site, "site"),
                group_id=known_id(groups, item.group, "group"),
                growing=item.growing,
                custodial=item.custodial,
            )
        )
    return own(connection, owners)


def own(connection: Connection, owners: Iterable[Owner]) -> int:
    """Writes owners; one without a group takes the record away. How many changed."""
    changed = sum(_own(connection, owner) for owner in owners)
    if changed:
        advance(connection, INTENT)
    return changed


def _own(connection: Connection, owner: Owner) -> bool:
    table = tables.dataset_intents if owner.ordinal is None else tables.block_intents
    key = {"dataset_id": owner.dataset_id, "site_id": owner.site_id}
    told = {"group_id": owner.group_id, "custodial": owner.custodial}
    if owner.ordinal is None:
        told["growing"] = owner.growing
    else:
        key["ordinal"] = owner.ordinal
    here = [table.c[name] == value for name, value in key.items()]
    held = connection.execute(select(table).where(*here)).one_or_none()
    if held is None and owner.group_id is None:
        return False
    if held is not None and all(getattr(held, name) == value for name, value in told.items()):
        return False
    connection.execute(delete(table).where(*here))
    if owner.group_id is not None:
        connection.execute(insert(table).values(**key, **told))
    return True


def of(connection: Connection, dataset_id: int, site_id: int) -> Owner | None:
    """Who owns a dataset replica as a whole."""
    table = tables.dataset_intents
    here = (table.c.dataset_id == dataset_id) & (table.c.site_id == site_id)
    row = connection.execute(select(table).where(here)).one_or_none()
    return None if row is None else Owner(dataset_id, None, site_id, row.group_id, row.growing, row.custodial)


def blocks_of(connection: Connection, dataset_id: int, site_id: int, group_id: int) -> set[int]:
    """The ordinals of the blocks of a dataset at a site that are on record as a group's by themselves."""
    table = tables.block_intents
    here = (table.c.dataset_id == dataset_id) & (table.c.site_id == site_id) & (table.c.group_id == group_id)
    return set(connection.scalars(select(table.c.ordinal).where(here)))


@dataclass(frozen=True)
class Growing:
    """A dataset that shall be whole at a site although it still grows, and who owns it there; by name."""

    dataset: str
    site: str
    group: str


def growing(connection: Connection) -> list[Growing]:
    """The dataset replicas that shall grow, in the order of names."""
    table, datasets_, sites, groups = tables.dataset_intents, tables.datasets, tables.sites, tables.groups
    joined = (
        select(datasets_.c.name, sites.c.name, groups.c.name)
        .join(datasets_, datasets_.c.id == table.c.dataset_id)
        .join(sites, sites.c.id == table.c.site_id)
        .join(groups, groups.c.id == table.c.group_id)
    )
    rows = connection.execute(joined.where(table.c.growing).order_by(datasets_.c.name, sites.c.name))
    return [Growing(dataset, site, group) for dataset, site, group in rows]


def drop_blocks(connection: Connection, dataset_id: int, site_id: int, ordinals: Collection[int]) -> int:
    """Forgets the owners of single blocks, which then are the dataset replica's; how many."""
    table = tables.block_intents
    here = (table.c.dataset_id == dataset_id) & (table.c.site_id == site_id)
    held = connection.scalars(select(table.c.ordinal).where(here)).all()
    gone = [(dataset_id, ordinal, site_id) for ordinal in set(held) & set(ordinals)]
    return own(connection, [Owner(dataset, ordinal, site, None) for dataset, ordinal, site in gone])


def ids(connection: Connection, table: Table) -> dict[str, int]:
    """The durable ids of sites or groups by name."""
    return dict(connection.execute(select(table.c.name, table.c.id)).all())


def meant(held: dict[str, int], word: str, what: str) -> list[str]:
    """The known names that a name or glob pattern means. Raises DefinitionUnknown: there is none."""
    wanted = names.pattern(word)
    if wanted.literal:
        known_id(held, word, what)
        return [word]
    if not (found := [name for name in held if wanted.matches(name)]):
        raise DefinitionUnknown(f"no {what} matches {word!r}; known: {', '.join(sorted(held)) or 'there are none'}")
    return found


def known_id(held: dict[str, int], name: str, what: str) -> int:
    """The durable id of a name. Raises DefinitionUnknown with the known ones."""
    if name not in held:
        raise DefinitionUnknown(f"{what} {name!r} is not defined; known: {', '.join(sorted(held)) or 'there are none'}")
    return held[name]
