"""The rules of mappings: what stands before, one request, and what must stand after."""

from typing import Literal

import pytest

from lrc import mappings
from lrc.layout import PFNS_PER_LFN_MAX
from lrc.mappings import MappingBody, Outcome, Overlay, Record
from reploc import digest
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem

ADLER = "adler32:0000000a"
BARE = Record("/f", None, None, None, ("a:1",))
FULL = Record("/f", 5, ADLER, "/c#1", ("a:1", "a:2"))


def overlay_of(*records: Record, unknown: tuple[str, ...] = ()) -> Overlay:
    overlay = Overlay()
    for record in records:
        overlay.load(record)
    overlay.load_unknown(unknown, digest.stored(digest.of(unknown)))
    return overlay


def applied(overlay: Overlay, body: MappingBody) -> Outcome:
    holders = {
        pfn: [lfn for lfn, record in overlay.after.items() if record and pfn in record.pfns]
        for pfn in mappings.pfns_of(body, {})
    }
    return mappings.apply(overlay, body, mappings.name_faults(body), holders)


def codes(outcome: Outcome) -> list[tuple[int, str]]:
    return [(error.index, error.code) for error in outcome.errors]


def register(
    mode: Literal["create", "add", "put"], *items: MappingItem, atomic: bool = False, update: bool = False
) -> MappingsBody:
    return MappingsBody(mode, list(items), atomic, update)


@pytest.mark.parametrize(
    ("mode", "known", "code"),
    [
        ("create", False, ""),
        ("create", True, "lfn-exists"),
        ("add", False, "lfn-unknown"),
        ("add", True, ""),
        ("put", False, ""),
        ("put", True, ""),
    ],
)
def test_each_mode_asks_whether_the_lfn_is_known(mode: Literal["create", "add", "put"], known: bool, code: str) -> None:
    overlay = overlay_of(BARE) if known else overlay_of(unknown=("/f",))
    outcome = applied(overlay, register(mode, MappingItem("/f", "a:9")))
    assert codes(outcome) == ([(0, code)] if code else [])
    record = overlay.after["/f"]
    assert (record is not None and "a:9" in record.pfns) is not bool(code)


@pytest.mark.parametrize("mode", ["add", "put"])
def test_a_mapping_that_is_there_is_success_and_changes_nothing(mode: Literal["add", "put"]) -> None:
    overlay = overlay_of(FULL)
    assert applied(overlay, register(mode, MappingItem("/f", "a:1", 5, ADLER, "/c#1"))) == Outcome(1, [])
    assert overlay.changes() == []


@pytest.mark.parametrize("item", [{"size": 6}, {"checksum": "adler32:0000000b"}, {"collection": "/c#2"}])
def test_an_attribute_that_differs_is_an_error_unless_the_request_updates(item: dict[str, int | str]) -> None:
    given = MappingItem("/f", "a:3", **item)  # type: ignore[arg-type]
    overlay = overlay_of(FULL)
    assert codes(applied(overlay, register("put", given))) == [(0, "attributes-differ")]
    assert overlay.changes() == []
    assert applied(overlay, register("put", given, update=True)) == Outcome(1, [])
    (field, value), after = next(iter(item.items())), overlay.after["/f"]
    assert after is not None and getattr(after, field) == value and after.pfns == ("a:1", "a:2", "a:3")


def test_an_attribute_that_was_unknown_is_filled_in() -> None:
    overlay = overlay_of(BARE)
    applied(overlay, register("add", MappingItem("/f", "a:1", 0, ADLER, "/c#1")))
    assert overlay.after["/f"] == Record("/f", 0, ADLER, "/c#1", ("a:1",))


def test_an_attribute_that_is_not_given_stays() -> None:
    overlay = overlay_of(FULL)
    assert applied(overlay, register("put", MappingItem("/f", "a:3"), update=True)) == Outcome(1, [])
    assert overlay.after["/f"] == Record("/f", 5, ADLER, "/c#1", ("a:1", "a:2", "a:3"))


