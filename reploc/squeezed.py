"""Names in the body of a summary, squeezed: how many bytes they are when inflated, and never more than that.

body:    length of what follows when it is inflated u32 | zlib of it                           little-endian
names:   length of each in bytes u16 … | UTF-8 …
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from struct import Struct

import numpy as np

from reploc import names
from reploc.errors import NameInvalid, SummaryInvalid

#: Bytes of one body when it is inflated: a million usual names. A slot with more needs an index with more slots.
INFLATED_BYTES_MAX = 64 << 20
#: How hard bodies are squeezed: beyond the first level a second of work saves a tenth of the bytes.
_LEVEL = 1
#: Bytes of the length that stands before each name's bytes.
LENGTH_BYTES = 2

_LENGTH = Struct("<I")


def squeezed(raw: bytes) -> bytes:
    """A body. Raises SummaryInvalid: it is too much for one summary."""
    if len(raw) > INFLATED_BYTES_MAX:
        raise SummaryInvalid(f"a slot with {len(raw):,} bytes of names is too full; use more slots")
    return _LENGTH.pack(len(raw)) + zlib.compress(raw, _LEVEL)


def inflated(body: bytes, least: int) -> bytes:
    """What a body holds, at least so many bytes. It is inflated no further than it says, and not if it says too much.

    Raises SummaryInvalid.
    """
    if len(body) < _LENGTH.size:
        raise SummaryInvalid(f"summary is {len(body)} bytes long; expected at least {_LENGTH.size}")
    (length,) = _LENGTH.unpack_from(body)
    if not least <= length <= INFLATED_BYTES_MAX:
        raise SummaryInvalid(f"summary says {length:,} bytes; expected {least} to {INFLATED_BYTES_MAX:,}")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(body[_LENGTH.size :], length)
    except zlib.error as wrong:
        raise SummaryInvalid(f"summary cannot be inflated: {wrong}") from wrong
    if len(raw) != length or not inflate.eof or inflate.unused_data:
        raise SummaryInvalid(f"summary says {length:,} bytes; there are others")
    return raw


def names_to_bytes(named: Sequence[str]) -> bytes:
    """Names as they stand in a body."""
    encoded = [name.encode() for name in named]
    return np.array([len(name) for name in encoded], dtype="<u2").tobytes() + b"".join(encoded)


def names_from_bytes(raw: bytes, start: int, count: int) -> list[str]:
    """The distinct names from `start` to the end. Raises SummaryInvalid: length, characters, or one twice."""
    first = start + LENGTH_BYTES * count
    if first > len(raw):
        raise SummaryInvalid(f"summary says {count:,} names; there is room for fewer in {len(raw):,} bytes")
    lengths = np.frombuffer(raw, "<u2", count, start).astype(np.int64)
    ends = first + np.cumsum(lengths)
    if (ends[-1] if count else first) != len(raw):
        raise SummaryInvalid("the names of a summary are not as long as they say")
    try:
        found = [raw[end - length : end].decode() for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        names.require_all(found, "names")
    except (UnicodeDecodeError, NameInvalid) as wrong:
        raise SummaryInvalid(f"a name of a summary is none: {wrong}") from wrong
    if len(set(found)) != len(found):
        raise SummaryInvalid("a name stands twice in a summary")
    return found
