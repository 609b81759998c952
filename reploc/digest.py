"""The one hash of reploc: MurmurHash3 x64 128 (A. Appleby) of a name's UTF-8 bytes, as two 64-bit words (h1, h2).

A digest is computed once, when an LFN is registered. Its top bits choose the slot, and both words together give every
filter position (`reploc/bloom.py`). On disk a digest is 16 bytes, h1 before h2, each big-endian, so that the order of
bytes is the order of slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import mmh3
import numpy as np
from numpy.typing import NDArray

#: Bytes of one stored digest.
DIGEST_BYTES = 16

_MIX_SHIFT, _HALF = np.uint64(33), np.uint64(32)
_MIX_FIRST, _MIX_SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)

#: Shape (n, 2), dtype uint64: column 0 is h1, column 1 is h2.
Digests: TypeAlias = NDArray[np.uint64]


def of_bytes(names: Sequence[bytes]) -> Digests:
    """The digests of n encoded names, shape (n, 2)."""
    joined = b"".join(map(mmh3.mmh3_x64_128_digest, names))
    return np.frombuffer(joined, dtype="<u8").reshape(-1, 2).astype(np.uint64, copy=False)


def of(names: Sequence[str]) -> Digests:
    """The digests of n names, shape (n, 2)."""
    return of_bytes([name.encode() for name in names])


def stored(digests: Digests) -> list[bytes]:
    """Each digest as the 16 bytes that a store keeps."""
    raw = digests.astype(">u8").tobytes()
    return [raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES)]


def from_stored(raw: bytes | bytearray | memoryview) -> Digests:
    """The digests in a run of stored ones, shape (n, 2)."""
    return np.frombuffer(raw, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def slots_of(digests: Digests, slots: int) -> NDArray[np.intp]:
    """The slot of each digest, shape (n,): the top log2(slots) bits of h1. `slots` is a power of two up to 65,536."""
    bits = slots.bit_length() - 1
    if bits == 0:
        return np.zeros(len(digests), dtype=np.intp)
    return (digests[:, 0] >> np.uint64(64 - bits)).astype(np.intp)


def slot_of(digest: Digests, slots: int) -> int:
    """The same for a single digest, shape (1, 2), without the cost of an array."""
    return digest.item(0, 0) >> 65 - slots.bit_length()


def mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A full 64-bit finaliser: every input bit reaches every output bit (MurmurHash3's own, on whole arrays)."""
    mixed = _mixed(words)
    mixed ^= mixed >> _MIX_SHIFT
    return mixed


def mix_high(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The upper 32 bits of each mixed word, which the finaliser's last step would not change."""
    mixed = _mixed(words)
    mixed >>= _HALF
    return mixed


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser without its last step."""
    mixed = words ^ (words >> _MIX_SHIFT)
    mixed *= _MIX_FIRST
    mixed ^= mixed >> _MIX_SHIFT
    mixed *= _MIX_SECOND
    return mixed
