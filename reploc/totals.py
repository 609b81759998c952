"""Totals of the collections of one slot, as columns and as bytes: the body of a summary of kind `collection`.

    body:    count u32 | files i64 … | bytes i64 … | files of unknown size i64 … | names           little-endian,
             squeezed as in `reploc/squeezed.py`

Whole, a body holds every collection of the slot; as an increment those whose totals changed, as they are now, with 0
files where the collection is gone. So an increment, applied to any state since its base, gives the present one. The
checksum of a slot is the sum, mod 2⁶⁴, of a mixed value per collection, which both ends keep up to date from the
changes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from reploc import digest
from reploc.digest import Digests, mix
from reploc.errors import SummaryInvalid
from reploc.squeezed import LENGTH_BYTES, inflated, names_from_bytes, names_to_bytes, squeezed

_COUNT = Struct("<I")
_NUMBERS_BYTES = 3 * 8
_ONE, _TWO = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)

#: Files, bytes, and files of unknown size of n collections, shape (3, n).
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Totals:
    """Distinct collections of one slot and their totals, in the same order."""

    names: list[str]
    numbers: Numbers

    def to_bytes(self) -> bytes:
        """The totals as they travel. Raises SummaryInvalid: they are too many for one summary."""
        numbers = self.numbers.astype("<i8").tobytes()
        return squeezed(_COUNT.pack(len(self.names)) + numbers + names_to_bytes(self.names))


def of(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Totals:
    """Totals from rows of name and (files, bytes, files of unknown size)."""
    numbers = np.array([numbers for _, numbers in rows], dtype=np.int64).reshape(-1, 3).T
    return Totals([name for name, _ in rows], numbers)


def from_bytes(body: bytes) -> Totals:
    """The totals of a body. Raises SummaryInvalid: length, names, or numbers that cannot be."""
    raw = inflated(body, least=_COUNT.size)
    (count,) = _COUNT.unpack_from(raw)
    names_at = _COUNT.size + count * _NUMBERS_BYTES
    if names_at + count * LENGTH_BYTES > len(raw):
        raise SummaryInvalid(f"totals say {count:,} collections; there is room for fewer in {len(raw):,} bytes")
    numbers = np.frombuffer(raw, "<i8", 3 * count, _COUNT.size).astype(np.int64).reshape(3, count)
    if (numbers < 0).any() or (numbers[2] > numbers[0]).any():
        raise SummaryInvalid("totals are negative, or say more files of unknown size than files")
    return Totals(names_from_bytes(raw, names_at, count), numbers)


def checksum(digests: Digests, numbers: Numbers) -> int:
    """What these collections add to the checksum of their slot; those with 0 files add nothing."""
    here = numbers[0] > 0
    files, size, unknown = numbers[:, here].astype(np.uint64)
    values = mix(mix(mix(mix(digests[here, 0]) ^ digests[here, 1]) + files * _ONE) ^ size)
    return int(mix(values + unknown * _TWO).sum(dtype=np.uint64))


def digests_of(totals: Totals) -> Digests:
    """The digests of the collections' names, shape (n, 2)."""
    return digest.of(totals.names)
