"""The writing of an overlay's attributes: definitions, the values of PFNs, and the index over all values.

What the index must hold follows from the values of each LFN and PFN, so that the rows to write are the difference
between those before and those after. A PFN that stands under no LFN any more loses its values here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from lrc import layout, values
from lrc.layout import StoredPfnValues
from lrc.mappings import Overlay, Record
from lrc.rows import Row, delete, put
from lrc.store import Store, Transaction
from reploc.errors import StoreDamaged


def are_changed(overlay: Overlay) -> bool:
    """Whether there is anything to write beside records."""
    return bool(overlay.pfn_values.changes()) or overlay.definitions_before != overlay.definitions_after


@dataclass
class _Rows:
    """The rows of the index to put and to delete, and how many values each attribute gains."""

    puts: list[Row] = field(default_factory=list)
    deletes: list[Row] = field(default_factory=list)
    gains: Counter[int] = field(default_factory=Counter)

    def change(self, key: bytes, before: bytes | None, after: bytes | None) -> None:
        """The values of the name under this key change."""
        old, new = values.decoded(before), values.decoded(after)
        for attribute, value in old.items():
            if attribute not in new or new[attribute] != value:
                self.deletes.append((values.value_key(attribute, value), key))
                self.gains[attribute] -= 1
        for attribute, value in new.items():
            if attribute not in old or old[attribute] != value:
                self.puts.append((values.value_key(attribute, value), key))
                self.gains[attribute] += 1


def flush(
    store: Store,
    txn: Transaction,
    changes: Sequence[tuple[Record | None, Record | None]],
    overlay: Overlay,
    left: Iterable[bytes],
) -> None:
    """Write the difference. `changes` are those of records, which are written already, and `left` the keys of PFNs that
    an LFN lost by them."""
    rows, tables = _Rows(), store.tables
    for before, after in changes:
        if before is not None and before.values:
            kept = after.values if after is not None else None
            rows.change(layout.key(before.lfn), before.values, kept)
        elif after is not None and after.values:
            rows.change(layout.key(after.lfn), None, after.values)
    for pfn, old, new in overlay.pfn_values.changes():
        _put_pfn(txn, tables["pfn_values"], rows, pfn, old, new)
    if txn.stat(tables["pfn_values"])["entries"]:
        for key in left:
            _drop_if_gone(store, txn, rows, key)
    delete(txn, tables["value"], rows.deletes)
    put(txn, tables["value"], rows.puts)
    _put_definitions(store, txn, overlay)
    for attribute, gain in rows.gains.items():
        _count(store, txn, attribute, gain)


def _put_pfn(txn: Transaction, table: object, rows: _Rows, pfn: str, before: bytes | None, after: bytes | None) -> None:
    key = layout.key(pfn)
    rows.change(key, before, after)
    if after is None:
        delete(txn, table, [(key, b"")])
    else:
        stored = StoredPfnValues(after, None if layout.is_whole(key) else pfn)
        put(txn, table, [(key, layout.encode(stored))])


def _drop_if_gone(store: Store, txn: Transaction, rows: _Rows, key: bytes) -> None:
    """Drop the values under a PFN's key where that PFN stands under no LFN."""
    value = txn.get(key, db=store.tables["pfn_values"])
    if value is None:
        return
    stored = layout.decode_pfn_values(value)
    if not _stands(store, txn, key, stored):
        _put_pfn(txn, store.tables["pfn_values"], rows, stored.pfn or str(key, "utf-8"), stored.values, None)


def _stands(store: Store, txn: Transaction, key: bytes, stored: StoredPfnValues) -> bool:
    """Whether any LFN has the PFN; two long ones may share the key."""
    with txn.cursor(store.tables["pfn"]) as cursor:
        there = cursor.set_key(key)
        while there and stored.pfn is not None:
            record = txn.get(cursor.value(), db=store.tables["lfn"])
            if record is None:
                raise StoreDamaged(f"an index names LFN key {bytes(cursor.value())[:80]!r}, which is not there")
            if stored.pfn in layout.decode_record(record).pfns:
                break
            there = cursor.next_dup()
        return bool(there)


def _put_definitions(store: Store, txn: Transaction, overlay: Overlay) -> None:
    names, definitions = store.tables["attribute_name"], store.tables["attribute"]
    after = overlay.definitions_after
    for attribute, old in overlay.definitions_before.items():
        new, key = after[attribute], layout.attribute_key(*attribute)
        if old is not None and new != old:
            txn.delete(layout.attribute_id_key(old.id), db=names)
            txn.delete(key, db=definitions)
        if new is not None and new != old:
            txn.put(layout.attribute_id_key(new.id), key, db=names)
            txn.put(key, layout.encode(new), db=definitions)


def _count(store: Store, txn: Transaction, attribute: int, gain: int) -> None:
    """An attribute has so many values more."""
    key = txn.get(layout.attribute_id_key(attribute), db=store.tables["attribute_name"])
    value = None if key is None else txn.get(key, db=store.tables["attribute"])
    if key is None or value is None:
        raise StoreDamaged(f"a value names attribute {attribute}, which is not there")
    stored = layout.decode_attribute(value)
    txn.put(bytes(key), layout.encode(replace(stored, values=stored.values + gain)), db=store.tables["attribute"])
