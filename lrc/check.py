"""The check of a catalog: every table against the others, in both directions, and every total against its sum.

What must hold, of what `lrc/layout.py` draws:

* a record lies under its LFN's key, has 1 to 1,000 distinct PFNs, and holds its LFN exactly where the key does not;
* each PFN of a record has its row, each LFN its digest, each LFN of a collection its member row; and no other rows;
* a collection has files, its totals are the sums over them, and its id names it and no other;
* the totals in the state are the sums over the records.

One snapshot is read from end to end, or totals could not be compared; beside a live writer the store may grow for as
long as the check takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from lrc import layout
from lrc.catalog import Catalog
from lrc.layout import StoredCollection, StoredRecord
from lrc.reads import View, lfn_of
from reploc import digest, names

#: Findings that a report lists; the others are counted. A damaged index would otherwise list every row.
FINDINGS_MAX = 100
#: Rows between two calls of the progress callback.
PROGRESS_ROWS = 10_000

#: Told now and then: rows looked at, rows in all.
Progress: TypeAlias = Callable[[int, int], None]

_TABLES = (layout.LFN, layout.PFN, layout.DIGEST, layout.MEMBER, layout.COLLECTION, layout.COLLECTION_NAME)


@dataclass(frozen=True)
class Report:
    """What a check found: at most FINDINGS_MAX in words, and how many there were."""

    lfns: int
    mappings: int
    collections: int
    findings: list[str]
    found: int

    @property
    def sound(self) -> bool:
        return self.found == 0


def check(catalog: Catalog, progress: Progress | None = None) -> Report:
    """Verify every invariant of the catalog in one snapshot."""
    with catalog.view() as view:
        inspection = _Inspection(view, progress or (lambda _done, _all: None))
        for walk in (inspection.lfns, inspection.pfns, inspection.digests, inspection.members, inspection.collections):
            walk()
        inspection.totals()
        return inspection.report()


@dataclass
class _Sums:
    """What a collection's files add up to."""

    files: int = 0
    bytes: int = 0
    files_of_unknown_size: int = 0


