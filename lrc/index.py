"""The writing of an overlay's changes to all tables at once: the one place that keeps the indexes and totals true.

Each index row follows from a record alone, so the rows to write are the difference between what the records before
imply and what those after do. Rows are written in key order, which touches each page once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from lrc import layout
from lrc.layout import State, StoredCollection, StoredRecord
from lrc.mappings import Overlay, Record
from lrc.store import Store, Transaction
from reploc import digest
from reploc.digest import Digests
from reploc.errors import StoreDamaged

#: One row of a table: key and value.
Row = tuple[bytes, bytes]


@dataclass(frozen=True)
class Flushed:
    """What a flush wrote: the digests that came and went, shape (n, 2) each, and the counters after it."""

    added: Digests
    removed: Digests
    state: State


@dataclass
class _Totals:
    """How a collection's totals change."""

    files: int = 0
    bytes: int = 0
    files_of_unknown_size: int = 0

    def count(self, record: Record, sign: int) -> None:
        self.files += sign
        if record.size is None:
            self.files_of_unknown_size += sign
        else:
            self.bytes += sign * record.size


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
    created: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    mappings: int = 0


def flush(store: Store, txn: Transaction, overlay: Overlay) -> Flushed | None:
    """Write the overlay's changes; None where there are none. The position goes up by one."""
    changes = overlay.changes()
    if not changes:
        return None
    rows = _difference(changes)
    state = store.state(txn)
    ids, next_collection = _put_collections(store, txn, rows.totals, state.next_collection)
    tables = store.tables
    _delete(txn, tables["lfn"], ((key, b"") for key in rows.lfn_deletes))
    _put(txn, tables["lfn"], [(key, _stored(key, record, ids)) for key, record in rows.lfn_puts])
    _delete(txn, tables["pfn"], rows.pfn_deletes)
    _put(txn, tables["pfn"], rows.pfn_puts)
    _delete(txn, tables["member"], [(layout.id_key(ids[name]), key) for name, key in rows.member_deletes])
    _put(txn, tables["member"], [(layout.id_key(ids[name]), key) for name, key in rows.member_puts])
    added, removed = _digests_of(rows.created, overlay), digest.of(rows.deleted)
    _delete(txn, tables["digest"], [(layout.digest_key(one), one) for one in digest.stored(removed)])
    _put(txn, tables["digest"], [(layout.digest_key(one), one) for one in digest.stored(added)])
    state = replace(
        state,
        position=state.position + 1,
        lfns=state.lfns + len(rows.created) - len(rows.deleted),
        mappings=state.mappings + rows.mappings,
        next_collection=next_collection,
    )
    store.put_state(txn, state)
    return Flushed(added, removed, state)


def _digests_of(created: Sequence[str], overlay: Overlay) -> Digests:
    return digest.from_stored(b"".join([overlay.digests[lfn] for lfn in created]))


# ---- the difference --------------------------------------------------------------------------------------------------


def _difference(changes: Sequence[tuple[Record | None, Record | None]]) -> _Rows:
    rows = _Rows()
    lfn_keys = layout.keys([(after or before).lfn for before, after in changes])  # type: ignore[union-attr]
    for key, (before, after) in zip(lfn_keys, changes, strict=True):
        if after is None:
            assert before is not None
            rows.lfn_deletes.append(key)
            rows.deleted.append(before.lfn)
        else:
            rows.lfn_puts.append((key, after))
            if before is None:
                rows.created.append(after.lfn)
        _pfn_difference(rows, key, before, after)
        _collection_difference(rows, key, before, after)
    return rows


def _pfn_difference(rows: _Rows, key: bytes, before: Record | None, after: Record | None) -> None:
    old = before.pfns if before is not None else ()
    new = after.pfns if after is not None else ()
    rows.mappings += len(new) - len(old)
    if not old:
        rows.pfn_puts += [(pfn_key, key) for pfn_key in layout.keys(new)]
    elif old != new:
        # As sets of keys, not of names: a row stays while any PFN needs it.
        old_keys, new_keys = set(layout.keys(old)), set(layout.keys(new))
        rows.pfn_deletes += [(pfn_key, key) for pfn_key in old_keys - new_keys]
        rows.pfn_puts += [(pfn_key, key) for pfn_key in new_keys - old_keys]


def _collection_difference(rows: _Rows, key: bytes, before: Record | None, after: Record | None) -> None:
    old = before.collection if before is not None else None
    new = after.collection if after is not None else None
    if before is not None and old is not None:
        rows.totals.setdefault(old, _Totals()).count(before, -1)
        if old != new:
            rows.member_deletes.append((old, key))
    if after is not None and new is not None:
        rows.totals.setdefault(new, _Totals()).count(after, +1)
        if old != new:
            rows.member_puts.append((new, key))


# ---- writing ---------------------------------------------------------------------------------------------------------


def _stored(key: bytes, record: Record, ids: dict[str, int]) -> bytes:
    collection = ids[record.collection] if record.collection is not None else 0
    lfn = None if layout.is_whole(key) else record.lfn
    return layout.encode(StoredRecord(record.size, record.checksum, collection, record.pfns, lfn))


def _put_collections(
    store: Store, txn: Transaction, totals: dict[str, _Totals], next_collection: int
) -> tuple[dict[str, int], int]:
    """Write the changed totals; the ids of these collections, and the next id to give out."""
    ids: dict[str, int] = {}
    table, names_table = store.tables["collection"], store.tables["collection_name"]
    for name in sorted(totals):
        change, key = totals[name], layout.key(name)
        value = txn.get(key, db=table)
        if value is None:
            old = StoredCollection(next_collection, name, 0, layout.size_sum(0), 0)
            next_collection += 1
            txn.put(layout.id_key(old.id), key, db=names_table)
        else:
            old = layout.decode_collection(value)
            _require_name(old, name)
        ids[name] = old.id
        new = _changed(old, change)
        if new.files:
            txn.put(key, layout.encode(new), db=table)
        else:
            txn.delete(key, db=table)
            txn.delete(layout.id_key(old.id), db=names_table)
    return ids, next_collection


def _require_name(stored: StoredCollection, name: str) -> None:
    if stored.name != name:
        raise StoreDamaged(f"collection {name[:200]!r} lies under the key of {stored.name[:200]!r}")


def _changed(old: StoredCollection, change: _Totals) -> StoredCollection:
    files, total = old.files + change.files, old.total_bytes + change.bytes
    unknown = old.files_of_unknown_size + change.files_of_unknown_size
    if files < 0 or total < 0 or unknown < 0:
        raise StoreDamaged(f"the totals of collection {old.name[:200]!r} are lower than its files make them")
    return StoredCollection(old.id, old.name, files, layout.size_sum(total), unknown)


def _put(txn: Transaction, table: object, rows: list[Row]) -> None:
    if rows:
        rows.sort()
        with txn.cursor(table) as cursor:  # type: ignore[arg-type]
            cursor.putmulti(rows)


def _delete(txn: Transaction, table: object, rows: Iterable[Row]) -> None:
    for key, value in sorted(rows):
        if not txn.delete(key, value, db=table):  # type: ignore[arg-type]
            raise StoreDamaged(f"an index row that a record implies is not there: {key[:80]!r}")