def test_checksums_are_compared_and_kept_in_lower_case() -> None:
    overlay = overlay_of(FULL, unknown=("/g",))
    outcome = applied(
        overlay, register("put", *(MappingItem(lfn, "a:1", checksum="ADLER32:0000000A") for lfn in ("/f", "/g")))
    )
    assert outcome == Outcome(2, [])
    assert overlay.after["/g"] == Record("/g", None, ADLER, None, ("a:1",))


def test_an_lfn_cannot_have_more_than_a_thousand_pfns() -> None:
    full = Record("/f", None, None, None, tuple(f"a:{number}" for number in range(PFNS_PER_LFN_MAX)))
    outcome = applied(overlay_of(full), register("put", MappingItem("/f", "b:1"), MappingItem("/f", "a:999")))
    assert codes(outcome) == [(0, "pfns-full")] and outcome.done == 1


@pytest.mark.parametrize(
    ("item", "code", "rest"),
    [
        (DeleteItem("/f", "a:1"), "", ("a:2",)),
        (DeleteItem("/f"), "", None),
        (DeleteItem("/f", "a:9"), "mapping-unknown", ("a:1", "a:2")),
        (DeleteItem("/g"), "lfn-unknown", ("a:1", "a:2")),
        (DeleteItem("/g", "a:1"), "lfn-unknown", ("a:1", "a:2")),
    ],
)
def test_a_deletion_takes_a_mapping_or_all_of_an_lfn(item: DeleteItem, code: str, rest: tuple[str, ...] | None) -> None:
    overlay = overlay_of(FULL, unknown=("/g",))
    assert codes(applied(overlay, DeleteBody([item]))) == ([(0, code)] if code else [])
    after = overlay.after["/f"]
    assert (after.pfns if after else None) == rest


def test_an_lfn_goes_with_its_last_mapping() -> None:
    overlay = overlay_of(FULL)
    assert applied(overlay, DeleteBody([DeleteItem("/f", "a:2"), DeleteItem("/f", "a:1")])) == Outcome(2, [])
    assert overlay.changes() == [(FULL, None)]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("/f", "/h", ""),
        ("/f", "/f", ""),
        ("/f", "/g", "lfn-exists"),
        ("/h", "/i", "lfn-unknown"),
        ("/h", "/h", "lfn-unknown"),
    ],
)
def test_an_lfn_is_renamed_to_one_that_is_unknown(old: str, new: str, code: str) -> None:
    overlay = overlay_of(FULL, Record("/g", None, None, None, ("a:1",)), unknown=("/h", "/i"))
    assert codes(applied(overlay, RenameBody("lfn", [RenameItem(old, new)]))) == ([(0, code)] if code else [])
    if not code and old != new:
        assert overlay.after["/f"] is None
        assert overlay.after["/h"] == Record("/h", 5, ADLER, "/c#1", ("a:1", "a:2"))


def test_a_pfn_is_renamed_under_every_lfn_that_it_stands_under() -> None:
    overlay = overlay_of(FULL, Record("/g", None, None, None, ("a:1",)), Record("/h", None, None, None, ("a:5",)))
    assert applied(overlay, RenameBody("pfn", [RenameItem("a:1", "b:1")])) == Outcome(1, [])
    assert [after.pfns for after in overlay.after.values() if after] == [("b:1", "a:2"), ("b:1",), ("a:5",)]


def test_a_pfn_that_becomes_another_of_the_same_lfn_is_one_with_it() -> None:
    overlay = overlay_of(FULL)
    applied(overlay, RenameBody("pfn", [RenameItem("a:2", "a:1")]))
    after = overlay.after["/f"]
    assert after is not None and after.pfns == ("a:1",)


