"""One snapshot's attributes: their definitions, the values of names, and searches by value, a page at a time.

A search reads one range of the value index, in the order of values; of one value names come in the order of their keys.
A page begins behind a name and its value, whether or not these are still there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lrc import layout, values
from lrc.layout import StoredAttribute
from lrc.listings import KEYS_PER_PAGE_MAX
from lrc.mappings import Definitions
from lrc.reads import View
from lrc.store import Cursor
from lrc.values import PfnValues, Range
from reploc import attributes
from reploc.attributes import After, Definition, Found, Kept, SearchBody, SearchPage, Value, Values, What
from reploc.errors import AttributeUnknown, StoreDamaged, TooLarge

#: Bytes of values that one request may read: a hundred texts of four kilobytes of each name would fill the memory.
VALUES_BYTES_MAX = 32 << 20

# ---- definitions -----------------------------------------------------------------------------------------------------


def definition(view: View, what: What, name: str) -> StoredAttribute | None:
    """How an attribute is defined; None where it is not."""
    if attributes.attribute_fault(name):
        return None
    value = view.txn.get(layout.attribute_key(what, name), db=view.store.tables["attribute"])
    return None if value is None else layout.decode_attribute(value)


def required(view: View, what: What, name: str) -> StoredAttribute:
    """The same. AttributeUnknown where it is not defined."""
    found = definition(view, what, name)
    if found is None:
        raise AttributeUnknown(f"{what}s have no attribute {name[:200]!r}")
    return found


def definitions_of(view: View, asked: Iterable[tuple[What, str]]) -> Definitions:
    """How each of these attributes is defined."""
    return {attribute: definition(view, *attribute) for attribute in asked}


def defined(view: View) -> tuple[int, int]:
    """How many attributes there are, and the last id."""
    table = view.store.tables["attribute_name"]
    with view.txn.cursor(table) as cursor:
        last = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
    return int(view.txn.stat(table)["entries"]), last


def described(view: View, what: What | None, name: str | None) -> list[Definition]:
    """The attributes of that kind and name, LFNs' before PFNs', in the order of their names."""
    found = []
    with view.cursor(layout.ATTRIBUTE) as cursor:
        for key, value in cursor.iternext():
            of, called = layout.attribute_of(key)
            if what in (None, of) and name in (None, called):
                found.append(_described(view, of, called, layout.decode_attribute(value)))
    return found


def _described(view: View, what: What, name: str, stored: StoredAttribute) -> Definition:
    prefix = layout.attribute_id_key(stored.id)
    least = greatest = None
    with view.cursor(layout.VALUE) as cursor:
        if stored.values and cursor.set_range(prefix):
            least = attributes.told(stored.type, _row(view, what, stored, cursor).value)
            found = cursor.prev() if cursor.set_range(layout.attribute_id_key(stored.id + 1)) else cursor.last()
            assert found
            greatest = attributes.told(stored.type, _row(view, what, stored, cursor).value)
    return Definition(what, name, stored.type, stored.values, least, greatest)


# ---- values of names -------------------------------------------------------------------------------------------------


def load_pfn_values(view: View, into: PfnValues, pfns: Sequence[str]) -> None:
    """Take in the values of PFNs, and which of these the catalog does not hold."""
    for pfn in dict.fromkeys(pfns):
        value = view.txn.get(layout.key(pfn), db=view.store.tables["pfn_values"])
        stored = None if value is None else layout.decode_pfn_values(value)
        another = stored is not None and stored.pfn not in (None, pfn)
        into.load(pfn, stored.values if stored is not None and not another else None)
        if another:
            into.clashing.add(pfn)
        if not any(True for _ in view.holders(pfn)):
            into.unknown.add(pfn)


def values_of(view: View, what: What, asked: Sequence[str], attribute: str | None) -> Values:
    """The values of each name that the catalog holds, or those of one attribute. AttributeUnknown; TooLarge."""
    only = None if attribute is None else required(view, what, attribute).id
    names = _Names(view)
    found: dict[str, dict[str, Value]] = {}
    room = VALUES_BYTES_MAX
    for name in dict.fromkeys(asked):
        there, stored = _stored_values(view, what, name)
        room -= len(stored or b"")
        if room < 0:
            raise TooLarge(f"the values of these names exceed {VALUES_BYTES_MAX >> 20} MiB; ask for fewer at once")
        if there:
            held = values.decoded(stored).items()
            found[name] = {names.of(one)[0]: names.told(one, value) for one, value in held if only in (None, one)}
    return Values(found, [name for name in dict.fromkeys(asked) if name not in found])


def _stored_values(view: View, what: What, name: str) -> tuple[bool, bytes | None]:
    """Whether the catalog holds a name, and its values."""
    if what == "lfn":
        record = view.stored(name)
        return record is not None, record.values if record is not None else None
    loaded = PfnValues()
    load_pfn_values(view, loaded, [name])
    return name not in loaded.unknown, loaded.after[name]


class _Names:
    """Names and types of attribute ids, each read once."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[int, tuple[str, StoredAttribute]] = {}

    def of(self, attribute: int) -> tuple[str, StoredAttribute]:
        """Name and definition. StoreDamaged where there is none."""
        found = self._known.get(attribute)
        if found is None:
            tables = self._view.store.tables
            key = self._view.txn.get(layout.attribute_id_key(attribute), db=tables["attribute_name"])
            value = None if key is None else self._view.txn.get(key, db=tables["attribute"])
            if key is None or value is None:
                raise StoreDamaged(f"a value names attribute {attribute}, which is not there")
            found = self._known[attribute] = (layout.attribute_of(key)[1], layout.decode_attribute(value))
        return found

    def told(self, attribute: int, value: Kept) -> Value:
        return attributes.told(self.of(attribute)[1].type, value)


