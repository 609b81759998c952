"""The loading of a dump into a catalog: every line is validated and its mappings are registered, a batch at a time.

All mappings of a line travel in one batch and in their order, so that a catalog that is loaded from another's dump has
its PFNs in the same order. Batches are under way side by side: where two lines name one LFN, either may be first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from lrc.tools import dump
from lrc.tools.access import Access
from lrc.tools.dump import Line, Numbered
from lrc.tools.pipeline import each_as_it_comes
from reploc.client.batches import ITEMS
from reploc.errors import ReplocError
from reploc.wire import ItemError, MappingItem, Written

#: Refused lines that a summary tells in words; all are counted.
REFUSALS_TOLD_MAX = 100
#: Bytes of the lines of one batch: a batch of the longest names would otherwise be larger than a request may be.
BATCH_BYTES_MAX = 8 << 20

LoadMode: TypeAlias = Literal["put", "create"]
#: Told how many lines and bytes more are done.
Progress: TypeAlias = Callable[[int, int], None]


class Summary(Struct, frozen=True):
    """What a load did: `lines` behind the header, of which `refused` were not taken, or not whole; `mappings` that are
    now in the catalog. `refusals` tells at most 100 in words."""

    site: str
    from_site: str
    position: int
    lines: int
    refused: int
    mappings: int
    seconds: float
    mappings_per_s: float
    refusals: list[str]


class _Batch(NamedTuple):
    """Lines that are registered together."""

    lines: list[tuple[int, Line]]
    faults: list[tuple[int, ReplocError]]
    bytes: int


class _Item(NamedTuple):
    """One mapping and the number of its line."""

    number: int
    mapping: MappingItem


@dataclass
class _Tally:
    lines: int = 0
    refused: int = 0
    mappings: int = 0
    position: int = 0
    told: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, number: int, code: str, message: str) -> None:
        self.refused += 1
        if len(self.told) < REFUSALS_TOLD_MAX:
            self.told.append((number, f"line {number}: {code}: {message}"))


class Load:
    """One load of the dump in `file`; `run` it once."""

    def __init__(self, file: BinaryIO, access: Access, mode: LoadMode, update: bool, progress: Progress) -> None:
        self._file = file
        self._access = access
        self._mode = mode
        self._update = update
        self._progress = progress
        self._tally = _Tally()

    async def run(self) -> Summary:
        """Register every line. Raises InputInvalid for a file that is no dump, before anything is written."""
        started = time.monotonic()
        header = await asyncio.to_thread(dump.header, self._file)
        origin = await self._access.origin()
        self._tally.position = origin.position
        await each_as_it_comes(self._batches(header.version), self._register)
        seconds, tally = time.monotonic() - started, self._tally
        return Summary(
            site=origin.site,
            from_site=header.site,
            position=tally.position,
            lines=tally.lines,
            refused=tally.refused,
            mappings=tally.mappings,
            seconds=seconds,
            mappings_per_s=tally.mappings / max(seconds, 1e-9),
            refusals=[words for _, words in sorted(tally.told)],
        )

    async def _batches(self, version: int) -> AsyncIterator[_Batch]:
        found = batches(dump.lines(self._file, version))
        while (batch := await asyncio.to_thread(next, found, None)) is not None:
            yield batch

    async def _register(self, batch: _Batch) -> None:
        tally = self._tally
        tally.lines += len(batch.lines) + len(batch.faults)
        for number, wrong in batch.faults:
            tally.refuse(number, wrong.code, wrong.detail)
        firsts = [_Item(number, _mapping(line, line.pfns[0])) for number, line in batch.lines]
        if self._mode == "put":
            refused = await self._write(_all(batch.lines), "put")
        else:
            refused = await self._write(firsts, "create")
            made = [(number, line) for number, line in batch.lines if number not in refused]
            refused |= await self._write(_all(made, first=1), "add")
        for number, error in refused.items():
            tally.refuse(number, error.code, error.message)
        self._progress(len(batch.lines) + len(batch.faults), batch.bytes)

    async def _write(self, items: Sequence[_Item], mode: Literal["put", "create", "add"]) -> dict[int, ItemError]:
        """Write mappings; the first error of each line that has one."""
        if not items:
            return {}
        update = self._update and mode != "create"
        written: Written = await self._access.write([item.mapping for item in items], mode, update=update)
        self._tally.mappings += written.done
        self._tally.position = max(self._tally.position, written.position)
        return {items[error.index].number: error for error in reversed(written.errors)}


def batches(lines: Iterator[Numbered]) -> Iterator[_Batch]:
    """Lines put together to at most `reploc.client.batches.ITEMS` mappings, and never a line taken apart."""
    batch, items = _Batch([], [], 0), 0
    for number, said, size in lines:
        more = len(said.pfns) if isinstance(said, Line) else 1
        if items and (items + more > ITEMS or batch.bytes + size > BATCH_BYTES_MAX):
            yield batch
            batch, items = _Batch([], [], 0), 0
        if isinstance(said, Line):
            batch.lines.append((number, said))
        else:
            batch.faults.append((number, said))
        batch, items = batch._replace(bytes=batch.bytes + size), items + more
    if items:
        yield batch


def _all(lines: Sequence[tuple[int, Line]], first: int = 0) -> list[_Item]:
    """Every mapping of the lines, from the PFN number `first` of each on."""
    return [_Item(number, _mapping(line, pfn)) for number, line in lines for pfn in line.pfns[first:]]


def _mapping(line: Line, pfn: str) -> MappingItem:
    return MappingItem(line.lfn, pfn, line.size, line.checksum, line.collection)
