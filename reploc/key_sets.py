"""Sets of keys as the bodies of summaries: of 64-bit fingerprints, and of whole names.

    fingerprint:  count u32 | fingerprints u64 … | fingerprints that are gone u64 …                little-endian
    list:         count u32 | names gone u32 | all names, squeezed as in `reploc/squeezed.py`; those gone stand last

Whole, a body holds every key of its slot and none that is gone; as an increment the keys that came or went since its
base, as they are now. A fingerprint is the first word of an LFN's digest. The checksum of a slot is the sum, mod
2⁶⁴, of a mixed value per key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from reploc import digest
from reploc.digest import mix
from reploc.errors import SummaryInvalid
from reploc.squeezed import inflated, names_from_bytes, names_to_bytes, squeezed

Fingerprints = NDArray[np.uint64]

_COUNT, _COUNTS = Struct("<I"), Struct("<II")
_FINGERPRINT_BYTES = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class FingerprintSet:
    """Distinct fingerprints that are here, ascending, and those that are gone, ascending; no one is both."""

    here: Fingerprints
    gone: Fingerprints

    def to_bytes(self) -> bytes:
        """The set as it travels."""
        return _COUNT.pack(len(self.here)) + self.here.astype("<u8").tobytes() + self.gone.astype("<u8").tobytes()


@dataclass(frozen=True)
class NameSet:
    """Distinct names that are here, and those that are gone."""

    here: list[str]
    gone: list[str]

    def to_bytes(self) -> bytes:
        """The set as it travels. Raises SummaryInvalid: it is too much for one summary."""
        counts = _COUNTS.pack(len(self.here) + len(self.gone), len(self.gone))
        return squeezed(counts + names_to_bytes([*self.here, *self.gone]))


def fingerprints_from_bytes(body: bytes) -> FingerprintSet:
    """The set of a body. Raises SummaryInvalid: length, order, or one that is both here and gone."""
    if len(body) < _COUNT.size or (len(body) - _COUNT.size) % _FINGERPRINT_BYTES:
        raise SummaryInvalid(f"fingerprints are {len(body)} bytes long; expected {_COUNT.size} and 8 for each")
    (count,) = _COUNT.unpack_from(body)
    found = np.frombuffer(body, "<u8", offset=_COUNT.size).astype(np.uint64)
    if count > len(found):
        raise SummaryInvalid(f"summary says {count:,} fingerprints; there are {len(found):,}")
    here, gone = found[:count], found[count:]
    ascend = all(bool((part[1:] > part[:-1]).all()) for part in (here, gone))
    if not ascend or (len(gone) and np.isin(gone, here).any()):
        raise SummaryInvalid("fingerprints are out of order, or both here and gone")
    return FingerprintSet(here, gone)


def names_from(body: bytes) -> NameSet:
    """The set of a body. Raises SummaryInvalid: length, or names that are none or stand twice."""
    raw = inflated(body, least=_COUNTS.size)
    count, gone = _COUNTS.unpack_from(raw)
    if gone > count:
        raise SummaryInvalid(f"summary says {gone:,} names gone of {count:,}")
    found = names_from_bytes(raw, _COUNTS.size, count)
    return NameSet(found[: count - gone], found[count - gone :])


def checksum_of_fingerprints(keys: Fingerprints) -> int:
    """What these distinct fingerprints add to the checksum of their slot."""
    return int(mix(keys + _GOLDEN).sum(dtype=np.uint64))


def checksum_of_names(names: Sequence[str]) -> int:
    """What these distinct names add to the checksum of their slot."""
    if not names:
        return 0
    digests = digest.of(names)
    return int(mix(mix(digests[:, 0]) ^ digests[:, 1]).sum(dtype=np.uint64))
