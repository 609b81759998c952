"""The digest: its golden values, its stored form, and its slots."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reploc import digest

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), max_size=20)


def test_digests_are_murmur3_x64_128_for_ever() -> None:
    found = digest.of(["", "a", "/store/data/run1.root", "日本"])
    assert [[f"{word:016x}" for word in pair] for pair in found.tolist()] == [
        ["0000000000000000", "0000000000000000"],
        ["85555565f6597889", "e6b53a48510e895a"],
        ["9af95909783f3367", "d5e2f8d5598260c7"],
        ["86d4e77d78be1786", "aeeb8fca309c09bd"],
    ]


@given(NAMES)
def test_the_stored_form_gives_the_digests_back(names: list[str]) -> None:
    digests = digest.of(names)
    assert np.array_equal(digest.from_stored(b"".join(digest.stored(digests))), digests)


@given(NAMES, st.integers(0, 16))
def test_the_order_of_stored_bytes_is_the_order_of_slots(names: list[str], bits: int) -> None:
    digests = digest.of(names)
    order = sorted(range(len(names)), key=lambda index: digest.stored(digests)[index])
    slots = digest.slots_of(digests, 1 << bits)[order]
    assert np.all(np.diff(slots) >= 0)
    assert all(0 <= slot < 1 << bits for slot in slots)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 16))
def test_the_slot_of_one_is_the_slot_among_many(name: str, bits: int) -> None:
    digests = digest.of([name])
    assert digest.slot_of(digests, 1 << bits) == digest.slots_of(digests, 1 << bits)[0]


def test_slots_are_filled_evenly_by_sequential_names() -> None:
    counts = np.bincount(digest.slots_of(digest.of([f"lfn{i:09d}" for i in range(64_000)]), 64), minlength=64)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_the_upper_half_of_mixed_words_is_that_of_the_whole_ones() -> None:
    words = np.random.default_rng(1).integers(0, 1 << 64, 1_000, dtype=np.uint64)
    assert np.array_equal(digest.mix_high(words), digest.mix(words) >> np.uint64(32))
