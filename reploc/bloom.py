"""Bloom filters over digests: geometry, positions, build, membership, checksum and container.

Geometry and container are pybloom-live's; the positions are ours, computed on whole arrays:

    position of slice i  =  mix(h1 + i·h2) reduced to [0, slice_bits)       i = 0 … slices-1
    bit of the filter    =  i · slice_bits + position                       little-endian within each byte

Plain double hashing (Kirsch and Mitzenmacher, "Less Hashing, Same Performance", 2006) would not do: inside a slot the
top bits of h1 are constant, and a slot holds only thousands of names (measured: 1e-4 to 3e-2 where 1e-5 was promised).

Capacities come in classes, two per octave, so that a sender has one geometry for all its slots and sites of like size
share it. A class starts a sixteenth above a power of two, so that the fullest slot of a site whose slots hold 2^n names
on average still fits.

    container (pybloom-live `tofile`):  error_rate f64 | slices u64 | slice_bits u64 | capacity u64 | count u64 | bits
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from struct import calcsize, pack, unpack

import numpy as np
from numpy.typing import NDArray
from pybloom_live import BloomFilter

from reploc.digest import Digests, mix, mix_high
from reploc.errors import SummaryInvalid

#: The largest class: 4.4 million names in one slot, over a thousand million at a site of 256 slots.
CLASS_MAX = 40
#: Mean names per slot that class 0 is made for, with a sixteenth for the fullest slot.
_CAPACITY_FIRST = 4.25
#: A sender goes to a smaller class only when it would fill it no further than this, so that it does not swing.
_SHRINK_AT = 0.8
#: Names whose positions are computed at once: keeps the scratch arrays within a processor's cache (measured: four
#: times as many take half as long again).
_CHUNK = 1024
#: Bits whose mixed values for checksums are kept in one array, of 1 MB, and how many such arrays are kept: enough for
#: slots of 300,000 names.
_VALUES, _VALUES_PARTS = 1 << 17, 64
#: Bytes of a container before its bits.
CONTAINER_HEADER_BYTES = calcsize(BloomFilter.FILE_FMT)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Geometry:
    """The shape of a filter. `names_max` is the largest count at which the promised rate holds."""

    capacity: int
    error_rate: float
    slices: int
    slice_bits: int
    names_max: int

    @property
    def bits(self) -> int:
        return self.slices * self.slice_bits

    @property
    def bytes(self) -> int:
        return (self.bits + 7) // 8

    def rate(self, names: int) -> float:
        """The expected false-positive rate of a filter that holds so many names."""
        return float((1.0 - (1.0 - 1.0 / self.slice_bits) ** names) ** self.slices)


@lru_cache(maxsize=256)
def geometry(size_class: int, error_rate: float) -> Geometry:
    """The geometry of a capacity class. Raises SummaryInvalid for a class or rate that cannot be."""
    if not 0 <= size_class <= CLASS_MAX:
        raise SummaryInvalid(f"size class {size_class} is unknown; expected 0 to {CLASS_MAX}")
    if not 0 < error_rate < 1:
        raise SummaryInvalid(f"error rate {error_rate} is not between 0 and 1")
    capacity = _capacity(size_class)
    shape = BloomFilter(capacity, error_rate)
    slices, slice_bits = shape.num_slices, shape.bits_per_slice
    filled = error_rate ** (1 / slices)
    names_max = math.floor(math.log1p(-filled) / math.log1p(-1 / slice_bits)) if slice_bits > 1 else 0
    return Geometry(capacity, error_rate, slices, slice_bits, names_max)


def _capacity(size_class: int) -> int:
    return math.ceil(_CAPACITY_FIRST * 2 ** (size_class / 2))


_CLASS_OF_CAPACITY = {_capacity(size_class): size_class for size_class in range(CLASS_MAX + 1)}


def class_of(shape: Geometry) -> int:
    """The capacity class of a filter. Raises SummaryInvalid where it is of none."""
    size_class = _CLASS_OF_CAPACITY.get(shape.capacity)
    if size_class is None:
        raise SummaryInvalid(f"no size class has capacity {shape.capacity}")
    return size_class


def class_for(names: int, error_rate: float, current: int | None = None) -> int:
    """The size class for a sender whose fullest slot holds so many names.

    With a current class the answer moves down only when the smaller class would stay under four fifths full.
    Raises SummaryInvalid when no class is large enough.
    """
    for size_class in range(CLASS_MAX + 1):
        room = geometry(size_class, error_rate).names_max
        if names <= room * (_SHRINK_AT if current is not None and size_class < current else 1.0):
            return size_class
    raise SummaryInvalid(f"{names:,} names in one slot exceed the largest filter; use more slots")


def hashes(digests: Digests, slices: int) -> NDArray[np.uint64]:
    """The 32-bit hash that is reduced to the position in each slice, shape (n, slices), in memory slice by slice."""
    h1, h2 = digests.T
    return mix_high(h1 + h2 * _steps(slices)).T


@lru_cache(maxsize=64)
def _steps(slices: int) -> NDArray[np.uint64]:
    return np.arange(slices, dtype=np.uint64)[:, None]


def positions(digests: Digests, slices: int, slice_bits: NDArray[np.uint64] | int) -> NDArray[np.uint64]:
    """The position in each slice, shape (n, slices); with an array of g slice lengths, shape (n, slices, g)."""
    reduced = hashes(digests, slices)
    if isinstance(slice_bits, np.ndarray):
        return (reduced[:, :, None] * slice_bits) >> _HALF
    reduced *= np.uint64(slice_bits)
    reduced >>= _HALF
    return reduced


def bit_numbers(digests: Digests, shape: Geometry) -> NDArray[np.uint64]:
    """The bit of the whole filter that each name sets in each slice, shape (n, slices)."""
    numbers = positions(digests, shape.slices, shape.slice_bits)
    numbers += (_steps(shape.slices) * np.uint64(shape.slice_bits)).T
    return numbers


def build(digests: Digests, shape: Geometry) -> Bits:
    """The filter that holds exactly these names, packed, shape (shape.bytes,)."""
    flags = np.zeros(shape.bits, dtype=np.uint8)
    for start in range(0, len(digests), _CHUNK):
        flags[bit_numbers(digests[start : start + _CHUNK], shape).view(np.int64)] = 1
    return np.packbits(flags, bitorder="little")


def contains(bits: Bits, digests: Digests, shape: Geometry) -> NDArray[np.bool_]:
    """Whether the filter may hold each name, shape (n,)."""
    numbers = bit_numbers(digests, shape)
    found = bits[(numbers >> np.uint64(3)).astype(np.intp)] >> (numbers & np.uint64(7)).astype(np.uint8)
    hits: NDArray[np.bool_] = np.all(found & 1, axis=1)
    return hits


def checksum(bits: Bits) -> int:
    """The sum, mod 2⁶⁴, of a mixed value per set bit: both ends can keep it up to date from changed bits alone."""
    total = 0
    for part, start in enumerate(range(0, len(bits), _VALUES // 8)):
        flags = np.unpackbits(bits[start : start + _VALUES // 8], bitorder="little")
        total += int(np.dot(flags.astype(np.uint64), _values(part)[: len(flags)]))
    return total % (1 << 64)


def checksum_of(numbers: NDArray[np.uint32] | NDArray[np.uint64]) -> int:
    """What these distinct bits add to a checksum where they are set."""
    return int(mix(numbers.astype(np.uint64) + _GOLDEN).sum(dtype=np.uint64))


@lru_cache(maxsize=_VALUES_PARTS)
def _values(part: int) -> NDArray[np.uint64]:
    """What each bit of a part adds to the checksum when it is set, shape (_VALUES,)."""
    return mix(np.arange(part * _VALUES, (part + 1) * _VALUES, dtype=np.uint64) + _GOLDEN)


def to_container(bits: Bits, shape: Geometry, count: int) -> bytes:
    """The filter as the bytes that pybloom-live writes to a file."""
    header = pack(BloomFilter.FILE_FMT, shape.error_rate, shape.slices, shape.slice_bits, shape.capacity, count)
    return header + bits.tobytes()


def from_container(data: bytes) -> tuple[Bits, Geometry, int]:
    """A container's (bits, geometry, count). Raises SummaryInvalid where its bits do not fit its header.

    The count may exceed the capacity: such a filter is right, though it errs more often.
    """
    if len(data) < CONTAINER_HEADER_BYTES:
        raise SummaryInvalid(f"filter header is {len(data)} bytes long; expected {CONTAINER_HEADER_BYTES}")
    error_rate, slices, slice_bits, capacity, count = unpack(BloomFilter.FILE_FMT, data[:CONTAINER_HEADER_BYTES])
    expected = _expected_shape(capacity, error_rate)
    if (slices, slice_bits) != expected:
        raise SummaryInvalid(
            f"filter header says {slices} slices of {slice_bits} bits; capacity {capacity} at {error_rate} needs "
            f"{expected[0]} of {expected[1]}"
        )
    shape = Geometry(capacity, error_rate, slices, slice_bits, capacity)
    bits = np.frombuffer(data, dtype=np.uint8, offset=CONTAINER_HEADER_BYTES)
    check_fit(bits, shape)
    return bits, shape, count


def _expected_shape(capacity: int, error_rate: float) -> tuple[int, int]:
    if not (0 < error_rate < 1 and 0 < capacity < 1 << 32):
        raise SummaryInvalid(f"filter header holds capacity {capacity} and error rate {error_rate}")
    slices = math.ceil(math.log2(1 / error_rate))
    return slices, math.ceil(capacity * abs(math.log(error_rate)) / (slices * math.log(2) ** 2))


def check_fit(bits: Bits, shape: Geometry) -> None:
    """SummaryInvalid unless the packed bits are exactly as long as the geometry says, with no bit set beyond it."""
    if len(bits) != shape.bytes:
        raise SummaryInvalid(f"filter body is {len(bits)} bytes long; its geometry needs {shape.bytes}")
    if (spare := shape.bits % 8) and int(bits[-1]) >> spare:
        raise SummaryInvalid("filter body has bits set beyond its geometry")
