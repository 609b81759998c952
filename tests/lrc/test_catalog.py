"""A catalog's reads and writes where names are at their limits, share keys or share digests."""

import colliding
import numpy as np
import pytest

from lrc.catalog import Catalog
from lrc.layout import KEY_BYTES_MAX, key
from reploc import digest
from reploc.errors import NameInvalid, QueryInvalid
from reploc.wire import SIZE_MAX, DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem

#: 496 bytes, so that names that begin with them and have one digest have one key.
LONG = "/long/" + "x" * 490


def put(catalog: Catalog, *items: MappingItem, atomic: bool = False) -> list[tuple[int, str]]:
    return [(error.index, error.code) for error in catalog.write(MappingsBody("put", list(items), atomic)).errors]


def test_a_short_name_of_the_bytes_of_a_long_names_key_would_be_long_itself() -> None:
    assert len(key("x" * 510)) == 510
    assert len(key("x" * 511)) == len(key("x" * 4096)) == KEY_BYTES_MAX


@pytest.mark.parametrize("prefix", ["", LONG])
def test_an_lfn_with_the_digest_of_another_is_refused(catalog: Catalog, prefix: str) -> None:
    one, other = colliding.pair(prefix)
    assert put(catalog, MappingItem(one, "a:1")) == []
    assert put(catalog, MappingItem("/f", "a:1"), MappingItem(other, "a:2")) == [(1, "digest-collision")]
    assert catalog.lookup(other) is None and catalog.lookup(one) is not None and catalog.lookup("/f") is not None
    assert catalog.exists([one, other]).known == [one]
    assert catalog.lookup_many([one, other]).unknown == [other]
    renamed = catalog.write(RenameBody("lfn", [RenameItem("/f", other)]))
    assert [error.code for error in renamed.errors] == ["digest-collision"]


@pytest.mark.parametrize("prefix", ["", LONG])
def test_two_new_lfns_of_one_digest_in_one_request_are_told_apart(catalog: Catalog, prefix: str) -> None:
    one, other = colliding.pair(prefix)
    assert put(catalog, MappingItem(one, "a:1"), MappingItem(other, "a:2")) == [(1, "digest-collision")]
    assert put(catalog, MappingItem(other, "a:2"), atomic=True) == [(0, "digest-collision")]
    catalog.write(DeleteBody([DeleteItem(one)]))
    assert put(catalog, MappingItem(other, "a:2")) == []


def test_pfns_that_share_a_key_are_two_pfns(catalog: Catalog) -> None:
    one, other = colliding.pair(LONG)
    assert key(one) == key(other)
    assert put(catalog, MappingItem("/f", one), MappingItem("/f", other), MappingItem("/g", other)) == []
    assert (catalog.lfns_by_pfn(one).lfns, catalog.lfns_by_pfn(other).lfns) == (["/f"], ["/f", "/g"])
    catalog.write(DeleteBody([DeleteItem("/f", other)]))
    assert (catalog.lfns_by_pfn(one).lfns, catalog.lfns_by_pfn(other).lfns) == (["/f"], ["/g"])
    catalog.write(RenameBody("pfn", [RenameItem(one, other)]))
    assert (catalog.lfns_by_pfn(one).lfns, catalog.lfns_by_pfn(other).lfns) == ([], ["/f", "/g"])


def test_collections_that_share_a_key_are_refused(catalog: Catalog) -> None:
    one, other = colliding.pair(LONG)
    items = [MappingItem("/f", "a:1", 1, None, one), MappingItem("/g", "a:1", 1, None, other)]
    refused = put(catalog, *items)
    assert [code for _, code in refused] == ["digest-collision"]
    held = one if refused[0][0] == 1 else other
    assert catalog.collection(held).files == 1
    assert put(catalog, *(MappingItem("/h", "a:1", 1, None, name) for name in (one, other) if name != held)) == [
        (0, "digest-collision")
    ]


