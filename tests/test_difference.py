"""Differences of filters: as bytes, refused where they cannot be, and what they do to a checksum."""

from struct import pack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc import bloom
from reploc.difference import DIFFERENCE_BITS_MAX, Difference, from_bytes
from reploc.errors import SummaryInvalid

#: For each of some bits whether it is set or clear afterwards.
words = st.dictionaries(st.integers(0, 799), st.booleans(), max_size=60)


def difference(said: dict[int, bool]) -> Difference:
    numbers = np.array(sorted(said), dtype=np.uint32)
    is_set = np.array([said[number] for number in sorted(said)], dtype=bool)
    return Difference(numbers[is_set], numbers[~is_set])


def packed(bits: set[int]) -> bloom.Bits:
    flags = np.zeros(800, dtype=np.uint8)
    flags[sorted(bits)] = 1
    return np.packbits(flags, bitorder="little")


@given(words, st.integers(0, 2**63))
def test_what_was_written_is_read(said: dict[int, bool], names: int) -> None:
    found, count = from_bytes(difference(said).to_bytes(names))
    assert {**dict.fromkeys(found.set.tolist(), True), **dict.fromkeys(found.clear.tolist(), False)} == said
    assert count == names


def test_the_bytes_are_those_that_the_module_draws() -> None:
    assert difference({5: True, 300: True, 7: False}).to_bytes(9) == pack("<QIIII", 9, 2, 5, 300, 7)


@given(st.sets(st.integers(0, 799), max_size=60), words)
def test_the_checksum_after_a_difference_is_that_of_the_bits_after_it(before: set[int], said: dict[int, bool]) -> None:
    after = (before | {bit for bit in said if said[bit]}) - {bit for bit in said if not said[bit]}
    step = difference(said)
    was_set = np.array([bit in before for bit in [*step.set.tolist(), *step.clear.tolist()]], dtype=bool)
    assert step.checksum_after(bloom.checksum(packed(before)), was_set) == bloom.checksum(packed(after))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "0 bytes long; expected 12 and 4 per bit"),
        (pack("<QI", 0, 0)[:-1], "11 bytes long"),
        (pack("<QIH", 0, 0, 1), "14 bytes long"),
        (pack("<QII", 0, 2, 1), "says 2 bits to set; there are 1"),
        (pack("<QIII", 0, 2, 1, 1), "out of order"),
        (pack("<QIII", 0, 0, 7, 3), "out of order"),
        (pack("<QIII", 0, 1, 3, 3), "both to set and to clear"),
        (pack("<QI", 0, 0) + bytes(4 * (DIFFERENCE_BITS_MAX + 1)), "expected at most"),
    ],
)
def test_a_difference_that_cannot_be_is_refused_in_words(body: bytes, said: str) -> None:
    with pytest.raises(SummaryInvalid) as caught:
        from_bytes(body)
    assert said in caught.value.detail
