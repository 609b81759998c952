"""The writing of an overlay's changes to all tables at once: the one place that keeps the indexes and totals true.

Each index row follows from a record alone, so the rows to write are the difference between what the records before
imply and what those after do. Rows are written in key order, which touches each page once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec.structs import replace

from lrc import change_log, layout, value_rows
from lrc.layout import State, StoredCollection, StoredRecord
from lrc.mappings import Overlay, Record
from lrc.reads import totals
from lrc.rows import Row, delete, put
from lrc.store import Store, Transaction
from reploc import digest
from reploc.errors import StoreDamaged
from reploc.sender.news import News
from reploc.wire import CollectionTotals

#: A record before and after; None where the catalog does not hold the LFN.
Change: TypeAlias = tuple[Record | None, Record | None]


class DigestTaken(Exception):
    """A new LFN has the digest of one in the catalog, and the overlay was not told so."""


@dataclass(frozen=True)
class Flushed:
    """What a flush wrote: the news of it, and the counters after it."""

    news: News
    state: State


@dataclass(slots=True)
class _Totals:
    """How a collection's totals change."""

    files: int = 0
    bytes: int = 0
    files_of_unknown_size: int = 0


@dataclass
class _Rows:
    """The rows to put and to delete, by table, and the changes of the totals."""

    lfn_puts: list[tuple[bytes, Record]] = field(default_factory=list)
    lfn_deletes: list[bytes] = field(default_factory=list)
    pfn_puts: list[Row] = field(default_factory=list)
    pfn_deletes: list[Row] = field(default_factory=list)
    #: (collection, LFN key), until the collection's id is known.
    member_puts: list[tuple[str, bytes]] = field(default_factory=list)
    member_deletes: list[tuple[str, bytes]] = field(default_factory=list)
    totals: dict[str, _Totals] = field(default_factory=dict)
    created: list[Record] = field(default_factory=list)
    deleted: list[Record] = field(default_factory=list)
    #: Before and after, where the collection is another.
    moved: list[tuple[Record, Record]] = field(default_factory=list)
    mappings: int = 0

    def count(self, collection: str, size: int | None, sign: int) -> None:
        """One file more or less of a collection."""
        totals = self.totals.get(collection)
        if totals is None:
            totals = self.totals[collection] = _Totals()
        totals.files += sign
        if size is None:
            totals.files_of_unknown_size += sign
        else:
            totals.bytes += sign * size


def flush(store: Store, txn: Transaction, overlay: Overlay, now: float) -> Flushed | None:
    """Write the overlay's changes, made `now` (seconds since the epoch); None where there are none. The position goes
    up by one."""
    changes = overlay.changes()
    if not changes and not value_rows.are_changed(overlay):
        return None
    rows = _difference(changes)
    state, ids, changed = _put_collections(store, txn, rows.totals, store.state(txn))
    tables = store.tables
    delete(txn, tables["lfn"], ((key, b"") for key in rows.lfn_deletes))
    put(txn, tables["lfn"], [(key, _stored(key, record, ids[record.collection])) for key, record in rows.lfn_puts])
    delete(txn, tables["pfn"], rows.pfn_deletes)
    put(txn, tables["pfn"], rows.pfn_puts)
    delete(txn, tables["member"], [(layout.id_key(ids[name]), key) for name, key in rows.member_deletes])
    put(txn, tables["member"], [(layout.id_key(ids[name]), key) for name, key in rows.member_puts])
    added = [overlay.digests[record.lfn] for record in rows.created]
    removed = digest.of([record.lfn for record in rows.deleted])
    delete(txn, tables["digest"], [(layout.digest_key(one), one) for one in digest.stored(removed)])
    _put_digests(txn, tables["digest"], added)
    value_rows.flush(store, txn, changes, overlay, {key for key, _ in rows.pfn_deletes})
    state = replace(
        state,
        position=state.position + 1,
        lfns=state.lfns + len(rows.created) - len(rows.deleted),
        mappings=state.mappings + rows.mappings,
    )
    store.put_state(txn, state)
    change_log.append(store, txn, state.position, now, _names(changes))
    came = digest.from_stored(b"".join(added))
    return Flushed(News(state.position, came, removed, rows.created, rows.deleted, rows.moved, changed), state)


def _names(changes: Sequence[Change]) -> list[str]:
    """The LFNs that changed, each once."""
    return list({record.lfn: None for change in changes for record in change if record is not None})


# ---- the difference --------------------------------------------------------------------------------------------------


def _difference(changes: Sequence[Change]) -> _Rows:
    """The rows of all changes: those of new LFNs, which are most of what a catalog is told, many at once."""
    rows = _Rows()
    new = [after for before, after in changes if before is None and after is not None]
    _create(rows, new)
    for before, after in changes:
        if before is not None:
            _change(rows, before, after)
    return rows


