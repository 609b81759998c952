"""Filters: the promised false-positive rate at every fill level, pybloom-live's container, and checksums."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pybloom_live import BloomFilter

from reploc import bloom, digest
from reploc.digest import Digests
from reploc.errors import SummaryInvalid

RATE = 1e-5
#: Names asked of each filter: ten false positives are expected at the promised rate.
ASKED = 1_000_000


def random_digests(count: int, seed: int) -> Digests:
    return np.random.default_rng(seed).integers(0, 1 << 64, size=(count, 2), dtype=np.uint64)


def upper_bound(mean: float) -> float:
    """What a Poisson count of this mean exceeds about once in a hundred thousand draws."""
    return mean + 4.5 * mean**0.5 + 5


def random_names(count: int, seed: int) -> Digests:
    return random_digests(count, seed)


def sequential_names(count: int, seed: int) -> Digests:
    return digest.of([f"/store/data/run{seed}/file_{number:09d}.root" for number in range(count)])


def in_slot(digests: Digests) -> Digests:
    """The same digests as if all lay in slot 3 of 256: the top byte of h1 is constant inside a slot."""
    narrowed = digests.copy()
    narrowed[:, 0] = (narrowed[:, 0] >> np.uint64(8)) | (np.uint64(3) << np.uint64(56))
    return narrowed


@pytest.mark.parametrize("names", [4, 5, 16, 64, 67, 1_000, 4_351, 20_000, 200_000])
@pytest.mark.parametrize("style", [random_names, sequential_names])
def test_the_measured_rate_keeps_the_promise(names: int, style: Callable[[int, int], Digests]) -> None:
    shape = bloom.geometry(bloom.class_for(names, RATE), RATE)
    bits = bloom.build(in_slot(style(names, 1)), shape)
    asked = in_slot(style(ASKED // 10, 2)) if style is sequential_names else in_slot(style(ASKED, 2))
    found = sum(
        int(bloom.contains(bits, asked[start : start + 50_000], shape).sum()) for start in range(0, len(asked), 50_000)
    )
    assert found <= upper_bound(RATE * len(asked))


@pytest.mark.parametrize("size_class", range(0, bloom.CLASS_MAX + 1, 3))
@pytest.mark.parametrize("rate", [0.01, 1e-3, 1e-5, 1e-7])
def test_a_class_filled_to_its_limit_keeps_the_promise(size_class: int, rate: float) -> None:
    shape = bloom.geometry(size_class, rate)
    assert shape.rate(shape.names_max) <= rate < shape.rate(shape.names_max + 1) * 1.5


def test_there_are_two_classes_per_octave() -> None:
    capacities = [bloom.geometry(size_class, RATE).capacity for size_class in range(10, 30)]
    ratios = [after / before for before, after in zip(capacities, capacities[2:], strict=False)]
    assert all(1.98 < ratio < 2.02 for ratio in ratios)


def test_a_sender_near_a_class_boundary_does_not_swing() -> None:
    current = bloom.class_for(4_000, RATE)
    below = bloom.geometry(current - 1, RATE).names_max
    assert bloom.class_for(below, RATE, current) == current
    assert bloom.class_for(below // 2, RATE, current) < current
    assert bloom.class_for(bloom.geometry(current, RATE).names_max + 1, RATE, current) == current + 1


def test_a_million_names_in_256_slots_take_at_most_three_and_a_half_megabytes() -> None:
    fullest = int(np.bincount(digest.slots_of(random_digests(1_000_000, 5), 256)).max())
    assert bloom.geometry(bloom.class_for(fullest, RATE), RATE).bytes * 256 <= 3_500_000


@given(st.integers(0, 300), st.integers(0, 2**32))
def test_every_name_that_was_built_in_is_found(count: int, seed: int) -> None:
    shape = bloom.geometry(bloom.class_for(count, RATE), RATE)
    digests = random_digests(count, seed)
    assert bloom.contains(bloom.build(digests, shape), digests, shape).all()


def test_positions_for_many_geometries_at_once_are_those_of_each() -> None:
    digests = random_digests(50, 1)
    lengths = np.array([8, 96, 6135], dtype=np.uint64)
    together = bloom.positions(digests, 17, lengths)
    for column, length in enumerate(lengths):
        assert np.array_equal(together[:, :, column], bloom.positions(digests, 17, int(length)))


def test_the_container_is_the_one_that_pybloom_live_writes() -> None:
    shape = bloom.geometry(4, RATE)
    bits = bloom.build(random_digests(15, 1), shape)
    theirs = BloomFilter.fromfile(BytesIO(bloom.to_container(bits, shape, 15)))
    written = BytesIO()
    theirs.tofile(written)
    assert written.getvalue() == bloom.to_container(bits, shape, 15)
    assert (theirs.num_slices, theirs.bits_per_slice, theirs.capacity, theirs.count) == (
        shape.slices,
        shape.slice_bits,
        shape.capacity,
        15,
    )
    assert theirs.bitarray.tobytes() == bits.tobytes()
    back, back_shape, count = bloom.from_container(bloom.to_container(bits, shape, 15))
    assert np.array_equal(back, bits)
    assert (back_shape.slices, back_shape.slice_bits, count) == (shape.slices, shape.slice_bits, 15)


@pytest.mark.parametrize(
    ("mend", "said"),
    [
        (lambda data: data[:30], "header is 30 bytes long; expected 40"),
        (lambda data: data[:-1], "body is"),
        (lambda data: data + b"\0", "body is"),
        (lambda data: data[:8] + b"\x05" + data[9:], "slices of"),
        (lambda data: b"\0" * 8 + data[8:], "error rate 0.0"),
        (lambda data: data[:-1] + b"\xff", "bits set beyond"),
    ],
)
def test_a_container_that_does_not_fit_its_header_is_refused(mend: Callable[[bytes], bytes], said: str) -> None:
    shape = bloom.geometry(1, RATE)
    data = bloom.to_container(bloom.build(random_digests(3, 1), shape), shape, 3)
    with pytest.raises(SummaryInvalid) as caught:
        bloom.from_container(mend(data))
    assert said in caught.value.detail


@given(st.sets(st.integers(0, 799), max_size=50), st.sets(st.integers(0, 799), max_size=50))
def test_checksums_of_disjoint_sets_of_bits_add_up(one: set[int], other: set[int]) -> None:
    def packed(numbers: set[int]) -> bloom.Bits:
        flags = np.zeros(800, dtype=np.uint8)
        flags[sorted(numbers)] = 1
        return np.packbits(flags, bitorder="little")

    total = bloom.checksum(packed(one | other))
    assert total == (bloom.checksum(packed(one)) + bloom.checksum(packed(other - one))) % (1 << 64)


def test_the_checksum_of_a_long_filter_is_the_sum_over_its_set_bits() -> None:
    bits = np.random.default_rng(1).integers(0, 256, 40_000, dtype=np.uint8)
    numbers = np.flatnonzero(np.unpackbits(bits, bitorder="little")).astype(np.uint64)
    values = digest.mix(numbers + np.uint64(0x9E3779B97F4A7C15))
    assert bloom.checksum(bits) == int(values.sum(dtype=np.uint64))


def test_a_filter_of_more_names_than_its_capacity_is_taken() -> None:
    """It errs more often, and is still right about every name that it holds."""
    shape = bloom.geometry(1, RATE)
    assert bloom.from_container(bloom.to_container(bloom.build(random_digests(20, 1), shape), shape, 20))[2] == 20


def test_the_class_of_a_container_is_the_one_that_it_was_built_for() -> None:
    for size_class in range(bloom.CLASS_MAX + 1):
        assert bloom.class_of(bloom.geometry(size_class, RATE)) == size_class
    with pytest.raises(SummaryInvalid, match="no size class has capacity 6"):
        bloom.class_of(bloom.Geometry(6, RATE, 17, 9, 6))


def test_a_class_or_rate_that_cannot_be_is_refused() -> None:
    for size_class, rate in [(-1, RATE), (bloom.CLASS_MAX + 1, RATE), (0, 0.0), (0, 1.0)]:
        with pytest.raises(SummaryInvalid):
            bloom.geometry(size_class, rate)
    with pytest.raises(SummaryInvalid, match="use more slots"):
        bloom.class_for(1 << 40, RATE)
