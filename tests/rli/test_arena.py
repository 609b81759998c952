"""The arena: parts never overlap, come back whole, and cost memory only while they are used."""

import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc.errors import MemoryFull
from rli.arena import Arena

WORDS = 1 << 12
PART = st.tuples(st.integers(1, 700), st.sampled_from([1, 2, 3, 7, 10, 16]))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@given(st.lists(st.one_of(PART, st.integers(0, 50)), max_size=60))
def test_parts_are_aligned_apart_and_keep_what_was_written(steps: list[tuple[int, int] | int]) -> None:
    arena = Arena(WORDS * 8)
    parts: dict[int, int] = {}
    for step in steps:
        if isinstance(step, tuple):
            count, align = step
            try:
                start = arena.allocate(count, align)
            except MemoryFull:
                continue
            assert start % align == 0
            parts[start] = count
            arena.words[start : start + count] = start
        elif parts:
            start = sorted(parts)[step % len(parts)]
            arena.release(start, parts.pop(start))
        assert arena.allocated == sum(parts.values())
        assert all((arena.words[start : start + count] == start).all() for start, count in parts.items())


def test_released_parts_become_one_again() -> None:
    arena = Arena(WORDS * 8)
    starts = [arena.allocate(WORDS // 4, 1) for _ in range(4)]
    for start in (starts[2], starts[0], starts[3], starts[1]):
        arena.release(start, WORDS // 4)
    assert arena.allocate(WORDS, 1) == 0


def test_a_full_array_is_said_in_bytes_and_changes_nothing() -> None:
    arena = Arena(WORDS * 8)
    arena.allocate(WORDS - 1, 1)
    with pytest.raises(MemoryFull, match="needs 16 bytes more; 32,760 of 32,768 are in use"):
        arena.allocate(2, 1)
    assert arena.allocate(1, 1) == WORDS - 1


def test_reserved_space_costs_nothing_and_released_pages_go_back() -> None:
    before = resident_bytes()
    arena = Arena()
    count = (64 << 20) // 8
    start = arena.allocate(count, 1)
    assert resident_bytes() - before < 16 << 20
    arena.words[start : start + count] = np.uint64(1)
    assert resident_bytes() - before > 48 << 20
    arena.release(start, count)
    assert resident_bytes() - before < 16 << 20
