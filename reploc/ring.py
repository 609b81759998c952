"""The ring: which index nodes own a slot, the same on every party.

Slots map to nodes by consistent hashing over node *names* with a fixed number of virtual nodes; a slot's owners are the
first R distinct nodes at and after its point (the Giggle paper, section 3.5, proposes consistent hashing so that few
senders must reconnect when a node goes). A golden test pins the result: parties that disagree here lose updates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from uhashring import HashRing

from reploc.digest import Digests, slots_of

#: Points of each node on the ring: with 160 the busiest of a dozen nodes has about a fifth more slots than the mean.
VIRTUAL_NODES = 160


@dataclass(frozen=True)
class Ring:
    """The owners of each of `slots` slots among the named nodes, `redundancy` of them for each."""

    nodes: tuple[str, ...]
    slots: int
    redundancy: int

    @cached_property
    def owners(self) -> tuple[tuple[str, ...], ...]:
        """For each slot its distinct owners, first choice first; as many as there are when fewer than `redundancy`."""
        if not self.nodes:
            return ((),) * self.slots
        ring = HashRing(nodes={name: {"vnodes": VIRTUAL_NODES} for name in sorted(self.nodes)}, hash_fn=_point)
        count = min(self.redundancy, len(self.nodes))
        return tuple(_distinct(ring, slot, count) for slot in range(self.slots))

    @cached_property
    def version(self) -> str:
        """Sixteen hexadecimal digits that differ whenever some slot's owners may differ."""
        said = "\n".join([str(self.slots), str(self.redundancy), *sorted(self.nodes)])
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @cached_property
    def _groups(self) -> tuple[list[tuple[str, ...]], NDArray[np.intp]]:
        """The distinct sets of owners, and for each slot which of them it has."""
        sets = sorted(set(self.owners))
        number = {owners: index for index, owners in enumerate(sets)}
        return sets, np.array([number[owners] for owners in self.owners], dtype=np.intp)

    def slots_owned(self, node: str) -> NDArray[np.intp]:
        """The slots that a node owns, ascending; none for a node that is no member."""
        return np.array([slot for slot, owners in enumerate(self.owners) if node in owners], dtype=np.intp)

    def parts(self, digests: Digests) -> dict[tuple[str, ...], NDArray[np.intp]]:
        """Which of n digests each set of owners answers for: owners → ascending indexes into `digests`."""
        sets, group_of_slot = self._groups
        groups = group_of_slot[slots_of(digests, self.slots)]
        return {sets[group]: np.flatnonzero(groups == group) for group in np.unique(groups)}


@lru_cache(maxsize=16)
def ring_of(nodes: tuple[str, ...], slots: int, redundancy: int) -> Ring:
    """The ring of these members; the same object for the same members, so that owners are computed once."""
    return Ring(nodes, slots, redundancy)


def _point(key: str) -> int:
    """A key's place on the ring: 64 bits of SHA-256, which no library version will change."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])


def _distinct(ring: HashRing, slot: int, count: int) -> tuple[str, ...]:
    """The first `count` distinct nodes at and after the slot's point."""
    return tuple(node["nodename"] for node in ring.range(f"slot-{slot}", size=count, unique=True))
