"""The check of a catalog: every table against the others, in both directions, and every total against its sum.

What must hold, of what `lrc/layout.py` draws:

* a record lies under its LFN's key, has 1 to 1,000 distinct PFNs, and holds its LFN exactly where the key does not;
* each PFN of a record has its row, each LFN its digest, each LFN of a collection its member row; and no other rows;
* a collection has files, its totals are the sums over them, and its id names it and no other;
* the totals in the state are the sums over the records;
* the log of changes ends at no later position than the state's, and counts the names that it holds;
* what `lrc/value_check.py` says of attributes.

One snapshot is read from end to end, or totals could not be compared; beside a live writer the store may grow for as
long as the check takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import msgspec

from lrc import layout
from lrc.catalog import Catalog
from lrc.layout import StoredCollection, StoredRecord
from lrc.reads import View, lfn_of
from lrc.value_check import ValueInspection
from reploc import digest, names

#: Findings that a report lists; the others are counted. A damaged index would otherwise list every row.
FINDINGS_MAX = 100
#: Rows between two calls of the progress callback.
PROGRESS_ROWS = 10_000
#: Records that are looked at together, or as many as have so many bytes: enough that what is done once for all costs
#: little, and few megabytes of memory.
BATCH_RECORDS = 1_000
BATCH_BYTES = 4 << 20
#: Records whose keys are remembered while rows that none implies are sought: rows of one record lie close together, and
#: the largest has a thousand keys of half a kilobyte.
STRAY_RECORDS = 16

#: Told now and then: rows looked at, rows in all.
Progress: TypeAlias = Callable[[int, int], None]
#: One row of a table: key and value.
Row: TypeAlias = tuple[bytes, bytes]

_TABLES = (
    layout.LFN,
    layout.PFN,
    layout.DIGEST,
    layout.MEMBER,
    layout.COLLECTION,
    layout.COLLECTION_NAME,
    layout.CHANGE,
)


class _Read(NamedTuple):
    """One record under its key."""

    key: bytes
    lfn: str
    stored: StoredRecord


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
        inspection.values()
        inspection.changes()
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
    #: By table, the rows that records imply and that are there.
    implied: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.all_rows = sum(self._entries(table) for table in _TABLES)
        self.of_values = ValueInspection(self.view, self._say)

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

    # ---- records -----------------------------------------------------------------------------------------------------

    def lfns(self) -> None:
        """Each record by itself, and every row that it implies."""
        for batch in self._batches():
            self._names(batch)
            for lfn, stored in ((one.lfn, one.stored) for one in batch):
                self._record(lfn, stored)
            self._implied(batch)
            self.of_values.lfns([(one.key, one.stored.values) for one in batch if one.stored.values is not None])

    def _batches(self) -> Iterator[list[_Read]]:
        """The records, many at once; of one that cannot be read that is said."""
        batch: list[_Read] = []
        size = 0
        for key, value in self._rows(layout.LFN):
            self.seen_lfns += 1
            try:
                stored = layout.decode_record(value)
                batch.append(_Read(key, lfn_of(key, stored), stored))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._say(f"record {_shown(key)} cannot be read: {error}")
            size += len(value)
            if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        yield batch

    def _names(self, batch: Sequence[_Read]) -> None:
        """Names that are none, and LFNs that lie under another key than their own."""
        lfns = [one.lfn for one in batch]
        wrong = names.faults(lfns)
        for at, (one, key) in enumerate(zip(batch, layout.keys(lfns), strict=True)):
            if at in wrong:
                self._say(f"lfn {_shown(one.lfn)} {wrong[at]}")
            elif key != one.key:
                self._say(f"lfn {_shown(one.lfn)} lies under another key, {_shown(one.key)}")
            if layout.is_whole(one.key) != (one.stored.lfn is None):
                self._say(f"the record of lfn {_shown(one.lfn)} {'repeats' if one.stored.lfn else 'lacks'} the name")
        held = [(pfn, one.lfn) for one in batch for pfn in one.stored.pfns]
        for at, words in names.faults([pfn for pfn, _ in held]).items():
            self._say(f"pfn {_shown(held[at][0])} of lfn {_shown(held[at][1])} {words}")

    def _record(self, lfn: str, stored: StoredRecord) -> None:
        self.seen_mappings += len(stored.pfns)
        if not 1 <= len(stored.pfns) <= layout.PFNS_PER_LFN_MAX:
            self._say(f"lfn {_shown(lfn)} has {len(stored.pfns):,} PFNs; expected 1 to {layout.PFNS_PER_LFN_MAX:,}")
        if len(stored.pfns) > 1 and len(set(stored.pfns)) != len(stored.pfns):
            self._say(f"lfn {_shown(lfn)} has a PFN twice")
        if stored.checksum is not None and (wrong := names.checksum_fault(stored.checksum)):
            self._say(f"lfn {_shown(lfn)}: {wrong}")
        if stored.size is not None and stored.size < 0:
            self._say(f"lfn {_shown(lfn)} has size {stored.size}")

    def _implied(self, batch: Sequence[_Read]) -> None:
        """The rows that follow from the records, those of each table in its order."""
        pfn_keys = layout.keys([pfn for one in batch for pfn in one.stored.pfns])
        holders = [one.key for one in batch for _ in one.stored.pfns]
        for pfn_key, key in self._missing(layout.PFN, set(zip(pfn_keys, holders, strict=True))):
            self._say(f"pfn {_shown(pfn_key)} of lfn {_shown(key)} is not in the pfn table")
        digests = digest.stored(digest.of([one.lfn for one in batch]))
        own = {(layout.digest_key(each), each): one.lfn for each, one in zip(digests, batch, strict=True)}
        for row in self._missing(layout.DIGEST, own):
            self._say(f"the digest of lfn {_shown(own[row])} is not in the digest table")
        members = {(layout.id_key(one.stored.collection), one.key) for one in batch if one.stored.collection}
        for id_key, key in self._missing(layout.MEMBER, members):
            number = int.from_bytes(id_key, "big")
            self._say(f"lfn {_shown(key)} is not among the members of its collection {number}")

    def _missing(self, table: layout.Table, rows: Collection[Row]) -> list[Row]:
        """Those of the rows that a table lacks; the others are counted."""
        with self.view.cursor(table) as cursor:
            missing = [row for row in sorted(rows) if not cursor.set_key_dup(*row)]
        self.implied[table.name] += len(rows) - len(missing)
        return missing

    # ---- indexes -----------------------------------------------------------------------------------------------------

    def _strays(self, table: layout.Table, keys_of: Callable[[StoredRecord], Iterable[bytes]]) -> Iterator[Row]:
        """The rows of a table under keys that their record does not imply.

        Every row that a record implies has been looked for by now, so where their number is that of all rows there
        are no others.
        """
        if sum(1 for _ in self._rows(table)) == self.implied[table.name]:
            return

        @lru_cache(STRAY_RECORDS)
        def implied(lfn_key: bytes) -> frozenset[bytes] | None:
            stored = self._indexed(lfn_key, table)
            return None if stored is None else frozenset(keys_of(stored))

        with self.view.cursor(table) as cursor:
            for key, lfn_key in ((bytes(key), bytes(value)) for key, value in cursor.iternext()):
                keys = implied(lfn_key)
                if keys is not None and key not in keys:
                    yield key, lfn_key

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
        for pfn_key, lfn_key in self._strays(layout.PFN, lambda stored: layout.keys(stored.pfns)):
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
        for id_key, lfn_key in self._strays(layout.MEMBER, lambda stored: [layout.id_key(stored.collection)]):
            number = int.from_bytes(id_key, "big")
            self._say(f"lfn key {_shown(lfn_key)} is a member of collection {number}, which its record does not name")

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

    def changes(self) -> None:
        """Each row counts its names on from the row before, and none is of a commit that is still to come."""
        position, logged = self.view.state().position, None
        for key, value in self._rows(layout.CHANGE):
            at, stored = layout.position_of(key), layout.decode_changes(value)
            if at > position:
                self._say(f"the log of changes has position {at}; the state says {position}")
            if logged is not None and stored.logged != logged + len(stored.lfns):
                self._say(
                    f"the log of changes counts {stored.logged} names up to position {at}; there are more or fewer"
                )
            logged = stored.logged

    def values(self) -> None:
        """The values of PFNs, and the index over all values."""
        self.of_values.pfns()
        self.of_values.index()
        self.of_values.definitions()


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
