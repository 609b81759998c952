"""A list of files in place of real ones: tab-separated lines of lfn, size, checksum and collection, also compressed.

The first line may be a heading. Copies are dealt out to the sites by the digest of the name, under addresses that
nobody opens.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from reploc import digest, names
from reploc.demo.files import dealt
from reploc.demo.truth import Expected
from reploc.errors import ConfigInvalid
from reploc.wire import MappingItem

#: Lines of one list: the story looks every name up several times, within three minutes.
LINES_MAX = 500_000


def read(path: Path, sites: tuple[str, ...]) -> dict[str, list[MappingItem]]:
    """What each site is to register. Raises ConfigInvalid naming the line that is wrong."""
    items: dict[str, list[MappingItem]] = {site: [] for site in sites}
    with _text(path) as lines:
        rows = list(_rows(path, lines))
    draws = digest.of([row.lfn for row in rows])[:, 1].tolist()
    for row, draw in zip(rows, draws, strict=True):
        for site in dealt(draw, sites):
            pfn = f"root://{site}.example.org/{row.lfn}"
            items[site].append(MappingItem(row.lfn, pfn, row.size, row.checksum, row.collection))
    return items


def truth(items: dict[str, list[MappingItem]]) -> dict[str, Expected]:
    """The account of the same files by LFN."""
    account: dict[str, Expected] = {}
    for site, mappings in items.items():
        for item in mappings:
            of = account.setdefault(item.lfn, Expected(item.size, item.checksum, {}))
            of.pfns[site] = item.pfn
    return account


def _rows(path: Path, lines: TextIO) -> Iterator[MappingItem]:
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        columns = line.rstrip("\n").split("\t")
        if number == 1 and columns[0] == "lfn":
            continue
        row = _row(f"{path}:{number}", columns)
        if row.lfn in seen:
            raise ConfigInvalid(f"{path}:{number}: {row.lfn} stands twice")
        if number > LINES_MAX:
            raise ConfigInvalid(f"{path}: has over {LINES_MAX:,} lines, too many for a story of three minutes")
        seen.add(row.lfn)
        yield row


def _row(where: str, columns: list[str]) -> MappingItem:
    """A line's file, not at a site yet; an empty size, checksum or collection is unknown."""
    if len(columns) < 3:
        given = f"{len(columns)} column{'s' * (len(columns) != 1)}"
        raise ConfigInvalid(f"{where}: {given}; expected lfn, size, checksum and collection, tab-separated")
    lfn, size, checksum, *others = columns
    if size and not (size.isascii() and size.isdecimal() and len(size) < 19):
        raise ConfigInvalid(f"{where}: size is {size[:80]!r}; expected a number of bytes, or nothing")
    if fault := names.fault(lfn):
        raise ConfigInvalid(f"{where}: lfn {fault}")
    known = int(size) if size else None
    item = MappingItem(lfn, lfn, known, checksum.lower() or None, "".join(others) or None)
    if item.checksum and (fault := names.checksum_fault(item.checksum)):
        raise ConfigInvalid(f"{where}: {fault}")
    return item


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    try:
        with path.open("rb") as raw:
            if path.suffix != ".zst":
                yield io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
                return
            try:
                import zstandard
            except ImportError as wrong:
                hint = "pip install 'reploc[zstd]'"
                raise ConfigInvalid(f"{path}: zstandard is needed to read it", hint=hint) from wrong
            with zstandard.ZstdDecompressor().stream_reader(raw) as opened:
                yield io.TextIOWrapper(opened, encoding="utf-8", newline="\n")
    except OSError as wrong:
        raise ConfigInvalid(f"{path}: {wrong.strerror}") from wrong
    except UnicodeDecodeError as wrong:
        raise ConfigInvalid(f"{path}: is not UTF-8: {wrong.reason}") from wrong
