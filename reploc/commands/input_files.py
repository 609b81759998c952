"""What commands read: names, mappings or values, one a line, as tab-separated text or as NDJSON.

Tab-separated columns are, in this order, LFN, PFN, size, checksum, collection; later ones may be left out, and empty
ones are unknown. Names hold no tab, so nothing is quoted. An NDJSON line is an object with those names as keys. Empty
lines are skipped. Files are read line by line, however long they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Generic, Literal, TypeAlias, TypeVar

import msgspec

from reploc import names
from reploc.attributes import AttributeType, RemoveItem, SetItem, from_text
from reploc.errors import InputInvalid, ValueInvalid
from reploc.wire import DeleteItem, MappingItem

T = TypeVar("T")

Form: TypeAlias = Literal["tsv", "ndjson"]

#: Bytes of one line: three of the longest names, each character written as an escape.
LINE_BYTES_MAX = 128 << 10
#: Columns of a tab-separated line.
COLUMNS = ("lfn", "pfn", "size", "checksum", "collection")
#: Items that a command holds at once: enough for a few requests side by side.
CHUNK_ITEMS = 8_000


@dataclass(frozen=True, slots=True)
class Line(Generic[T]):
    """One item with the place where it stands, for messages."""

    where: str
    item: T


class _NameLine(msgspec.Struct, frozen=True):
    """A line that names an LFN; what else it says is of no interest."""

    lfn: str


def lfns_in(file: BinaryIO, form: Form | None = None) -> Iterator[Line[str]]:
    """The LFNs of a file: the first column, or the key `lfn`. Raises InputInvalid with file and line."""
    return _items(file, form, _NameLine, lambda columns: _NameLine(columns[0]), lambda found: found.lfn)


def mappings_in(file: BinaryIO, form: Form | None = None) -> Iterator[Line[MappingItem]]:
    """The mappings of a file, to register. Raises InputInvalid with file and line."""
    return _items(file, form, MappingItem, _mapping, lambda item: item)


def deletions_in(file: BinaryIO, form: Form | None = None) -> Iterator[Line[DeleteItem]]:
    """The mappings of a file, to delete: LFN and PFN, or an LFN alone. Raises InputInvalid with file and line."""
    return _items(file, form, DeleteItem, _deletion, lambda item: item)


def set_values_in(
    file: BinaryIO, kinds: Mapping[str, AttributeType], form: Form | None = None
) -> Iterator[Line[SetItem]]:
    """The values of a file, to set: name, attribute and value, which as text is of that attribute's type in `kinds`.

    Raises InputInvalid with file and line.
    """
    return _items(file, form, SetItem, lambda columns: _set_item(columns, kinds), lambda item: item)


def removed_values_in(file: BinaryIO, form: Form | None = None) -> Iterator[Line[RemoveItem]]:
    """The values of a file, to remove: name and attribute, or a name alone. Raises InputInvalid with file and line."""
    return _items(file, form, RemoveItem, _remove_item, lambda item: item)


def chunks(lines: Iterator[Line[T]], size: int = CHUNK_ITEMS) -> Iterator[list[Line[T]]]:
    """The lines, `size` at a time."""
    while chunk := list(islice(lines, size)):
        yield chunk


S = TypeVar("S", bound=msgspec.Struct)


def _items(
    file: BinaryIO, form: Form | None, kind: type[S], from_columns: Callable[[Sequence[str]], S], item: Callable[[S], T]
) -> Iterator[Line[T]]:
    decoder = msgspec.json.Decoder(kind)
    name = getattr(file, "name", "input")
    as_json = (form or _form_of(str(name))) == "ndjson"
    for where, raw in _lines(file, str(name)):
        try:
            found = decoder.decode(raw) if as_json else from_columns(raw.decode().split("\t"))
        except UnicodeDecodeError as wrong:
            raise InputInvalid(f"{where}: is not UTF-8 at byte {wrong.start}") from wrong
        except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
            raise InputInvalid(f"{where}: {wrong}") from wrong
        yield Line(where, item(found))


def _form_of(name: str) -> Form:
    return "ndjson" if name.endswith((".ndjson", ".jsonl")) else "tsv"


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Each line that is not empty, without its end, and where it stands."""
    number = 0
    while raw := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        where = f"{name} line {number}"
        if len(raw) > LINE_BYTES_MAX:
            raise InputInvalid(f"{where}: is over {LINE_BYTES_MAX:,} bytes long")
        if line := raw.rstrip(b"\r\n"):
            yield where, line


def _mapping(columns: Sequence[str]) -> MappingItem:
    if not 2 <= len(columns) <= len(COLUMNS):
        raise ValueError(f"has {len(columns)} columns; expected {', '.join(COLUMNS)} (the last three may be left out)")
    lfn, pfn, size, checksum, collection = [*columns, "", "", ""][: len(COLUMNS)]
    if size and not (size.isascii() and size.isdecimal()):
        raise ValueError(f"size {size[:40]!r} is not a whole number of bytes")
    return MappingItem(lfn, pfn, int(size) if size else None, checksum or None, collection or None)


def _deletion(columns: Sequence[str]) -> DeleteItem:
    if len(columns) > len(COLUMNS):
        raise ValueError(f"has {len(columns)} columns; expected lfn and pfn, or lfn alone")
    return DeleteItem(columns[0], columns[1] if len(columns) > 1 and columns[1] else None)


def _set_item(columns: Sequence[str], kinds: Mapping[str, AttributeType]) -> SetItem:
    if len(columns) != 3:
        raise ValueError(f"has {len(columns)} columns; expected name, attribute, value")
    name, attribute, text = columns
    try:
        return SetItem(name, attribute, from_text(kinds.get(attribute, "text"), text))
    except ValueInvalid as wrong:
        raise ValueError(wrong.detail) from None


def _remove_item(columns: Sequence[str]) -> RemoveItem:
    if len(columns) > 2:
        raise ValueError(f"has {len(columns)} columns; expected name and attribute, or name alone")
    return RemoveItem(columns[0], columns[1] if len(columns) > 1 and columns[1] else None)


def named(lfns: Sequence[str]) -> Iterator[Line[str]]:
    """LFNs given on the command line."""
    for number, lfn in enumerate(lfns, 1):
        if wrong := names.fault(lfn):
            raise InputInvalid(f"LFN {number} on the command line {wrong}")
        yield Line(f"LFN {number}", lfn)
