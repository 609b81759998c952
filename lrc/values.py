"""The values of one name as bytes, and a value as bytes in its order: pure.

The values of an LFN or PFN are a MessagePack map from attribute id to value, in the order of ids, or nothing at all. In
the value index a key is an attribute's id and its value as bytes whose order is that of the values:

    int, time   the number and 2⁶³, big-endian (8)
    float       IEEE 754, big-endian (8): the sign bit flipped of a positive one, all bits of a negative one
    text        UTF-8, whose order is that of code points; of a long one the first 507 bytes

so that a comparison is one range of keys. Texts that share their first 507 bytes share a key, and are told apart by
their names' own values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from lrc import layout
from reploc import attributes, names
from reploc.attributes import VALUES_PER_NAME_MAX, AttributeType, Kept, SearchBody
from reploc.errors import AttributesFull, DigestCollision, ValueInvalid

#: Attribute id → value.
ByAttribute: TypeAlias = dict[int, Kept]

#: Bytes of a text in a key: one less than there is room for, so that a key with so many is known to be cut.
TEXT_KEY_BYTES_MAX = layout.KEY_BYTES_MAX - layout.ATTRIBUTE_ID_BYTES - 1
#: Behind every value: no byte of UTF-8 is so large, and the numbers are nine bytes short of it.
_END = b"\xff" * 9
_OFFSET, _SIGN, _ALL = 1 << 63, 1 << 63, (1 << 64) - 1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, int | float | str]).decode


def encoded(values: Mapping[int, Kept]) -> bytes | None:
    """The values of one name as they are stored; None where there are none. AttributesFull: more than there may be."""
    if len(values) > VALUES_PER_NAME_MAX:
        raise AttributesFull(f"one name can have {VALUES_PER_NAME_MAX} values of attributes")
    return _encode(dict(sorted(values.items()))) if values else None


def decoded(stored: bytes | None) -> ByAttribute:
    """The values of one name."""
    return _decode(stored) if stored else {}


def merged(stays: bytes | None, comes: bytes | None) -> bytes | None:
    """The values of two names that become one: where both have one, that of the name that stays."""
    return encoded(decoded(comes) | decoded(stays)) if stays and comes else stays or comes


class PfnValues:
    """The values of the PFNs that a request is about, as they are and as they will be.

    #: `before` and `after` hold the same PFNs, None for one without values.
    #: `unknown` are those of them that the catalog does not hold; the key of those in `clashing` is that of another's
    #: values.
    """

    def __init__(self) -> None:
        self.before: dict[str, bytes | None] = {}
        self.after: dict[str, bytes | None] = {}
        self.unknown: set[str] = set()
        self.clashing: set[str] = set()

    def load(self, pfn: str, values: bytes | None) -> None:
        """Take in the values of a PFN as they stand in the catalog."""
        self.before[pfn] = self.after[pfn] = values

    def rename(self, old: str, new: str) -> None:
        """Decide that one PFN's values become those of another, which keeps its own.

        Raises AttributesFull, or DigestCollision where the new name's values could not be kept apart from others.
        """
        if self.after.get(old) is None:
            return
        if new in self.clashing:
            raise collision(new)
        self.after[new] = merged(self.after[new], self.after[old])
        self.after[old] = None

    def rollback(self) -> None:
        """Undo everything."""
        self.after = dict(self.before)

    def changes(self) -> list[tuple[str, bytes | None, bytes | None]]:
        """(PFN, before, after) of each PFN whose values will be others."""
        return [(pfn, old, self.after[pfn]) for pfn, old in self.before.items() if old != self.after[pfn]]


def collision(pfn: str) -> DigestCollision:
    """Why a PFN can have no values."""
    return DigestCollision(f"pfn {pfn[:200]!r} has the digest of another PFN that has values")


# ---- in order --------------------------------------------------------------------------------------------------------


def ordered(value: Kept) -> bytes:
    """A value as bytes in its order."""
    if isinstance(value, str):
        return value.encode()[: TEXT_KEY_BYTES_MAX + 1]
    if isinstance(value, int):
        return (value + _OFFSET).to_bytes(8, "big")
    bits = int.from_bytes(struct.pack(">d", value), "big")
    return ((bits ^ _ALL) if bits & _SIGN else (bits | _SIGN)).to_bytes(8, "big")


def from_ordered(kind: AttributeType, raw: bytes | memoryview) -> Kept | None:
    """The value of these bytes; None where it is a text that they are only the beginning of."""
    if kind == "text":
        return str(raw, "utf-8") if len(raw) <= TEXT_KEY_BYTES_MAX else None
    bits = int.from_bytes(raw, "big")
    if kind != "float":
        return bits - _OFFSET
    found: float = struct.unpack(">d", ((bits ^ _SIGN) if bits & _SIGN else (bits ^ _ALL)).to_bytes(8, "big"))[0]
    return found


def value_key(attribute_id: int, value: Kept) -> bytes:
    """The key of a value in the index."""
    return layout.attribute_id_key(attribute_id) + ordered(value)


# ---- searches --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """The values that a search looks at, from `first` to `last` in their order, and which of them it finds."""

    first: bytes
    last: bytes
    holds: Callable[[Kept], bool]


def search_range(body: SearchBody, kind: AttributeType) -> Range:
    """The range of a search. Raises ValueInvalid: an operand is missing, too many, or not of the attribute's type."""
    given = [body.value is not None, body.upper is not None]
    if given != [body.op != "all", body.op == "between"]:
        raise ValueInvalid(f"operator {body.op!r} takes {_OPERANDS.get(body.op, 'value')}")
    if body.value is None:
        return Range(b"", _END, lambda _: True)
    if body.op == "like":
        return _like(body.value, kind)
    operand = attributes.kept(kind, body.value)
    if body.upper is not None:
        upper = attributes.kept(kind, body.upper)
        return Range(ordered(operand), ordered(upper), lambda value: operand <= value <= upper)  # type: ignore[operator]
    return _compared(body.op, operand)


_OPERANDS = {"all": "neither value nor upper", "between": "value and upper"}


def _compared(op: str, operand: Kept) -> Range:
    place = ordered(operand)
    ranges: dict[str, Range] = {
        "=": Range(place, place, lambda value: value == operand),
        "!=": Range(b"", _END, lambda value: value != operand),
        "<": Range(b"", place, lambda value: value < operand),  # type: ignore[operator]
        "<=": Range(b"", place, lambda value: value <= operand),  # type: ignore[operator]
        ">=": Range(place, _END, lambda value: value >= operand),  # type: ignore[operator]
        ">": Range(place, _END, lambda value: value > operand),  # type: ignore[operator]
    }
    return ranges[op]


def _like(value: int | float | str, kind: AttributeType) -> Range:
    if kind != "text" or not isinstance(value, str):
        raise ValueInvalid(f"like compares text, and the attribute is of type {kind}")
    pattern = names.like(value)
    prefix = pattern.prefix.encode()[:TEXT_KEY_BYTES_MAX]
    return Range(prefix, prefix + _END, lambda found: pattern.matches(str(found)))