# ---- searches --------------------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A name with its value."""

    name: str
    value: Kept


def search(view: View, body: SearchBody, examined_max: int = KEYS_PER_PAGE_MAX) -> SearchPage:
    """One page, for which at most so many rows are looked at. Raises AttributeUnknown and ValueInvalid."""
    stored = required(view, body.what, body.attribute)
    within = values.search_range(body, stored.type)
    found: list[_Row] = []
    for examined, row in enumerate(_rows(view, body.what, stored, within, body.after), start=1):
        if within.holds(row.value):
            if len(found) == body.limit:
                return _page(stored, found, found[-1])
            found.append(row)
        if examined == examined_max:
            return _page(stored, found, row)
    return _page(stored, found, None)


def _page(stored: StoredAttribute, found: Sequence[_Row], follow: _Row | None) -> SearchPage:
    told = [Found(row.name, attributes.told(stored.type, row.value)) for row in found]
    return SearchPage(told, follow and Found(follow.name, attributes.told(stored.type, follow.value)))


def _rows(view: View, what: What, stored: StoredAttribute, within: Range, after: After | None) -> Iterator[_Row]:
    """The rows of a range, behind one of them."""
    prefix = layout.attribute_id_key(stored.id)
    first, last = prefix + within.first, prefix + within.last
    place = first if after is None else values.value_key(stored.id, attributes.kept(stored.type, after.value))
    with view.cursor(layout.VALUE) as cursor:
        if after is None or place < first:
            there = cursor.set_range(first)
        else:
            there = _behind(cursor, place, layout.key(after.name))
        while there and bytes(cursor.key()) <= last:
            yield _row(view, what, stored, cursor)
            there = cursor.next()


def _behind(cursor: Cursor, key: bytes, name_key: bytes) -> bool:
    """Move to the first row behind a key and a name's key under it."""
    if cursor.set_range_dup(key, name_key):
        return bool(cursor.next()) if cursor.value() == name_key else True
    if not cursor.set_range(key):
        return False
    return bool(cursor.next_nodup()) if cursor.key() == key else True


def _row(view: View, what: What, stored: StoredAttribute, cursor: Cursor) -> _Row:
    """The row that the cursor is on. Names and values that keys do not hold whole are read where they stand."""
    name_key, ordered = cursor.value(), cursor.key()[layout.ATTRIBUTE_ID_BYTES :]
    value = values.from_ordered(stored.type, ordered)
    if value is not None and layout.is_whole(name_key):
        return _Row(str(name_key, "utf-8"), value)
    if what == "lfn":
        name, record = view.by_key(name_key)
        own = record.values
    else:
        name, own = _pfn_under(view, name_key)
    if value is None:
        value = values.decoded(own).get(stored.id)
    if value is None:
        raise StoreDamaged(f"the value index names {name[:80]!r}, which has no value of attribute {stored.id}")
    return _Row(name, value)


def _pfn_under(view: View, key: memoryview) -> tuple[str, bytes]:
    found = view.txn.get(key, db=view.store.tables["pfn_values"])
    if found is None:
        raise StoreDamaged(f"the value index names PFN key {bytes(key)[:80]!r}, which has no values")
    stored = layout.decode_pfn_values(found)
    return stored.pfn if stored.pfn is not None else str(key, "utf-8"), stored.values