@dataclass
class _Inspection:
    view: View
    progress: Progress
    findings: list[str] = field(default_factory=list)
    found: int = 0
    seen_rows: int = 0
    seen_lfns: int = 0
    seen_mappings: int = 0
    seen_collections: int = 0

    def __post_init__(self) -> None:
        self.all_rows = sum(self._entries(table) for table in _TABLES)

    def report(self) -> Report:
        return Report(self.seen_lfns, self.seen_mappings, self.seen_collections, self.findings, self.found)

    def _entries(self, table: layout.Table) -> int:
        return self.view.txn.stat(self.view.store.tables[table.name])["entries"]

    def _say(self, words: str) -> None:
        self.found += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(words)

    def _rows(self, table: layout.Table) -> Iterator[tuple[bytes, bytes]]:
        with self.view.cursor(table) as cursor:
            for key, value in cursor.iternext():
                self.seen_rows += 1
                if self.seen_rows % PROGRESS_ROWS == 0:
                    self.progress(self.seen_rows, self.all_rows)
                yield bytes(key), bytes(value)

    def _has(self, table: layout.Table, key: bytes, value: bytes) -> bool:
        with self.view.cursor(table) as cursor:
            return cursor.set_key_dup(key, value)

    # ---- records -----------------------------------------------------------------------------------------------------

    def lfns(self) -> None:
        """Each record by itself, and every row that it implies."""
        for key, value in self._rows(layout.LFN):
            self.seen_lfns += 1
            try:
                stored = layout.decode_record(value)
                lfn = lfn_of(key, stored)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._say(f"record {_shown(key)} cannot be read: {error}")
                continue
            self.seen_mappings += len(stored.pfns)
            self._record(key, lfn, stored)
            self._implied(key, lfn, stored)

    def _record(self, key: bytes, lfn: str, stored: StoredRecord) -> None:
        if wrong := names.fault(lfn):
            self._say(f"lfn {_shown(lfn)} {wrong}")
        elif layout.key(lfn) != key:
            self._say(f"lfn {_shown(lfn)} lies under another key, {_shown(key)}")
        if layout.is_whole(key) != (stored.lfn is None):
            self._say(f"the record of lfn {_shown(lfn)} {'repeats' if stored.lfn else 'lacks'} the name")
        if not 1 <= len(stored.pfns) <= layout.PFNS_PER_LFN_MAX:
            self._say(f"lfn {_shown(lfn)} has {len(stored.pfns):,} PFNs; expected 1 to {layout.PFNS_PER_LFN_MAX:,}")
        if len(set(stored.pfns)) != len(stored.pfns):
            self._say(f"lfn {_shown(lfn)} has a PFN twice")
        for pfn, wrong in ((stored.pfns[at], wrong) for at, wrong in names.faults(stored.pfns).items()):
            self._say(f"pfn {_shown(pfn)} of lfn {_shown(lfn)} {wrong}")
        if stored.checksum is not None and (wrong := names.checksum_fault(stored.checksum)):
            self._say(f"lfn {_shown(lfn)}: {wrong}")
        if stored.size is not None and stored.size < 0:
            self._say(f"lfn {_shown(lfn)} has size {stored.size}")

    def _implied(self, key: bytes, lfn: str, stored: StoredRecord) -> None:
        for pfn in stored.pfns:
            if not self._has(layout.PFN, layout.key(pfn), key):
                self._say(f"pfn {_shown(pfn)} of lfn {_shown(lfn)} is not in the pfn table")
        (own,) = digest.stored(digest.of([lfn]))
        if not self._has(layout.DIGEST, layout.digest_key(own), own):
            self._say(f"the digest of lfn {_shown(lfn)} is not in the digest table")
        if stored.collection and not self._has(layout.MEMBER, layout.id_key(stored.collection), key):
            self._say(f"lfn {_shown(lfn)} is not among the members of its collection {stored.collection}")

    # ---- indexes -----------------------------------------------------------------------------------------------------

    def _indexed(self, lfn_key: bytes, table: layout.Table) -> StoredRecord | None:
        """The record that an index row names, None where there is none or it has been said to be unreadable."""
        value = self.view.txn.get(lfn_key, db=self.view.store.tables["lfn"])
        if value is None:
            self._say(f"the {table.name} table names lfn key {_shown(lfn_key)}, which is not there")
            return None
        try:
            return layout.decode_record(value)
        except msgspec.MsgspecError:
            return None

    def pfns(self) -> None:
        """Each row's LFN has a PFN of that key."""
        for pfn_key, lfn_key in self._rows(layout.PFN):
            stored = self._indexed(lfn_key, layout.PFN)
            if stored is not None and pfn_key not in layout.keys(stored.pfns):
                self._say(f"the pfn table has {_shown(pfn_key)} under lfn key {_shown(lfn_key)}, whose record has not")

    def digests(self) -> None:
        """Each lies under its own first bytes, and there are as many as LFNs.

        Every LFN's digest has been found, and no two LFNs share one, so a digest too many is one of no LFN.
        """
        count = 0
        for key, value in self._rows(layout.DIGEST):
            count += 1
            if len(value) != digest.DIGEST_BYTES or key != layout.digest_key(value):
                self._say(f"digest {value.hex()} lies under {key.hex()}")
        if count != self.seen_lfns:
            self._say(f"there are {count:,} digests of {self.seen_lfns:,} LFNs")

    def members(self) -> None:
        """Each row's record is of that collection."""
        for key, lfn_key in self._rows(layout.MEMBER):
            stored = self._indexed(lfn_key, layout.MEMBER)
            number = int.from_bytes(key, "big")
            if stored is not None and stored.collection != number:
                self._say(f"lfn key {_shown(lfn_key)} is a member of collection {number}, not {stored.collection}")

    # ---- collections -------------------------------------------------------------------------------------------------

    def collections(self) -> None:
        next_id = self.view.state().next_collection
        for key, value in self._rows(layout.COLLECTION):
            self.seen_collections += 1
            try:
                stored = layout.decode_collection(value)
            except msgspec.MsgspecError as error:
                self._say(f"collection {_shown(key)} cannot be read: {error}")
                continue
            if layout.key(stored.name) != key:
                self._say(f"collection {_shown(stored.name)} lies under another key, {_shown(key)}")
            if not 1 <= stored.id < next_id:
                self._say(f"collection {_shown(stored.name)} has id {stored.id}; expected 1 to {next_id - 1}")
            named = self.view.txn.get(layout.id_key(stored.id), b"", self.view.store.tables["collection_name"])
            if bytes(named) != key:
                self._say(f"id {stored.id} of collection {_shown(stored.name)} does not name it")
            self._collection_totals(stored)
        ids = sum(1 for _ in self._rows(layout.COLLECTION_NAME))
        if ids != self.seen_collections:
            self._say(f"there are {ids:,} ids of {self.seen_collections:,} collections")

    def _collection_totals(self, stored: StoredCollection) -> None:
        sums = _Sums()
        with self.view.cursor(layout.MEMBER) as cursor:
            there = cursor.set_key(layout.id_key(stored.id))
            while there:
                value = self.view.txn.get(cursor.value(), db=self.view.store.tables["lfn"])
                _add(sums, value)
                there = cursor.next_dup()
        said = _Sums(stored.files, stored.total_bytes, stored.files_of_unknown_size)
        if said != sums or not said.files:
            self._say(f"collection {_shown(stored.name)} says {_told(said)}; its files are {_told(sums)}")

    def totals(self) -> None:
        state = self.view.state()
        said = (state.lfns, state.mappings, state.collections)
        seen = (self.seen_lfns, self.seen_mappings, self.seen_collections)
        for what, count, there in zip(("LFNs", "mappings", "collections"), said, seen, strict=True):
            if count != there:
                self._say(f"the state says {count:,} {what}; there are {there:,}")
        self.progress(self.all_rows, self.all_rows)


def _add(sums: _Sums, value: memoryview | None) -> None:
    """Count one member's record; one that is not there or cannot be read has been reported where it was met."""
    if value is None:
        return
    try:
        size = layout.decode_record(value).size
    except msgspec.MsgspecError:
        return
    sums.files += 1
    sums.bytes += size or 0
    sums.files_of_unknown_size += size is None


def _told(sums: _Sums) -> str:
    return f"{sums.files:,} files, {sums.bytes:,} bytes, {sums.files_of_unknown_size:,} of unknown size"


def _shown(name: str | bytes) -> str:
    text = name if isinstance(name, str) else name.decode(errors="backslashreplace")
    return ascii(text[:80])
