"""Totals of the collections of one slot, as columns and as bytes: the body of a summary of kind `collection`.

    body:    length of what follows when it is inflated u32 | zlib of:
             count u32 | files i64 … | bytes i64 … | files of unknown size i64 … | length of each name u16 … | names
                                                                                                        little-endian

Whole, a body holds every collection of the slot; as an increment those whose totals changed, as they are now, with 0
files where the collection is gone. So an increment, applied to any state since its base, gives the present one. The
checksum of a slot is the sum, mod 2⁶⁴, of a mixed value per collection, which both ends keep up to date from the
changes alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from reploc import digest, names
from reploc.digest import Digests, mix
from reploc.errors import NameInvalid, SummaryInvalid

#: Bytes of one body when it is inflated: 600,000 usual names. A slot with more needs an index with more slots.
INFLATED_BYTES_MAX = 64 << 20
#: How hard bodies are squeezed: beyond the first level a second of work saves a tenth of the bytes.
_LEVEL = 1

_LENGTH = Struct("<I")
_ROW_BYTES = 3 * 8 + 2
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
        encoded = [name.encode() for name in self.names]
        lengths = np.array([len(name) for name in encoded], dtype="<u2")
        raw = _LENGTH.pack(len(encoded)) + self.numbers.astype("<i8").tobytes() + lengths.tobytes() + b"".join(encoded)
        if len(raw) > INFLATED_BYTES_MAX:
            raise SummaryInvalid(f"{len(encoded):,} collections in one slot are too many; use more slots")
        return _LENGTH.pack(len(raw)) + zlib.compress(raw, _LEVEL)


def of(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Totals:
    """Totals from rows of name and (files, bytes, files of unknown size)."""
    numbers = np.array([numbers for _, numbers in rows], dtype=np.int64).reshape(-1, 3).T
    return Totals([name for name, _ in rows], numbers)


def from_bytes(body: bytes) -> Totals:
    """The totals of a body. Raises SummaryInvalid: length, names, or numbers that cannot be."""
    raw = _inflated(body)
    (count,) = _LENGTH.unpack_from(raw)
    names_at = _LENGTH.size + count * _ROW_BYTES
    if names_at > len(raw):
        raise SummaryInvalid(f"totals say {count:,} collections; there is room for fewer in {len(raw):,} bytes")
    numbers = np.frombuffer(raw, "<i8", 3 * count, _LENGTH.size).astype(np.int64).reshape(3, count)
    lengths = np.frombuffer(raw, "<u2", count, names_at - 2 * count).astype(np.int64)
    if (numbers < 0).any() or (numbers[2] > numbers[0]).any():
        raise SummaryInvalid("totals are negative, or say more files of unknown size than files")
    return Totals(_names(raw, names_at, lengths), numbers)


def checksum(digests: Digests, numbers: Numbers) -> int:
    """What these collections add to the checksum of their slot; those with 0 files add nothing."""
    here = numbers[0] > 0
    files, size, unknown = numbers[:, here].astype(np.uint64)
    values = mix(mix(mix(mix(digests[here, 0]) ^ digests[here, 1]) + files * _ONE) ^ size)
    return int(mix(values + unknown * _TWO).sum(dtype=np.uint64))


def _inflated(body: bytes) -> bytes:
    """What a body holds. It is inflated no further than it says, and not where it says too much."""
    if len(body) < _LENGTH.size:
        raise SummaryInvalid(f"totals are {len(body)} bytes long; expected at least {_LENGTH.size}")
    (length,) = _LENGTH.unpack_from(body)
    if not _LENGTH.size <= length <= INFLATED_BYTES_MAX:
        raise SummaryInvalid(f"totals say {length:,} bytes; expected {_LENGTH.size} to {INFLATED_BYTES_MAX:,}")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(body[_LENGTH.size :], length)
    except zlib.error as wrong:
        raise SummaryInvalid(f"totals cannot be inflated: {wrong}") from wrong
    if len(raw) != length or not inflate.eof or inflate.unused_data:
        raise SummaryInvalid(f"totals say {length:,} bytes; there are others")
    return raw


def _names(raw: bytes, start: int, lengths: NDArray[np.int64]) -> list[str]:
    ends = start + np.cumsum(lengths)
    if (ends[-1] if len(ends) else start) != len(raw):
        raise SummaryInvalid("the names of totals are not as long as they say")
    try:
        found = [raw[end - length : end].decode() for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        names.require_all(found, "collection")
    except (UnicodeDecodeError, NameInvalid) as wrong:
        raise SummaryInvalid(f"a name of the totals is none: {wrong}") from wrong
    if len(set(found)) != len(found):
        raise SummaryInvalid("a collection stands twice in the totals")
    return found


def digests_of(totals: Totals) -> Digests:
    """The digests of the collections' names, shape (n, 2)."""
    return digest.of(totals.names)
