"""The ring: the same owners on every party, spread evenly, and little moved when a node goes."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc.digest import of, slots_of
from reploc.ring import Ring

FOUR = ("rli-1", "rli-2", "rli-3", "rli-4")
NODES = st.lists(st.text("abc123", min_size=1, max_size=4), min_size=1, max_size=6, unique=True).map(tuple)


def test_the_owners_are_pinned_because_parties_that_disagree_lose_updates() -> None:
    ring = Ring(FOUR, 256, 2)
    assert ring.owners[:4] == (("rli-1", "rli-4"), ("rli-1", "rli-2"), ("rli-4", "rli-1"), ("rli-4", "rli-2"))
    pinned = hashlib.sha256(repr(ring.owners).encode()).hexdigest()
    assert pinned == "a469a59c4889634746b0d0c48b766f2a0bb724e20a931828cb9a00ab6e149bd3"
    assert ring.version == "9051a27410dd906c"


@given(NODES, st.sampled_from([1, 4, 16]), st.integers(1, 4))
def test_every_slot_has_distinct_owners_whatever_the_order_of_the_list(
    nodes: tuple[str, ...], slots: int, r: int
) -> None:
    ring = Ring(nodes, slots, r)
    for owners in ring.owners:
        assert len(set(owners)) == len(owners) == min(r, len(nodes))
    assert Ring(tuple(reversed(nodes)), slots, r).owners == ring.owners


def test_slots_are_spread_over_the_nodes() -> None:
    owned = [len(Ring(FOUR, 256, 2).slots_owned(name)) for name in FOUR]
    assert sum(owned) == 512
    assert min(owned) > 100


def test_a_node_that_leaves_moves_its_own_slots_only() -> None:
    """The Giggle paper, section 3.5: consistent hashing requires a minimal number of changes."""
    before, after = Ring(FOUR, 256, 2), Ring(FOUR[:3], 256, 2)
    for old, new in zip(before.owners, after.owners, strict=True):
        assert set(old) - {"rli-4"} <= set(new)


@pytest.mark.parametrize("change", [{"slots": 128}, {"redundancy": 1}, {"nodes": FOUR[:3]}])
def test_the_version_differs_when_owners_may(change: dict[str, object]) -> None:
    view = {"nodes": FOUR, "slots": 256, "redundancy": 2}
    assert Ring(**view).version != Ring(**(view | change)).version  # type: ignore[arg-type]


def test_the_parts_of_a_batch_cover_it_once() -> None:
    ring = Ring(FOUR, 64, 2)
    digests = of([f"name-{number}" for number in range(500)])
    slots = slots_of(digests, 64)
    parts = ring.parts(slots)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(500))
    for needs, indexes in parts.items():
        assert all((ring.owners[slot],) == needs for slot in slots[indexes])


def test_a_ring_without_nodes_has_no_owners() -> None:
    assert Ring((), 4, 2).owners == ((), (), (), ())
    assert len(Ring(FOUR, 4, 2).slots_owned("nobody")) == 0