def _create(rows: _Rows, records: Sequence[Record]) -> None:
    rows.created = list(records)
    keys = layout.keys([record.lfn for record in records])
    rows.lfn_puts = list(zip(keys, records, strict=True))
    held = [(key, pfn) for key, record in rows.lfn_puts for pfn in record.pfns]
    rows.pfn_puts = list(zip(layout.keys([pfn for _, pfn in held]), [key for key, _ in held], strict=True))
    rows.mappings = len(held)
    rows.member_puts = [(record.collection, key) for key, record in rows.lfn_puts if record.collection is not None]
    for record in records:
        if record.collection is not None:
            rows.count(record.collection, record.size, +1)


def _change(rows: _Rows, before: Record, after: Record | None) -> None:
    key = layout.key(before.lfn)
    if after is None:
        rows.lfn_deletes.append(key)
        rows.deleted.append(before)
    else:
        rows.lfn_puts.append((key, after))
    _change_pfns(rows, key, before.pfns, after.pfns if after is not None else ())
    old, new = before.collection, after.collection if after is not None else None
    if old is not None:
        rows.count(old, before.size, -1)
    if after is not None and new is not None:
        rows.count(new, after.size, +1)
    if old != new:
        rows.moved += [(before, after)] if after is not None else []
        rows.member_deletes += [(old, key)] if old is not None else []
        rows.member_puts += [(new, key)] if new is not None else []


def _change_pfns(rows: _Rows, key: bytes, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    rows.mappings += len(new) - len(old)
    if old != new:
        # As sets of keys, not of names: a row stays while any PFN needs it.
        old_keys, new_keys = set(layout.keys(old)), set(layout.keys(new))
        rows.pfn_deletes += [(pfn_key, key) for pfn_key in old_keys - new_keys]
        rows.pfn_puts += [(pfn_key, key) for pfn_key in new_keys - old_keys]


# ---- writing ---------------------------------------------------------------------------------------------------------


def _stored(key: bytes, record: Record, collection: int) -> bytes:
    lfn = None if len(key) <= layout.WHOLE_NAME_BYTES_MAX else record.lfn
    return layout.encode(StoredRecord(record.size, record.checksum, collection, record.pfns, lfn, record.values))


def _put_collections(
    store: Store, txn: Transaction, changes: dict[str, _Totals], state: State
) -> tuple[State, dict[str | None, int], list[CollectionTotals]]:
    """Write the changed totals; the state with collections and ids counted, the ids of these collections and of none,
    and their totals now."""
    ids: dict[str | None, int] = {None: 0}
    changed: list[CollectionTotals] = []
    table, names_table = store.tables["collection"], store.tables["collection_name"]
    next_id, count = state.next_collection, state.collections
    for name in sorted(changes):
        key = layout.key(name)
        value = txn.get(key, db=table)
        if value is None:
            old = StoredCollection(next_id, name, 0, layout.size_sum(0), 0)
            next_id += 1
            count += 1
            txn.put(layout.id_key(old.id), key, db=names_table)
        else:
            old = layout.decode_collection(value)
            _require_name(old, name)
        ids[name] = old.id
        new = _changed(old, changes[name])
        changed.append(totals(new))
        if new.files:
            txn.put(key, layout.encode(new), db=table)
        else:
            count -= 1
            txn.delete(key, db=table)
            txn.delete(layout.id_key(old.id), db=names_table)
    return replace(state, collections=count, next_collection=next_id), ids, changed


def _require_name(stored: StoredCollection, name: str) -> None:
    if stored.name != name:
        raise StoreDamaged(f"collection {name[:200]!r} lies under the key of {stored.name[:200]!r}")


def _changed(old: StoredCollection, change: _Totals) -> StoredCollection:
    files, total = old.files + change.files, old.total_bytes + change.bytes
    unknown = old.files_of_unknown_size + change.files_of_unknown_size
    if files < 0 or total < 0 or unknown < 0:
        raise StoreDamaged(f"the totals of collection {old.name[:200]!r} are lower than its files make them")
    return StoredCollection(old.id, old.name, files, layout.size_sum(total), unknown)


def _put_digests(txn: Transaction, table: object, digests: list[bytes]) -> None:
    """Write new LFNs' digests. DigestTaken, which must undo the transaction, where one is there already."""
    if digests:
        with txn.cursor(table) as cursor:  # type: ignore[arg-type]
            rows = [(layout.digest_key(one), one) for one in sorted(digests)]
            consumed, written = cursor.putmulti(rows, dupdata=False)
        if written < consumed:
            raise DigestTaken
