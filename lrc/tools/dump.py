"""A dump: a whole catalog as lines of JSON, the first of which says whose it is.

    {"format":"reploc-lrc-dump","version":1,"site":"CERN","position":1234}
    {"lfn":"/a/b","size":17,"checksum":"adler32:00ab12cd","collection":"/a","pfns":["file:///data/a/b"]}
    …

Each further line is one LFN with all its PFNs in the order of their registration; size, checksum and collection may be
null or absent. LFNs come in key order. `position` is where the catalog stood when the dump began: what was written
later may be in it or not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, BinaryIO, NamedTuple

import msgspec
from msgspec import Meta, Struct

from lrc.layout import PFNS_PER_LFN_MAX
from lrc.tools.access import Access, Origin
from reploc import names
from reploc.errors import InputInvalid, NameInvalid, ReplocError, TooLarge
from reploc.wire import PAGE_ITEMS, Body, LfnReplica, Size

FORMAT = "reploc-lrc-dump"
#: Raised with every change that an older reader cannot read.
VERSION = 1
#: Bytes of one line: as many of the longest PFNs as an LFN can have, with every byte escaped.
LINE_BYTES_MAX = 26 << 20

_encoder = msgspec.json.Encoder()


class Header(Struct, frozen=True):
    """The first line."""

    format: str
    version: int
    site: str
    position: int


class Line(Body, frozen=True):
    """One LFN of a dump, whose names have been checked."""

    lfn: str
    pfns: Annotated[list[str], Meta(min_length=1, max_length=PFNS_PER_LFN_MAX)]
    size: Size | None = None
    checksum: str | None = None
    collection: str | None = None


class Numbered(NamedTuple):
    """A line of a file by its number, from 1: what it says, or what is wrong with it."""

    number: int
    said: Line | ReplocError
    #: Bytes of the line with its end.
    bytes: int


_header = msgspec.json.Decoder(Header)
_line = msgspec.json.Decoder(Line)


def header_line(origin: Origin) -> bytes:
    """The first line of a catalog's dump."""
    return _encoder.encode_lines([Header(FORMAT, VERSION, origin.site, origin.position)])


async def pieces(access: Access) -> AsyncIterator[tuple[bytes, int]]:
    """The further lines of a catalog's dump, many at a time: (lines, how many)."""
    waiting: list[LfnReplica] = []
    async for file in access.files():
        waiting.append(file)
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
    if found.version != VERSION:
        raise InputInvalid(f"line 1: version is {found.version}; this reploc reads {VERSION}")
    return found


def lines(file: BinaryIO) -> Iterator[Numbered]:
    """Every line behind the header, decoded and validated; empty ones are left out."""
    number = 1
    while raw := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        size = len(raw)
        if size > LINE_BYTES_MAX:
            size += _skip_line(file)
            yield Numbered(number, TooLarge(f"is over {LINE_BYTES_MAX >> 20} MiB long"), size)
        elif not raw.isspace():
            yield Numbered(number, _read(raw), size)


def _skip_line(file: BinaryIO) -> int:
    skipped = 0
    while rest := file.readline(LINE_BYTES_MAX):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _read(raw: bytes) -> Line | ReplocError:
    try:
        line = _line.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as wrong:
        return InputInvalid(str(wrong))
    fault = _fault(line)
    return line if fault is None else NameInvalid(fault)


def _fault(line: Line) -> str | None:
    """What is wrong with the names of a line, or its checksum."""
    if wrong := names.fault(line.lfn):
        return f"lfn {wrong}"
    for index, wrong in names.faults(line.pfns).items():
        return f"pfns[{index}] {wrong}"
    if line.collection is not None and (wrong := names.fault(line.collection)):
        return f"collection {wrong}"
    return None if line.checksum is None else names.checksum_fault(line.checksum.lower())
