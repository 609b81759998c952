"""The log of differences against a plain list of every state that the filter was in."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reploc import bloom
from reploc.difference import DIFFERENCE_BITS_MAX, FILTER_BITS_MAX, Difference
from reploc.sender.difference_log import DifferenceLog, bits_max

BITS_MAX = 40
steps = st.lists(st.dictionaries(st.integers(0, 30), st.booleans(), min_size=1, max_size=12), max_size=20)


def applied(state: set[int], difference: Difference) -> set[int]:
    return (state | set(difference.set.tolist())) - set(difference.clear.tolist())


def difference(bits: list[int], cleared: list[int]) -> Difference:
    return Difference(np.array(sorted(bits), dtype=np.uint32), np.array(sorted(cleared), dtype=np.uint32))


@given(steps)
def test_what_is_merged_since_a_sequence_leads_from_any_later_state_to_the_newest(
    said: list[dict[int, bool]],
) -> None:
    """The reason why a node may take an increment from before what it holds, and twice."""
    log, states = DifferenceLog(7, BITS_MAX), [set[int]()]
    for step in said:
        change = difference([bit for bit in step if step[bit]], [bit for bit in step if not step[bit]])
        log.append(change)
        states.append(applied(states[-1], change))
    last = 7 + len(said)
    for sequence in range(7, last):
        merged = log.since(sequence)
        if merged is None:
            assert sum(len(step) for step in said[sequence - 7 :]) > BITS_MAX
        else:
            assert merged.bits <= BITS_MAX
            assert np.array_equal(merged.set, np.unique(merged.set))
            assert np.array_equal(merged.clear, np.unique(merged.clear))
            for state in states[sequence - 7 :]:
                assert applied(state, merged) == states[-1]


def test_what_is_older_than_the_log_newer_or_current_is_not_known() -> None:
    log = DifferenceLog(3, BITS_MAX)
    assert log.since(3) is None
    log.append(difference([1], []))
    assert log.since(3) is not None
    assert [log.since(sequence) for sequence in (2, 4, 5)] == [None, None, None]


def test_the_oldest_differences_go_whole_where_there_is_no_room() -> None:
    log = DifferenceLog(0, BITS_MAX)
    for turn in range(5):
        log.append(difference(list(range(turn * 15, turn * 15 + 15)), []))
    assert [log.since(sequence) is None for sequence in range(5)] == [True, True, True, False, False]
    log.append(difference(list(range(BITS_MAX + 1)), []))
    assert log.since(5) is None


def test_no_increment_is_above_half_of_the_whole_filter_or_beyond_what_a_node_takes() -> None:
    for size_class in range(bloom.CLASS_MAX + 1):
        shape = bloom.geometry(size_class, 1e-5)
        assert bits_max(shape) <= DIFFERENCE_BITS_MAX
        assert 4 * bits_max(shape) <= (40 + shape.bytes) / 2
    assert bits_max(bloom.Geometry(1, 1e-5, 2, FILTER_BITS_MAX, 1)) == 0
