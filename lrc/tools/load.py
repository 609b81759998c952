"""The loading of a dump into a catalog: every line is validated and its mappings are registered, a batch at a time.

All mappings of a line travel in one batch and in their order, so that a catalog that is loaded from another's dump has
its PFNs in the same order. Batches are under way side by side: where two lines name one LFN, either may be first.
Attributes of the header are defined first, and one that is defined already with another type stops the load; values are
set when the mappings before them are registered.
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
from lrc.tools.dump import Header, Line, Numbered, ValueLine
from lrc.tools.pipeline import each_as_it_comes
from reploc.attributes import SetItem
from reploc.client.batches import ITEMS
from reploc.errors import InputInvalid, ReplocError
from reploc.wire import ItemError, MappingItem, Written

#: Refused lines that a summary tells in words; all are counted.
REFUSALS_TOLD_MAX = 100
#: Bytes of the lines of one batch: a batch of the longest names would otherwise be larger than a request may be.
BATCH_BYTES_MAX = 8 << 20

LoadMode: TypeAlias = Literal["put", "create"]
#: Told how many lines and bytes more are done.
Progress: TypeAlias = Callable[[int, int], None]


class Summary(Struct, frozen=True):
    """What a load did: `lines` behind the header, of which `refused` were not taken, or not whole; `mappings` and
    `values` that are now in the catalog. `refusals` tells at most 100 in words."""

    site: str
    from_site: str
    position: int
    lines: int
    refused: int
    mappings: int
    seconds: float
    mappings_per_s: float
    refusals: list[str]
    values: int = 0


class _Batch(NamedTuple):
    """Lines that are written together: mappings, or values of one kind of names."""

    lines: list[tuple[int, Line]]
    faults: list[tuple[int, ReplocError]]
    bytes: int
    values: list[tuple[int, ValueLine]]

    @property
    def kind(self) -> str | None:
        return _kind((self.lines or self.values)[0][1]) if self.lines or self.values else None


class _Item(NamedTuple):
    """One mapping and the number of its line."""

    number: int
    mapping: MappingItem


@dataclass
class _Tally:
    lines: int = 0
    refused: int = 0
    mappings: int = 0
    values: int = 0
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
        await self._define(header)
        found = batches(dump.lines(self._file, header.version))
        first = await _next(found)
        while first is not None:
            phase = _Phase(first, found)
            await each_as_it_comes(phase.batches(), self._write_batch)
            first = phase.behind
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
            values=tally.values,
        )

    async def _define(self, header: Header) -> None:
        """InputInvalid where an attribute of the dump cannot be defined."""
        if header.attributes:
            for error in (await self._access.define(header.attributes)).errors:
                raise InputInvalid(f"line 1: attributes[{error.index}]: {error.code}: {error.message}")

    async def _write_batch(self, batch: _Batch) -> None:
        tally = self._tally
        for number, wrong in batch.faults:
            tally.refuse(number, wrong.code, wrong.detail)
        refused = await (self._set(batch) if batch.values else self._register(batch))
        for number, error in refused.items():
            tally.refuse(number, error.code, error.message)
        lines = len(batch.lines) + len(batch.values) + len(batch.faults)
        tally.lines += lines
        self._progress(lines, batch.bytes)

    async def _set(self, batch: _Batch) -> dict[int, ItemError]:
        """Set values; the error of each line that has one."""
        items = [SetItem(line.name, line.attribute, line.value) for _, line in batch.values]
        written = await self._access.set_values(batch.values[0][1].of, items)
        self._tally.values += written.done
        self._tally.position = max(self._tally.position, written.position)
        return {batch.values[error.index][0]: error for error in written.errors}

    async def _register(self, batch: _Batch) -> dict[int, ItemError]:
        """Register mappings; the first error of each line that has one."""
        if self._mode == "put":
            return await self._write(_all(batch.lines), "put")
        firsts = [_Item(number, _mapping(line, line.pfns[0])) for number, line in batch.lines]
        refused = await self._write(firsts, "create")
        made = [(number, line) for number, line in batch.lines if number not in refused]
        return refused | await self._write(_all(made, first=1), "add")

    async def _write(self, items: Sequence[_Item], mode: Literal["put", "create", "add"]) -> dict[int, ItemError]:
        """Write mappings; the first error of each line that has one."""
        if not items:
            return {}
        update = self._update and mode != "create"
        written: Written = await self._access.write([item.mapping for item in items], mode, update=update)
        self._tally.mappings += written.done
        self._tally.position = max(self._tally.position, written.position)
        return {items[error.index].number: error for error in reversed(written.errors)}


class _Phase:
    """Batches of one kind, which may be written side by side; the next kind waits for the end of this one."""

    def __init__(self, first: _Batch, found: Iterator[_Batch]) -> None:
        self._first = first
        self._found = found
        #: The batch behind this phase, once it has ended.
        self.behind: _Batch | None = first

    async def batches(self) -> AsyncIterator[_Batch]:
        while self.behind is not None and self.behind.kind == self._first.kind:
            yield self.behind
            self.behind = await _next(self._found)


async def _next(found: Iterator[_Batch]) -> _Batch | None:
    return await asyncio.to_thread(next, found, None)


def batches(lines: Iterator[Numbered]) -> Iterator[_Batch]:
    """Lines of one kind put together to at most `reploc.client.batches.ITEMS` mappings or values, and never a line
    taken apart."""
    batch, items, kind = _Batch([], [], 0, []), 0, None
    for number, said, size in lines:
        more = len(said.pfns) if isinstance(said, Line) else 1
        before, kind = kind, _kind(said) or kind
        if items and (kind != before is not None or items + more > ITEMS or batch.bytes + size > BATCH_BYTES_MAX):
            yield batch
            batch, items = _Batch([], [], 0, []), 0
        if isinstance(said, Line):
            batch.lines.append((number, said))
        elif isinstance(said, ValueLine):
            batch.values.append((number, said))
        else:
            batch.faults.append((number, said))
        batch, items = batch._replace(bytes=batch.bytes + size), items + more
    if items:
        yield batch


def _kind(said: Line | ValueLine | ReplocError) -> str | None:
    """What a line is about; None of one that is wrong."""
    return said.of if isinstance(said, ValueLine) else "mappings" if isinstance(said, Line) else None


def _all(lines: Sequence[tuple[int, Line]], first: int = 0) -> list[_Item]:
    """Every mapping of the lines, from the PFN number `first` of each on."""
    return [_Item(number, _mapping(line, pfn)) for number, line in lines for pfn in line.pfns[first:]]


def _mapping(line: Line, pfn: str) -> MappingItem:
    return MappingItem(line.lfn, pfn, line.size, line.checksum, line.collection)
