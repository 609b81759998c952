"""What the index says that a site holds: its news, chosen among nodes and compared with what was heard before.

Where collections are partitioned over nodes, each node answers for its slots, and where they are redundant several do.
For each site the nodes are taken in the order of their positions, each for the slots that no node before it had, so
that every slot is told by the news of the highest position that there is. The whole is as old as its oldest part, and
includes what all of its parts include. *No news is not no copies*: a site of which slots are told by nobody is not
complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from placement.inventory import Array
from reploc.holdings import Holdings, SiteHoldings


@dataclass(frozen=True)
class Part:
    """What one node tells of a site: all that it holds, or only `slots` of it (flags by slot)."""

    node: str
    told: SiteHoldings
    slots: Array | None


@dataclass(frozen=True)
class News:
    """The news of one site: from whom, how old, up to which position of the catalog, and whether all of it is there."""

    site: str
    lrc: str
    parts: tuple[Part, ...]
    position: int
    age_s: float
    complete: bool
    slot_count: int

    @property
    def versions(self) -> tuple[tuple[str, str], ...]:
        """What must be equal for the contents to be equal: each node with the version that it tells, and whether that
        is all, since only then it says what is not there."""
        told = sorted((part.node, f"{part.told.version} {_digest(part.slots)}") for part in self.parts)
        return (*told, *((("", "incomplete"),) if not self.complete else ()))


def _digest(slots: Array | None) -> str:
    return "" if slots is None else np.packbits(slots).tobytes().hex()


def news(holdings: Sequence[Holdings]) -> dict[str, News]:
    """The news of every site that a node tells of, by site."""
    told: dict[str, list[tuple[Holdings, SiteHoldings]]] = {}
    for each in holdings:
        for site in each.sites:
            told.setdefault(site.site, []).append((each, site))
    return {site: _chosen(site, several) for site, several in told.items()}


def _chosen(site: str, several: Sequence[tuple[Holdings, SiteHoldings]]) -> News:
    """The nodes in the order of complete before incomplete, position, and name, each for what no other told."""
    ranked = sorted(several, key=lambda pair: (not pair[1].complete, -pair[1].position, pair[0].node))
    slot_count = ranked[0][0].slot_count
    covered = np.zeros(slot_count, dtype=np.bool_)
    parts: list[Part] = []
    for node, holds in ranked:
        if node.slot_count != slot_count:
            continue  # it belongs to an index of other slots, and what it says cannot be joined
        owned = _flags(node.slots, slot_count)
        new = owned & ~covered
        if new.any():
            parts.append(Part(node.node, holds, None if new.sum() == owned.sum() else new))
            covered |= owned
    return News(
        site=site,
        lrc=parts[0].told.lrc,
        parts=tuple(parts),
        position=min(part.told.position for part in parts),
        age_s=max(part.told.age_s for part in parts),
        complete=bool(covered.all()) and all(part.told.complete for part in parts),
        slot_count=slot_count,
    )


def _flags(runs: Sequence[tuple[int, int]], slot_count: int) -> Array:
    flags = np.zeros(slot_count, dtype=np.bool_)
    for first, last in runs:
        flags[first : last + 1] = True
    return flags


def missing(holdings: Sequence[Holdings], heard: Mapping[str, News]) -> list[str]:
    """Sites that a node should have news of and that none has."""
    return sorted({site for each in holdings for site in each.missing} - set(heard))


# ---- what a site holds, as it is kept --------------------------------------------------------------------------------


def _nothing(kind: type[np.generic]) -> Array:
    return np.zeros(0, dtype=kind)


@dataclass(frozen=True)
class Observation:
    """What one site holds: the news that told it, and block replicas by ascending key of the block.

    `last_update` is when each replica was first seen to hold what it holds. `saved` says whether the database has the
    contents, `kept` whether it has how good the news is, too.
    """

    versions: tuple[tuple[str, str], ...] = ()
    position: int = 0
    news_at: float | None = None
    complete: bool = False
    blocks: Array = field(default_factory=lambda: _nothing(np.uint32))
    files: Array = field(default_factory=lambda: _nothing(np.uint32))
    bytes: Array = field(default_factory=lambda: _nothing(np.int64))
    last_update: Array = field(default_factory=lambda: _nothing(np.uint32))
    saved: bool = False
    kept: bool = False

    def having(self, **changes: object) -> Observation:
        """The same with some fields changed."""
        return Observation(**{name: getattr(self, name) for name in self.__dataclass_fields__} | changes)

    def renewed(self, told: News, now: float) -> Observation:
        """The same contents, with the age and position of later news of them."""
        return self.having(position=told.position, news_at=now - told.age_s, complete=told.complete, kept=False)

    def replaced(self, told: News, now: float, blocks: Array, files: Array, size: Array) -> Observation:
        """Other contents; what did not change keeps the moment at which it was first seen.

        Incomplete news takes nothing away: what it does not speak of is kept until complete news says that it is gone.
        """
        if not told.complete:
            silent = ~np.isin(self.blocks, blocks)
            blocks = np.append(blocks, self.blocks[silent])
            files, size = np.append(files, self.files[silent]), np.append(size, self.bytes[silent])
        order = np.argsort(blocks, kind="stable")
        blocks, files, size = blocks[order], files[order], size[order]
        at = np.searchsorted(self.blocks, blocks)
        last_update = np.full(len(blocks), int(now), dtype=np.uint32)
        if len(self.blocks):
            at = np.minimum(at, len(self.blocks) - 1)
            same = (self.blocks[at] == blocks) & (self.files[at] == files) & (self.bytes[at] == size)
            last_update = np.where(same, self.last_update[at], last_update)
        return Observation(
            versions=told.versions,
            position=told.position,
            news_at=now - told.age_s,
            complete=told.complete,
            blocks=blocks.astype(np.uint32),
            files=files.astype(np.uint32),
            bytes=size.astype(np.int64),
            last_update=last_update,
        )


def split(collections: pl.Series) -> pl.DataFrame:
    """Names of collections as columns `dataset` and `name`: the part behind the first `#`, null where there is none."""
    return collections.str.splitn("#", 2).struct.rename_fields(["dataset", "name"]).struct.unnest()
