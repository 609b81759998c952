"""An inventory put together from its three sources: definitions, what was observed, and what is intended.

Observations say what is there; orders say what shall be there or not, until the news of their site includes how they
ended; owners and locks say whose it is and what may not go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from placement import locks
from placement.definitions import Definitions
from placement.intents import Intents
from placement.inventory import UNKNOWN, Array, Inventory, row_order
from placement.known import Known
from placement.messages import Lock
from placement.observations import Observation, split
from reploc.orders import Order

_OPEN = ("new", "active")


@dataclass(frozen=True)
class _Ordered:
    """Blocks at sites that orders speak of, as keys: what is copied to, deleted at, read from, and must survive."""

    copied: tuple[Array, Array]
    deleted: tuple[Array, Array]
    sources: tuple[Array, Array]
    witnesses: tuple[Array, Array]


def assembled(
    version: str,
    definitions: Definitions,
    known: Known,
    observations: Mapping[str, Observation],
    intents: Intents,
    orders: Sequence[Order],
    held: Sequence[Lock],
) -> Inventory:
    """The inventory of these sources; `observations` are by site, of sites that are defined."""
    base = Inventory.of_definitions(
        version,
        sites=sites(definitions, observations),
        datasets=known.datasets,
        blocks=known.blocks,
        groups=definitions.groups,
        partitions=definitions.partitions,
        quotas=definitions.quotas,
    )
    ordered = _ordered(orders, known, {name: key for key, name in enumerate(base.sites["name"])})
    made = base.observed(version, _replicas(base, observations, ordered), intents.datasets)
    return _locked(_intended(made, intents, ordered), held, ordered)


def sites(definitions: Definitions, observations: Mapping[str, Observation]) -> pl.DataFrame:
    """The frame of sites with how good the news of each is."""
    heard = [observations.get(name, Observation()) for name in definitions.sites["name"]]
    return definitions.sites.with_columns(
        pl.Series("position", [each.position for each in heard], dtype=pl.Int64),
        pl.Series("news_at", [each.news_at for each in heard], dtype=pl.Float64),
        pl.Series("news_complete", [each.complete for each in heard], dtype=pl.Boolean),
    )


def _replicas(base: Inventory, observations: Mapping[str, Observation], ordered: _Ordered) -> pl.DataFrame:
    """What is there, and what is ordered and of which nothing is there, in the order of an inventory."""
    seen = [observations.get(name, Observation()) for name in base.sites["name"]]
    new = [_awaited(each, key, ordered) for key, each in enumerate(seen)]
    counts = [len(each.blocks) + len(more) for each, more in zip(seen, new, strict=True)]
    site = np.repeat(np.arange(len(seen), dtype=np.uint16), counts)
    block = _joined([part for each, more in zip(seen, new, strict=True) for part in (each.blocks, more)], np.uint32)
    order = row_order(site, block, base.blocks)

    def column(name: str, kind: type[np.generic]) -> pl.Series:
        nothing = (np.zeros(len(more), dtype=kind) for more in new)
        parts = [part for each, more in zip(seen, nothing, strict=True) for part in (getattr(each, name), more)]
        return _in_order(_joined(parts, kind), order)

    return pl.DataFrame(
        {
            "block": _in_order(block, order),
            "site": _in_order(site, order),
            "files": column("files", np.uint32),
            "bytes": column("bytes", np.int64),
            "last_update": column("last_update", np.uint32),
        }
    )


def _awaited(seen: Observation, site: int, ordered: _Ordered) -> Array:
    """Blocks that are copied to a site and of which nothing was seen there."""
    here = np.unique(ordered.copied[0][ordered.copied[1] == site]).astype(np.uint32)
    return here[~np.isin(here, seen.blocks)] if len(here) else here


def _joined(parts: Sequence[Array], kind: type[np.generic]) -> Array:
    return np.concatenate([np.zeros(0, dtype=kind), *parts])


def _in_order(column: Array, order: pl.Series | None) -> pl.Series:
    return pl.Series(column) if order is None else pl.Series(column).gather(order)


def _ordered(orders: Sequence[Order], known: Known, sites: Mapping[str, int]) -> _Ordered:
    rows: dict[str, list[tuple[str, int]]] = {"copied": [], "deleted": [], "sources": [], "witnesses": []}
    for order in orders:
        kind = "copied" if order.kind == "copy" else "deleted"
        for block in order.blocks:
            rows[kind].append((block.name, sites.get(order.site, UNKNOWN)))
            if order.state in _OPEN:
                rows["sources"] += [(block.name, sites.get(source, UNKNOWN)) for source in block.sources]
                rows["witnesses"] += [(block.name, sites.get(block.witness, UNKNOWN))] if block.witness else []
    return _Ordered(**{name: _keys(pairs, known) for name, pairs in rows.items()})


def _keys(pairs: Sequence[tuple[str, int]], known: Known) -> tuple[Array, Array]:
    """Keys of blocks and sites, of those that are known."""
    parts = split(pl.Series([name for name, _ in pairs], dtype=pl.String))
    blocks = known.block_keys(known.dataset_keys(parts["dataset"]), parts["name"])
    sites = np.array([site for _, site in pairs], dtype=np.int64)
    there = (blocks != UNKNOWN) & (sites != UNKNOWN)
    return blocks[there], sites[there]


def _intended(made: Inventory, intents: Intents, ordered: _Ordered) -> Inventory:
    """With the owners of block replicas and the flags of orders."""
    replicas = made.block_replicas
    whole = made.dataset_replicas.select("group", "custodial")[replicas["dataset_replica"]]
    group, custodial = whole["group"].to_numpy().copy(), whole["custodial"].to_numpy().copy()
    rows = made.rows(intents.blocks["block"].to_numpy(), intents.blocks["site"].to_numpy())
    there = rows != UNKNOWN
    group[rows[there]] = intents.blocks["group"].to_numpy()[there]
    custodial[rows[there]] = intents.blocks["custodial"].to_numpy()[there]
    flags = {"copying": ordered.copied, "deleting": ordered.deleted, "source": ordered.sources}
    columns = [pl.Series("group", group), pl.Series("custodial", custodial)]
    columns += [pl.Series(name, made.marked(*keys)) for name, keys in flags.items()]
    return made.reckoned(made.version, replicas.with_columns(columns))


def _locked(made: Inventory, held: Sequence[Lock], ordered: _Ordered) -> Inventory:
    locked = locks.locked(made, held) | made.marked(*ordered.witnesses)
    return made.having(made.version, block_replicas=made.block_replicas.with_columns(pl.Series("locked", locked)))
