"""The check finds each kind of damage, in words, and no damage in a sound catalog."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from lrc import layout
from lrc.catalog import Catalog
from lrc.check import FINDINGS_MAX, PROGRESS_ROWS, check
from lrc.layout import StoredCollection, StoredRecord
from lrc.store import Transaction
from reploc import digest
from reploc.wire import MappingItem, MappingsBody

LONG = "/long/" + "x" * 600
FILES = [("/f", "a:1", 5, "/c"), ("/f", "a:2", None, None), (LONG, "a:1", None, "/c"), ("/g", "a:3", 7, None)]


class Rows:
    """Direct hands on the rows of a store."""

    def __init__(self, catalog: Catalog, txn: Transaction) -> None:
        self.tables = catalog.store.tables
        self.txn = txn

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.txn.put(key, value, db=self.tables[table])

    def delete(self, table: str, key: bytes, value: bytes = b"") -> None:
        assert self.txn.delete(key, value, db=self.tables[table])

    def record(self, lfn: str) -> StoredRecord:
        return layout.decode_record(self.txn.get(layout.key(lfn), b"", self.tables["lfn"]))

    def put_record(self, lfn: str, record: StoredRecord) -> None:
        self.put("lfn", layout.key(lfn), layout.encode(record))

    def collection(self) -> StoredCollection:
        return layout.decode_collection(self.txn.get(b"/c", b"", self.tables["collection"]))


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[Callable[[Rows], None]], list[str]]:
    """Does the damage to a small catalog; what the check says then."""

    def damage(hands: Callable[[Rows], None]) -> list[str]:
        with Catalog.create(tmp_path / "store", "SITE") as catalog:
            items = [MappingItem(lfn, pfn, size, None, collection) for lfn, pfn, size, collection in FILES]
            assert catalog.write(MappingsBody("put", items)).errors == []
            assert check(catalog).sound
            with catalog.store.writing() as txn:
                hands(Rows(catalog, txn))
            return check(catalog).findings

    return damage


def _digest_of(lfn: str) -> bytes:
    return digest.stored(digest.of([lfn]))[0]


DAMAGE: dict[str, tuple[Callable[[Rows], None], str]] = {
    "record gone": (lambda rows: rows.delete("lfn", b"/f"), "names lfn key '/f', which is not there"),
    "record unreadable": (lambda rows: rows.put("lfn", b"/f", b"\xc1"), "record '/f' cannot be read"),
    "record without PFNs": (
        lambda rows: rows.put_record("/g", StoredRecord(7, None, 0, ())),
        "lfn '/g' has 0 PFNs; expected 1 to 1,000",
    ),
    "PFN twice": (lambda rows: rows.put_record("/g", StoredRecord(7, None, 0, ("a:3", "a:3"))), "has a PFN twice"),
    "bad checksum": (lambda rows: rows.put_record("/g", StoredRecord(7, "md5:1", 0, ("a:3",))), "md5 checksum needs"),
    "negative size": (lambda rows: rows.put_record("/g", StoredRecord(-1, None, 0, ("a:3",))), "'/g' has size -1"),
    "bad PFN": (lambda rows: rows.put_record("/g", StoredRecord(7, None, 0, ("a\n",))), "holds a control character"),
    "bad LFN": (
        lambda rows: rows.put_record("\x01", StoredRecord(7, None, 0, ("a:3",))),
        "lfn '\\x01' holds a control",
    ),
    "long name under another key": (
        lambda rows: rows.put_record(LONG, replace(rows.record(LONG), lfn=LONG + "y")),
        "lies under another key",
    ),
    "short name repeated": (
        lambda rows: rows.put_record("/g", replace(rows.record("/g"), lfn="/g")),
        "repeats the name",
    ),
    "PFN row gone": (lambda rows: rows.delete("pfn", b"a:2", b"/f"), "pfn 'a:2' of lfn '/f' is not in the pfn table"),
    "PFN row too many": (lambda rows: rows.put("pfn", b"a:9", b"/f"), "the pfn table has 'a:9' under lfn key '/f'"),
    "PFN row of no LFN": (lambda rows: rows.put("pfn", b"a:9", b"/no"), "pfn table names lfn key '/no', which is not"),
    "digest gone": (
        lambda rows: rows.delete("digest", _digest_of("/f")[:2], _digest_of("/f")),
        "the digest of lfn '/f' is not in the digest table",
    ),
    "digest too many": (lambda rows: rows.put("digest", b"no", b"no" + b"0" * 14), "there are 4 digests of 3 LFNs"),
    "digest misplaced": (lambda rows: rows.put("digest", b"no", b"0" * 16), "lies under 6e6f"),
    "member gone": (
        lambda rows: rows.delete("member", layout.id_key(1), b"/f"),
        "lfn '/f' is not among the members of its collection 1",
    ),
    "member too many": (
        lambda rows: rows.put("member", layout.id_key(1), b"/g"),
        "lfn key '/g' is a member of collection 1, which its record does not name",
    ),
    "collection gone": (lambda rows: rows.delete("collection", b"/c"), "there are 1 ids of 0 collections"),
    "collection unreadable": (lambda rows: rows.put("collection", b"/c", b"\xc1"), "collection '/c' cannot be read"),
    "collection misplaced": (
        lambda rows: rows.put("collection", b"/d", layout.encode(rows.collection())),
        "collection '/c' lies under another key, '/d'",
    ),
    "collection id gone": (lambda rows: rows.delete("collection_name", layout.id_key(1)), "does not name it"),
    "collection id not given out": (
        lambda rows: rows.put("collection", b"/c", layout.encode(replace(rows.collection(), id=9))),
        "has id 9; expected 1 to 1",
    ),
    "files miscounted": (
        lambda rows: rows.put("collection", b"/c", layout.encode(replace(rows.collection(), files=3))),
        "says 3 files, 5 bytes, 1 of unknown size; its files are 2 files, 5 bytes, 1 of unknown size",
    ),
    "bytes miscounted": (
        lambda rows: rows.put(
            "collection", b"/c", layout.encode(replace(rows.collection(), size_sum=layout.size_sum(6)))
        ),
        "says 2 files, 6 bytes",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found(what: str, damaged: Callable[[Callable[[Rows], None]], list[str]]) -> None:
    hands, words = DAMAGE[what]
    assert [finding for finding in damaged(hands) if words in finding]


@pytest.mark.parametrize("total", ["lfns", "mappings", "collections"])
def test_a_total_that_is_wrong_is_found(total: str, tmp_path: Path) -> None:
    with Catalog.create(tmp_path / "store", "SITE") as catalog:
        catalog.write(MappingsBody("put", [MappingItem("/f", "a:1", 5, None, "/c")]))
        with catalog.store.writing() as txn:
            catalog.store.put_state(txn, replace(catalog.store.state(txn), **{total: 1_007}))
        (finding,) = check(catalog).findings
        assert finding.startswith("the state says 1,007 ") and finding.endswith("there are 1")


def test_a_report_counts_and_lists_a_bounded_number(catalog: Catalog) -> None:
    count = FINDINGS_MAX + 50
    names = [f"/{number}" for number in range(count)]
    catalog.write(MappingsBody("put", [MappingItem(name, "a:1") for name in names]))
    with catalog.store.writing() as txn:
        for name in names:
            Rows(catalog, txn).delete("pfn", b"a:1", name.encode())
    report = check(catalog)
    assert (report.sound, len(report.findings), report.found) == (False, FINDINGS_MAX, count)
    with catalog.store.writing() as txn:
        for name in names:
            Rows(catalog, txn).put("pfn", b"a:1", name.encode())


def test_progress_is_told_from_the_first_rows_to_the_last(catalog: Catalog) -> None:
    catalog.write(MappingsBody("put", [MappingItem(f"/{number}", "a:1") for number in range(PROGRESS_ROWS)]))
    told: list[tuple[int, int]] = []
    report = check(catalog, lambda seen, all_rows: told.append((seen, all_rows)))
    assert (report.lfns, report.mappings, report.collections, report.sound) == (10_000, 10_000, 0, True)
    assert told == [(10_000, 30_001), (20_000, 30_001), (30_000, 30_001), (30_001, 30_001)]