def test_a_name_can_be_deleted_and_registered_in_one_commit(catalog: Catalog) -> None:
    put(catalog, MappingItem("/f", "a:1", 3, None, "/c"))
    commit = catalog.apply(
        [DeleteBody([DeleteItem("/f")]), MappingsBody("create", [MappingItem("/f", "a:1", 3, None, "/c")])]
    )
    assert not commit.changed and commit.position == 1
    assert len(commit.news.added) == len(commit.news.removed) == 0


def test_a_commit_says_which_digests_came_and_went(catalog: Catalog) -> None:
    put(catalog, MappingItem("/f", "a:1"), MappingItem("/g", "a:1"))
    commit = catalog.apply([RenameBody("lfn", [RenameItem("/f", "/h")]), DeleteBody([DeleteItem("/g")])])
    assert np.array_equal(commit.news.added, digest.of(["/h"]))
    assert sorted(digest.stored(commit.news.removed)) == sorted(digest.stored(digest.of(["/f", "/g"])))
    assert commit.position == catalog.position == 2


def test_a_write_that_changes_nothing_answers_with_the_position_that_is(catalog: Catalog) -> None:
    put(catalog, MappingItem("/f", "a:1"))
    for body in (
        MappingsBody("put", [MappingItem("/f", "a:1")]),
        MappingsBody("put", []),
        DeleteBody([DeleteItem("/x")]),
    ):
        assert catalog.write(body).position == 1


def test_a_total_beyond_what_a_message_carries_is_said_to_be_that_much(catalog: Catalog) -> None:
    put(catalog, *(MappingItem(f"/{number}", "a:1", SIZE_MAX, None, "/c") for number in range(4)))
    assert catalog.collection("/c").bytes == SIZE_MAX
    catalog.write(DeleteBody([DeleteItem(f"/{number}") for number in range(3)]))
    catalog.write(MappingsBody("put", [MappingItem("/3", "a:1", 7)], update=True))
    assert catalog.collection("/c").bytes == 7


def test_every_slot_count_divides_the_same_digests(catalog: Catalog) -> None:
    names = [f"/file-{number}" for number in range(2_000)]
    put(catalog, *(MappingItem(name, "a:1") for name in names))
    everything = sorted(digest.stored(digest.of(names)))
    for slots in (1, 2, 256, 65_536):
        counts = catalog.slot_counts(slots)
        assert np.array_equal(counts, np.bincount(digest.slots_of(digest.of(names), slots), minlength=slots))
        filled = np.flatnonzero(counts).tolist()
        found = catalog.digests(filled, slots).digests
        assert [len(one) for one in found] == counts[filled].tolist()
        assert [one for each in found for one in digest.stored(each)] == everything
    assert catalog.digests([65_535 if not counts[65_535] else int(np.argmin(counts))], 65_536).digests[0].shape == (
        0,
        2,
    )


@pytest.mark.parametrize(("numbers", "slots"), [([0], 3), ([0], 0), ([0], 1 << 17), ([4], 4), ([-1], 4)])
def test_slots_that_cannot_be_are_refused(catalog: Catalog, numbers: list[int], slots: int) -> None:
    with pytest.raises(QueryInvalid, match="expected"):
        catalog.digests(numbers, slots)


@pytest.mark.parametrize("wrong", ["", "\ud800"])
def test_reading_by_what_is_no_name_is_the_readers_error(catalog: Catalog, wrong: str) -> None:
    for read in (catalog.lookup, catalog.lfns_by_pfn, catalog.collection):
        with pytest.raises(NameInvalid, match="expected 1 to 4,096 bytes"):
            read(wrong)
    for read_many in (catalog.lookup_many, catalog.exists):
        with pytest.raises(NameInvalid, match="expected 1 to 4,096 bytes"):
            read_many([wrong])


def test_an_epoch_is_above_the_last_and_above_what_is_asked(catalog: Catalog) -> None:
    assert [catalog.raise_epoch(), catalog.raise_epoch(), catalog.raise_epoch(above=41), catalog.raise_epoch(3)] == [
        *(1, 2, 42, 43)
    ]
    with pytest.raises(QueryInvalid, match="no room"):
        catalog.raise_epoch(SIZE_MAX)
    assert catalog.state().epoch == 43 and catalog.position == 0
