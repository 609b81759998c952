"""The log of changes: every commit's LFNs in order, bounded, and told by pages over HTTP."""

from pathlib import Path

import msgspec
import pytest

from lrc import change_log
from lrc.catalog import Catalog
from lrc.check import check
from reploc.errors import ChangesForgotten
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem


def put(catalog: Catalog, *lfns: str) -> int:
    return catalog.write(MappingsBody("put", [MappingItem(lfn, f"file://{lfn}") for lfn in lfns])).position


def logged(catalog: Catalog, after: int = 0) -> list[tuple[str, int]]:
    found, follow = [], after
    while follow is not None:
        page = catalog.changes(follow, 2)
        found += [(change.lfn, change.position) for change in page.changes]
        follow = page.next
    return found


@pytest.fixture
def catalog(tmp_path: Path):
    with Catalog.create(tmp_path, "site") as made:
        yield made
        report = check(made)
        assert report.sound, report.findings


def test_additions_changes_renamings_and_deletions_are_logged_each_under_its_commit(catalog: Catalog):
    first = put(catalog, "/a", "/b")
    again = put(catalog, "/a")
    renamed = catalog.write(RenameBody("lfn", [RenameItem("/b", "/c")])).position
    gone = catalog.write(DeleteBody([DeleteItem("/a"), DeleteItem("/nowhere")])).position
    assert again == first  # nothing changed, so there was no commit
    assert logged(catalog) == [
        ("/a", first), ("/b", first), ("/b", renamed), ("/c", renamed), ("/a", gone),
    ]  # fmt: skip
    assert logged(catalog, renamed) == [("/a", gone)]
    assert logged(catalog, gone) == []


def test_moments_are_of_the_clock_and_a_page_holds_whole_commits(catalog: Catalog):
    position = put(catalog, "/a", "/b", "/c")
    put(catalog, "/d")
    page = catalog.changes(0, 1)
    assert ([change.lfn for change in page.changes], page.next) == (["/a", "/b", "/c"], position)
    assert page.changes[0].at > 1e9


def test_the_log_is_bounded_and_says_when_it_does_not_reach_back(catalog: Catalog, tmp_path: Path):
    positions = [put(catalog, f"/{number}") for number in range(6)]
    store = catalog.store
    with store.writing() as txn:
        change_log.append(store, txn, positions[-1] + 1, 1.0, ["/x"], names_max=3)
    # The row is of a commit that never was: the state is taken along, as a commit would.
    with store.writing() as txn:
        state = store.state(txn)
        store.put_state(txn, type(state)(**{name: getattr(state, name) for name in state.__struct_fields__} | {
            "position": state.position + 1
        }))  # fmt: skip
    assert [lfn for lfn, _ in logged(catalog, positions[-3])] == ["/4", "/5", "/x"]
    with pytest.raises(ChangesForgotten, match=f"begins at position {positions[-2]}"):
        catalog.changes(0)


def test_from_a_moment_on_only_what_came_then_is_told_and_the_log_need_not_reach_back_further(catalog: Catalog):
    position, store = put(catalog, "/old"), catalog.store
    for number, moment in enumerate((10.0, 20.0, 30.0), 1):
        with store.writing() as txn:
            change_log.append(store, txn, position + number, moment, [f"/{moment:.0f}"], names_max=3)
            state = store.state(txn)
            store.put_state(txn, msgspec.structs.replace(state, position=position + number))

    def told(since: float) -> list[str]:
        found, follow = [], 0
        while follow is not None:
            page = catalog.changes(follow, 1, since)
            found += [change.lfn for change in page.changes]
            follow = page.next
        return found

    assert (told(30.0), told(15.0), told(31.0)) == (["/30"], ["/20", "/30"], [])
    with pytest.raises(ChangesForgotten, match="from 5"):
        catalog.changes(0, 1, 5.0)
