"""The check of a catalog's attributes: values against definitions and the value index, in both directions.

What must hold, of what `lrc/layout.py` draws:

* a definition has one id, which names it and no other, and counts its values;
* the values of an LFN or PFN are of attributes that are defined on its kind, of their types, at most 100, never none;
* a PFN with values stands under an LFN, lies under its key, and holds its name exactly where the key does not;
* each value has its row in the index under its LFN's or PFN's key; and there are no other rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from lrc import layout, values
from lrc.layout import StoredAttribute, StoredPfnValues
from lrc.reads import View
from reploc import attributes
from reploc.attributes import VALUES_PER_NAME_MAX, What
from reploc.errors import ValueInvalid

#: What is told a finding in words.
Say = Callable[[str], None]


class ValueInspection:
    """One inspection of a snapshot: `lfns` for all records, then `pfns`, `index` and `definitions`."""

    def __init__(self, view: View, say: Say) -> None:
        self._view = view
        self._say = say
        self._defined = dict(self._read_definitions())
        #: By attribute id, how many values were found, all of which have their row.
        self._held: Counter[int] = Counter()
        self._indexed = 0

    def _read_definitions(self) -> Iterator[tuple[int, tuple[What, str, StoredAttribute]]]:
        names = self._view.store.tables["attribute_name"]
        with self._view.cursor(layout.ATTRIBUTE) as cursor:
            for key, value in cursor.iternext():
                try:
                    (what, name), stored = layout.attribute_of(key), layout.decode_attribute(value)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._say(f"attribute {_shown(key)} cannot be read: {error}")
                    continue
                if self._view.txn.get(layout.attribute_id_key(stored.id), b"", names) != key:
                    self._say(f"id {stored.id} of attribute {_shown(key)} does not name it")
                yield stored.id, (what, name, stored)

    def lfns(self, held: Iterable[tuple[bytes, bytes]]) -> None:
        """The values of LFNs: (key, values) of each that has any."""
        for key, stored in held:
            self._values("lfn", key, stored)

    def pfns(self) -> None:
        """The values of all PFNs, and that these stand under LFNs."""
        with self._view.cursor(layout.PFN_VALUES) as cursor:
            for key, value in ((bytes(key), value) for key, value in cursor.iternext()):
                try:
                    stored = layout.decode_pfn_values(value)
                    pfn = stored.pfn if stored.pfn is not None else key.decode()
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._say(f"the values of pfn {_shown(key)} cannot be read: {error}")
                    continue
                self._pfn(pfn, key, stored)
                self._values("pfn", key, stored.values)

    def _pfn(self, pfn: str, key: bytes, stored: StoredPfnValues) -> None:
        if layout.key(pfn) != key:
            self._say(f"the values of pfn {_shown(pfn.encode())} lie under another key, {_shown(key)}")
        elif layout.is_whole(key) != (stored.pfn is None):
            self._say(f"the values of pfn {_shown(key)} {'repeat' if stored.pfn else 'lack'} the name")
        elif not any(True for _ in self._view.holders(pfn)):
            self._say(f"pfn {_shown(key)} has values and stands under no LFN")

    def _values(self, what: What, key: bytes, stored: bytes) -> None:
        """The values of one name, each with its row in the index."""
        try:
            held = values.decoded(stored)
        except msgspec.MsgspecError as error:
            self._say(f"the values of {what} {_shown(key)} cannot be read: {error}")
            return
        if not 1 <= len(held) <= VALUES_PER_NAME_MAX:
            self._say(f"{what} {_shown(key)} has {len(held)} values; expected 1 to {VALUES_PER_NAME_MAX}")
        with self._view.cursor(layout.VALUE) as cursor:
            for attribute, value in held.items():
                self._held[attribute] += 1
                of, name, definition = self._defined.get(attribute, ("", "", None))
                if definition is None or of != what:
                    self._say(f"{what} {_shown(key)} has a value of attribute {attribute}, which {what}s have not")
                    continue
                try:
                    attributes.kept(definition.type, attributes.told(definition.type, value))
                except (ValueInvalid, AssertionError, OverflowError) as error:
                    self._say(f"{what} {_shown(key)}: {name!r} is {value!r}: {error}")
                    continue
                if cursor.set_key_dup(values.value_key(attribute, value), key):
                    self._indexed += 1
                else:
                    self._say(f"the value of {name!r} of {what} {_shown(key)} is not in the value index")

    def index(self) -> None:
        """Every row that a value implies has been looked for, so that there are others only where there are more."""
        rows = self._view.txn.stat(self._view.store.tables["value"])["entries"]
        if rows != self._indexed:
            self._say(f"the value index has {rows:,} rows, of which {self._indexed:,} belong to values")

    def definitions(self) -> None:
        """The numbers of values, and the ids."""
        ids = self._view.txn.stat(self._view.store.tables["attribute_name"])["entries"]
        if ids != len(self._defined):
            self._say(f"there are {ids:,} ids of {len(self._defined):,} attributes")
        for attribute, (what, name, stored) in self._defined.items():
            if stored.values != self._held[attribute]:
                there = self._held[attribute]
                self._say(f"attribute {name!r} of {what}s says {stored.values:,} values; there are {there:,}")


def _shown(key: bytes | memoryview) -> str:
    return ascii(bytes(key)[:80].decode(errors="backslashreplace"))
