"""The check finds each kind of damage to attributes, in words, and none in a sound catalog."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from lrc import layout, values
from lrc.catalog import Catalog
from lrc.check import check
from lrc.layout import StoredAttribute, StoredPfnValues
from lrc.store import Transaction
from reploc.attributes import AttributeItem, DefineBody, SetBody, SetItem
from reploc.wire import MappingItem, MappingsBody

LONG = "s3://" + "k" * 600


class Rows:
    """Direct hands on the rows of a store."""

    def __init__(self, catalog: Catalog, txn: Transaction) -> None:
        self.tables = catalog.store.tables
        self.txn = txn

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.txn.put(key, value, db=self.tables[table])

    def delete(self, table: str, key: bytes, value: bytes = b"") -> None:
        assert self.txn.delete(key, value, db=self.tables[table])

    def set_values(self, held: bytes) -> None:
        record = layout.decode_record(self.txn.get(b"/a", b"", self.tables["lfn"]))
        self.put("lfn", b"/a", layout.encode(replace(record, values=held)))

    def put_definition(self, **changes: object) -> None:
        self.put("attribute", b"ln", layout.encode(replace(StoredAttribute(1, "int", 1), **changes)))  # type: ignore[arg-type]


def held(**values_: object) -> bytes:
    encoded = values.encoded({int(name[1:]): value for name, value in values_.items()})  # type: ignore[misc]
    assert encoded is not None
    return encoded


DAMAGE: dict[str, tuple[Callable[[Rows], None], str]] = {
    "row gone": (lambda rows: rows.delete("value", values.value_key(1, 7)), "value of 'n' of lfn '/a' is not in the"),
    "row too many": (lambda rows: rows.put("value", values.value_key(1, 8), b"/a"), "has 4 rows, of which 3 belong"),
    "wrong count": (lambda rows: rows.put_definition(values=2), "'n' of lfns says 2 values; there are 1"),
    "values unreadable": (lambda rows: rows.set_values(b"\xc1"), "values of lfn '/a' cannot be read"),
    "no values": (lambda rows: rows.set_values(b"\x80"), "'/a' has 0 values; expected 1 to 100"),
    "of another type": (
        lambda rows: rows.set_values(held(_1="text")),
        "'n' is 'text': value is text; expected",
    ),
    "of no attribute": (lambda rows: rows.set_values(held(_1=7, _9=1)), "a value of attribute 9, which lfns have not"),
    "of the other kind": (lambda rows: rows.set_values(held(_1=7, _2=1)), "value of attribute 2, which lfns have not"),
    "definition unreadable": (lambda rows: rows.put("attribute", b"ln", b"\xc1"), "attribute 'ln' cannot be read"),
    "id names another": (
        lambda rows: rows.put("attribute_name", layout.attribute_id_key(1), b"lx"),
        "not name it",
    ),
    "id too many": (
        lambda rows: rows.put("attribute_name", layout.attribute_id_key(9), b"lx"),
        "3 ids of 2",
    ),
    "pfn of no LFN": (
        lambda rows: rows.put("pfn_values", b"p:x", layout.encode(StoredPfnValues(held(_2="1")))),
        "pfn 'p:x' has values and stands under no LFN",
    ),
    "pfn under another key": (
        lambda rows: rows.put("pfn_values", layout.key(LONG), layout.encode(StoredPfnValues(held(_2="x"), LONG + "y"))),
        "lie under another key",
    ),
    "pfn repeats its name": (
        lambda rows: rows.put("pfn_values", b"p:a", layout.encode(StoredPfnValues(held(_2="x"), "p:a"))),
        "repeat the name",
    ),
    "pfn unreadable": (lambda rows: rows.put("pfn_values", b"p:a", b"\xc1"), "values of pfn 'p:a' cannot be read"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_to_attributes_is_found_and_said_in_words(what: str, tmp_path: Path) -> None:
    damage, words = DAMAGE[what]
    with Catalog.create(tmp_path / "store", "SITE") as catalog:
        catalog.write(MappingsBody("put", [MappingItem("/a", "p:a"), MappingItem("/a", LONG)]))
        catalog.write(DefineBody([AttributeItem("lfn", "n", "int"), AttributeItem("pfn", "t", "text")]))
        assert catalog.write(SetBody("lfn", [SetItem("/a", "n", 7)])).errors == []
        assert catalog.write(SetBody("pfn", [SetItem("p:a", "t", "x"), SetItem(LONG, "t", "x" * 600)])).errors == []
        assert check(catalog).findings == []
        with catalog.store.writing() as txn:
            damage(Rows(catalog, txn))
        assert any(words in finding for finding in check(catalog).findings), check(catalog).findings
