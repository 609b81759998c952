"""A dump: a whole catalog as lines of JSON, the first of which says whose it is, and the last how many it has.

    {"format":"reploc-lrc-dump","version":2,"site":"CERN","position":1234,"attributes":[{"what":"lfn","name":"run",…}]}
    {"lfn":"/a/b","size":17,"checksum":"adler32:00ab12cd","collection":"/a","pfns":["file:///data/a/b"]}
    …
    {"attribute":"run","of":"lfn","name":"/a/b","value":7}
    …
    {"end":2}

Each line between is one LFN with all its PFNs in the order of their registration; size, checksum and collection may be
null or absent. LFNs come in key order. Behind them comes every value of an attribute, a line each, attribute by
attribute. `position` is where the catalog stood when the dump began: what was written later may be in it or not. A dump
of version 1 has no last line, so that nobody sees where one was cut off; who writes a list by hand, or picks lines from
a dump, says version 1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, BinaryIO, NamedTuple

import msgspec
from msgspec import Meta, Struct

from lrc.layout import PFNS_PER_LFN_MAX
from lrc.tools.access import Access, Origin
from reploc import names
from reploc.attributes import ATTRIBUTES_MAX, AttributeItem, Definition, Value, What
from reploc.errors import InputInvalid, NameInvalid, ReplocError, TooLarge
from reploc.wire import PAGE_ITEMS, Body, LfnReplica, Size

FORMAT = "reploc-lrc-dump"
#: Raised with every change that an older reader cannot read.
VERSION = 2
VERSION_WITHOUT_END = 1
#: Bytes of one line: as many of the longest PFNs as an LFN can have, with every byte escaped.
LINE_BYTES_MAX = 26 << 20

_encoder = msgspec.json.Encoder()


class Header(Struct, frozen=True):
    """The first line."""

    format: str
    version: int
    site: str
    position: int
    attributes: Annotated[list[AttributeItem], Meta(max_length=ATTRIBUTES_MAX)] = []


class Line(Body, frozen=True):
    """One LFN of a dump, whose names have been checked."""

    lfn: str
    pfns: Annotated[list[str], Meta(min_length=1, max_length=PFNS_PER_LFN_MAX)]
    size: Size | None = None
    checksum: str | None = None
    collection: str | None = None


class End(Body, frozen=True):
    """The last line: how many the dump has between it and the first."""

    end: int


class ValueLine(Body, frozen=True):
    """One value of a dump."""

    attribute: str
    of: What
    name: str
    value: Value


class Numbered(NamedTuple):
    """A line of a file by its number, from 1: what it says, or what is wrong with it."""

    number: int
    said: Line | ValueLine | ReplocError
    #: Bytes of the line with its end.
    bytes: int


_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(Line)
_value = msgspec.json.Decoder(ValueLine)
_end = msgspec.json.Decoder(End)
_END_BEGINS = b'{"end":'


def header_line(origin: Origin, attributes: Sequence[Definition]) -> bytes:
    """The first line of a catalog's dump."""
    items = [AttributeItem(one.what, one.name, one.type) for one in attributes]
    return _encoder.encode_lines([Header(FORMAT, VERSION, origin.site, origin.position, items)])


def end_line(lines: int) -> bytes:
    """The last line of a dump of so many."""
    return _encoder.encode_lines([End(lines)])


async def pieces(access: Access, attributes: Sequence[Definition]) -> AsyncIterator[tuple[bytes, int]]:
    """The lines between the first and the last of a catalog's dump, many at a time: (lines, how many)."""
    async for found in _in_pages(access.files()):
        yield found
    for one in attributes:
        async for found in _in_pages(_value_lines(access, one)):
            yield found


async def _value_lines(access: Access, of: Definition) -> AsyncIterator[ValueLine]:
    async for found in access.values(of):
        yield ValueLine(of.name, of.what, found.name, found.value)


async def _in_pages(said: AsyncIterator[LfnReplica] | AsyncIterator[ValueLine]) -> AsyncIterator[tuple[bytes, int]]:
    """Messages as lines, many at a time: (lines, how many)."""
    waiting: list[LfnReplica | ValueLine] = []
    async for one in said:
        waiting.append(one)
        if len(waiting) == PAGE_ITEMS:
            yield _encoder.encode_lines(waiting), len(waiting)
            waiting.clear()
    if waiting:
        yield _encoder.encode_lines(waiting), len(waiting)


def header(file: BinaryIO) -> Header:
    """Read the first line. InputInvalid where it is not that of a dump, or of one of another version."""
    try:
        found = _header.decode(file.readline(LINE_BYTES_MAX))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise InputInvalid(f"line 1: is not the header of a dump: {wrong}") from wrong
    if found.format != FORMAT:
        raise InputInvalid(f"line 1: format is {found.format[:80]!r}; expected {FORMAT!r}")
    if found.version not in (VERSION, VERSION_WITHOUT_END):
        raise InputInvalid(f"line 1: version is {found.version}; this reploc reads {VERSION} and {VERSION_WITHOUT_END}")
    return found


def lines(file: BinaryIO, version: int) -> Iterator[Numbered]:
    """Every line behind the header, decoded and validated; empty ones are left out.

    The last line is not among them; where it is not there, or is not true, one more says so, under the number of the
    last line that was read, or of the one that is lacking.
    """
    number, count = 1, 0
    last, count_at_last = b"", 0
    while raw := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        size = len(raw)
        if raw.isspace():
            continue
        if version == VERSION and raw.startswith(_END_BEGINS):
            last, count_at_last = raw, count
            continue
        count += 1
        if size > LINE_BYTES_MAX:
            size += _skip_line(file)
            yield Numbered(number, TooLarge(f"is over {LINE_BYTES_MAX >> 20} MiB long"), size)
        else:
            yield Numbered(number, _read(raw), size)
    if version == VERSION and (fault := _fault_of_end(last, count_at_last, count)):
        yield Numbered(number + (not last), InputInvalid(fault), 0)


def _fault_of_end(last: bytes, count_at_last: int, count: int) -> str:
    """What is wrong with the last line of a dump in which so many lines were before it, and in all; or empty text."""
    if not last:
        return f"is not there: the dump was cut short after {count:,} lines"
    if count > count_at_last:
        return f"says that the dump ends, but {count - count_at_last:,} lines follow"
    try:
        said = _end.decode(last).end
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        return f"is not the end of a dump: {wrong}"
    return "" if said == count else f"says that the dump has {said:,} lines, but there are {count:,}"


def _skip_line(file: BinaryIO) -> int:
    skipped = 0
    while rest := file.readline(LINE_BYTES_MAX):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _read(raw: bytes) -> Line | ValueLine | ReplocError:
    try:
        line = _line.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as wrong:
        return _read_value(raw) if b'"attribute"' in raw else InputInvalid(str(wrong))
    fault = _fault(line)
    return line if fault is None else NameInvalid(fault)


def _read_value(raw: bytes) -> ValueLine | ReplocError:
    try:
        return _value.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as wrong:
        return InputInvalid(str(wrong))


def _fault(line: Line) -> str | None:
    """What is wrong with the names of a line, or its checksum."""
    if wrong := names.fault(line.lfn):
        return f"lfn {wrong}"
    for index, wrong in names.faults(line.pfns).items():
        return f"pfns[{index}] {wrong}"
    if line.collection is not None and (wrong := names.fault(line.collection)):
        return f"collection {wrong}"
    return None if line.checksum is None else names.checksum_fault(line.checksum.lower())
