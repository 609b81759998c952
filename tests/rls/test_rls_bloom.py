"""The Bloom filter of the Globus RLS: its bits are those that original senders and receivers have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc.rls.bloom import SHIFTS, RlsFilter, build, hashes, positions

VECTORS = [
    ("lfnA", 1000, [841, 753, 729]),
    ("n1", 1000, [833, 569, 129]),
    ("imm1", 1000, [737, 145, 817]),
    ("n1", 1001, [833, 566, 115, 237, 393]),
    ("lfn000000001", 1000, [171, 989, 45]),
    ("lfn000000001", 10_000_000, [6269171, 8540989, 2343045]),
    ("étude", 1200, [677, 901, 480, 57, 549, 1061, 826, 147]),
    ("étude", 1000, [877, 301, 480]),
]


@pytest.mark.parametrize(("name", "bits", "expected"), VECTORS)
def test_positions_are_those_of_the_original(name: str, bits: int, expected: list[int]) -> None:
    assert positions(bits, len(expected), [name.encode()])[0].tolist() == expected


def test_hashes_are_those_of_the_original() -> None:
    assert hashes([b"lfn000000001"])[0, :3].tolist() == [0xC6DB6D73, 0x548D37BD, 0x36614005]
    assert hashes(["étude".encode()])[0].tolist() == [
        0x001B9605, 0x7D5BD8E5, 0x6E9D7380, 0x00000039, 0x0000BDA5, 0x03913325, 0x57D7496A, 0x74755833,
    ]  # fmt: skip


def slow(name: bytes, shift: int) -> int:
    """The definition, a byte at a time."""
    state = 0
    for byte in name:
        signed = byte if byte < 128 else byte | 0xFFFFFF00
        state = ((state << shift | state >> (32 - shift)) & 0xFFFFFFFF) ^ signed
    return state


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=20))
def test_many_names_at_once_hash_as_each_alone(names: list[bytes]) -> None:
    assert hashes(names).tolist() == [[slow(name, shift) for shift in SHIFTS] for name in names]


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=50), st.integers(1, 5_000), st.integers(1, 8))
def test_a_filter_holds_every_name_that_it_was_built_from(names: list[bytes], bits: int, functions: int) -> None:
    raw = build(bits, functions, names)
    assert len(raw) == bits // 8 + 1
    received = RlsFilter(bits, functions, np.frombuffer(raw, dtype=np.uint8))
    assert received.may_hold(hashes(names)).all()


def test_a_filter_of_one_name_is_the_captured_one() -> None:
    raw = build(1000, 3, [b"lfnA"])
    assert {at: byte for at, byte in enumerate(raw) if byte} == {91: 0x40, 94: 0x40, 105: 0x40}
    received = RlsFilter(1000, 3, np.frombuffer(raw, dtype=np.uint8))
    assert received.may_hold(hashes([b"lfnA", b"n1"])).tolist() == [True, False]