def test_renamings_of_pfns_in_one_request_see_each_other() -> None:
    overlay = overlay_of(FULL)
    items = [RenameItem("a:1", "b:1"), RenameItem("b:1", "c:1"), RenameItem("a:1", "d:1"), RenameItem("x:1", "x:1")]
    assert codes(applied(overlay, RenameBody("pfn", items))) == [(2, "pfn-unknown"), (3, "pfn-unknown")]
    after = overlay.after["/f"]
    assert after is not None and after.pfns == ("c:1", "a:2")


def test_a_renaming_of_pfns_under_too_many_lfns_is_refused() -> None:
    body = RenameBody("pfn", [RenameItem("a:1", "b:1")])
    outcome = mappings.apply(overlay_of(FULL), body, {}, {"a:1": None, "b:1": []})
    assert codes(outcome) == [(0, "too-large")]


def test_one_error_undoes_all_of_an_atomic_request_and_every_error_is_listed() -> None:
    overlay = overlay_of(FULL, unknown=("/g", "/h"))
    applied(overlay, register("create", MappingItem("/h", "a:7")))
    items = [MappingItem("/g", "a:1"), MappingItem("/f", "a:9"), MappingItem("/g", "a:2"), MappingItem("", "a:1")]
    outcome = applied(overlay, register("create", *items, atomic=True))
    assert outcome.done == 0
    assert codes(outcome) == [(1, "lfn-exists"), (2, "lfn-exists"), (3, "name-invalid")]
    assert overlay.changes() == [(None, Record("/h", None, None, None, ("a:7",)))]


def test_an_undone_request_frees_the_digest_that_it_claimed() -> None:
    overlay = Overlay()
    overlay.load_unknown(["/f", "/g", "/x"], [b"same", b"same", b"x"])
    failing = register("create", MappingItem("/f", "a:1"), MappingItem("/x", ""), atomic=True)
    assert applied(overlay, failing).done == 0
    assert applied(overlay, register("create", MappingItem("/g", "a:1"))) == Outcome(1, [])


def test_two_new_lfns_of_one_digest_cannot_both_stand() -> None:
    overlay = Overlay()
    overlay.load_unknown(["/f", "/g"], [b"same", b"same"])
    outcome = applied(overlay, register("put", MappingItem("/f", "a:1"), MappingItem("/g", "a:1")))
    assert codes(outcome) == [(1, "digest-collision")]
    applied(overlay, DeleteBody([DeleteItem("/f")]))
    assert applied(overlay, register("put", MappingItem("/g", "a:1"))) == Outcome(1, [])


def test_an_lfn_whose_digest_stands_in_the_catalog_is_refused() -> None:
    overlay = overlay_of(FULL)
    overlay.load_unknown(["/g"], [b"there"], taken=["/g"])
    assert codes(applied(overlay, register("put", MappingItem("/g", "a:1")))) == [(0, "digest-collision")]
    assert codes(applied(overlay, RenameBody("lfn", [RenameItem("/f", "/g")]))) == [(0, "digest-collision")]
    assert overlay.changes() == []


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (MappingItem("", "a:1"), "lfn is empty"),
        (MappingItem("/f", "x" * 4097), "pfn is 4,097 bytes long"),
        (MappingItem("/f", "a:1", collection="a\tb"), "collection holds a control character"),
        (MappingItem("/f", "a:1", checksum="adler32:xyz"), "adler32 checksum needs 8"),
        (MappingItem("/f", "a:1", checksum=""), "checksum names no known algorithm"),
        (MappingItem("\ud800", "a:1"), "half a surrogate pair"),
    ],
)
def test_an_invalid_name_is_its_items_error_and_says_which_field(item: MappingItem, word: str) -> None:
    outcome = applied(overlay_of(unknown=("/g",)), register("put", MappingItem("/g", "a:1"), item))
    assert codes(outcome) == [(1, "name-invalid")] and outcome.done == 1
    assert word in outcome.errors[0].message


def test_an_error_quotes_a_long_name_in_part() -> None:
    outcome = applied(overlay_of(unknown=("/" + "x" * 4000,)), DeleteBody([DeleteItem("/" + "x" * 4000)]))
    assert len(outcome.errors[0].message) < 300
