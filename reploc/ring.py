"""The ring: which index nodes own what, the same on every party.

What is owned are *cells*: a slot of the LFNs from one part of the sites (`reploc/partition.py`). Cells map to nodes by
consistent hashing over node *names* with a fixed number of virtual nodes; a cell's owners are the first R distinct
nodes at and after its point (the Giggle paper, section 3.5, proposes consistent hashing so that few senders must
reconnect when a node goes). Rules that name nodes choose among whom; what is not parted every one of them owns. A
golden test pins the result: parties that disagree here lose updates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from uhashring import HashRing

from reploc.partition import Partition

#: Points of each node on the ring: with 160 the busiest of a dozen nodes has about a fifth more slots than the mean.
VIRTUAL_NODES = 160


#: The owners of one cell, first choice first.
Owners: TypeAlias = tuple[str, ...]
#: The distinct owners of the cells that one question is about: one of each must answer.
Needs: TypeAlias = tuple[Owners, ...]


@dataclass(frozen=True)
class Ring:
    """The owners of each of `slots` slots among the named nodes, `redundancy` of them for each."""

    nodes: tuple[str, ...]
    slots: int
    redundancy: int
    partition: Partition = field(default_factory=lambda: Partition(0))
    """How the index is parted; with 0 slots, as when nothing is said, by hash into `slots` alone."""

    def __post_init__(self) -> None:
        if not self.partition.slots:
            object.__setattr__(self, "partition", Partition(self.slots))

    @cached_property
    def cells(self) -> tuple[tuple[Owners, ...], ...]:
        """For each slot and part of the sites the distinct owners, as far as there are `redundancy`."""
        parts = range(self.partition.site_parts)
        rings: dict[Owners, HashRing] = {}
        return tuple(tuple(self._owners(slot, part, rings) for part in parts) for slot in range(self.slots))

    def _owners(self, slot: int, part: int, rings: dict[Owners, HashRing]) -> Owners:
        among = self._among(slot, part)
        key = self._key(slot, part)
        if not among or not key:
            return among
        if among not in rings:
            rings[among] = HashRing(nodes={name: {"vnodes": VIRTUAL_NODES} for name in among}, hash_fn=_point)
        return _distinct(rings[among], key, min(self.redundancy, len(among)))

    def _among(self, slot: int, part: int) -> Owners:
        """The nodes that may own a cell, ascending: those of its rule, of which only one dimension has any."""
        partition = self.partition
        if partition.lfns == "pattern":
            named = partition.lfn_rules[slot].nodes
        elif partition.sites == "pattern":
            named = partition.site_rules[part].nodes
        else:
            named = self.nodes
        return tuple(sorted(set(named) & set(self.nodes)))

    def _key(self, slot: int, part: int) -> str:
        """What is hashed of a cell, empty where nothing is."""
        said = [f"slot-{slot}"] if self.partition.lfns in ("hash", "collection") else []
        if self.partition.sites in ("site", "domain"):
            said.append(f"part-{part}")
        return "/".join(said)

    @cached_property
    def owners(self) -> tuple[Owners, ...]:
        """For each slot its distinct owners over all parts of the sites, first choice first."""
        return tuple(tuple(dict.fromkeys(owner for of in parts for owner in of)) for parts in self.cells)

    @cached_property
    def needs(self) -> tuple[Needs, ...]:
        """For each slot, and last for a slot that is not known, the distinct owners of its cells."""
        everything = _distinct_sets(owners for parts in self.cells for owners in parts)
        return (*(_distinct_sets(parts) for parts in self.cells), everything)

    @cached_property
    def version(self) -> str:
        """Sixteen hexadecimal digits that differ whenever some slot's owners may differ."""
        said = "\n".join([str(self.slots), str(self.redundancy), *sorted(self.nodes)])
        if self.partition != Partition(self.slots):
            said += "\n" + msgspec.json.encode(self.partition).decode()
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @cached_property
    def _groups(self) -> tuple[list[Needs], NDArray[np.intp]]:
        """The distinct needs, and for each slot which of them it has; an unknown slot stands last."""
        sets = sorted(set(self.needs))
        number = {needs: index for index, needs in enumerate(sets)}
        return sets, np.array([number[needs] for needs in self.needs], dtype=np.intp)

    @cached_property
    def shares(self) -> dict[str, NDArray[np.bool_]]:
        """For each node the cells that it owns, shape (slots, parts)."""
        shape = (self.slots, self.partition.site_parts)
        found = {node: np.zeros(shape, dtype=bool) for node in self.nodes}
        for slot, parts in enumerate(self.cells):
            for part, owners in enumerate(parts):
                for owner in owners:
                    found[owner][slot, part] = True
        return found

    def share(self, node: str) -> NDArray[np.bool_]:
        """The cells that a node owns, shape (slots, parts); none for a node that is no member."""
        return self.shares.get(node, np.zeros((self.slots, self.partition.site_parts), dtype=bool))

    def slots_owned(self, node: str) -> NDArray[np.intp]:
        """The slots that a node owns, ascending; none for a node that is no member."""
        return np.flatnonzero(self.share(node).any(axis=1))

    def parts(self, slots: NDArray[np.intp]) -> dict[Needs, NDArray[np.intp]]:
        """Which of n slots have which needs, `ANY_SLOT` among them: needs → ascending indexes into `slots`."""
        sets, group_of_slot = self._groups
        groups = group_of_slot[slots]
        return {sets[group]: np.flatnonzero(groups == group) for group in np.unique(groups)}


@lru_cache(maxsize=16)
def ring_of(nodes: tuple[str, ...], redundancy: int, partition: Partition) -> Ring:
    """The ring of these members; the same object for the same members, so that owners are computed once."""
    return Ring(nodes, partition.slots, redundancy, partition)


def _point(key: str) -> int:
    """A key's place on the ring: 64 bits of SHA-256, which no library version will change."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])


def _distinct(ring: HashRing, key: str, count: int) -> Owners:
    """The first `count` distinct nodes at and after the key's point."""
    return tuple(node["nodename"] for node in ring.range(key, size=count, unique=True))


def _distinct_sets(cells: Iterable[Owners]) -> Needs:
    """The owners of some cells, those of the same nodes once; a cell that nobody owns is no need."""
    found: dict[frozenset[str], Owners] = {}
    for owners in cells:
        if owners:
            found.setdefault(frozenset(owners), owners)
    return tuple(sorted(found.values())) or ((),)
