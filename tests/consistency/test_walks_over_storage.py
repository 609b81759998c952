"""The walk over storage: real trees, doors that fail, break off, lie and hang, and walks that are killed."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from consistency.checkpoint import Begun, Checkpoint, Seen, read
from consistency.intervals import Intervals
from consistency.listers.lister import Answer, Failed, Listed
from consistency.listers.posix import PosixLister
from consistency.listing import ListingSettings, Summary, Walk
from reploc.errors import StoreError

QUICK = ListingSettings(pause_s=0.001, timeout_s=5.0)


class Door:
    """A lister over a dictionary, whose answers may be spoilt: `spoil` gets (directory, how often it was asked)."""

    batch = 2

    def __init__(self, door: str, tree: dict[bytes, Listed], spoil=lambda directory, times: None) -> None:
        self.door = door
        self.tree = tree
        self.asked: dict[bytes, int] = {}
        self._spoil = spoil

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        answers = []
        for each in directories:
            self.asked[each] = self.asked.get(each, 0) + 1
            spoilt = self._spoil(each, self.asked[each])
            answers.append(await spoilt if asyncio.iscoroutine(spoilt) else spoilt or self.tree.get(each))
        return answers

    async def close(self) -> None:
        pass


TREE = {
    b"/": Listed(directories=[(b"a", 1), (b"b", 1)]),
    b"/a": Listed(files=[(b"f", 3, 1, None)], directories=[(b"c", 1)]),
    b"/a/c": Listed(files=[(b"g", 4, 1, None), (b"\xff\n", 5, 1, None)]),
    b"/b": Listed(files=[(b"h", 1, 1, None)]),
}


async def walked(
    path: Path, doors: Sequence, settings=QUICK, filled=lambda directory: False, excluded=(), roots=(b"/",)
) -> tuple[Summary, dict[bytes, Seen]]:
    with Checkpoint(path / "journal", Begun("site", list(roots), 0.0)) as checkpoint:
        walk = Walk(doors, settings, checkpoint, filled, Intervals(excluded), lambda *_: None)
        summary = await walk.run()
    return summary, {seen.path: seen for seen in read(path / "journal")}


async def test_a_real_tree_is_listed_with_names_of_any_bytes(tmp_path: Path):
    root = tmp_path / "storage"
    deep = os.fsencode(root) + b"/d/\xff\xfe/ e\n"
    os.makedirs(deep)
    Path(os.fsdecode(deep + b"/" + b"n" * 255)).write_bytes(b"12345")
    (root / "link").symlink_to("d")
    lister = PosixLister(root)
    summary, seen = await walked(tmp_path, [lister])
    await lister.close()
    assert seen[b"/d/\xff\xfe/ e\n"].files[0][:2] == (b"n" * 255, 5)
    assert (summary.directories, summary.files, summary.others, summary.failed) == (4, 1, 1, 0)


async def test_a_root_that_is_not_there_is_named(tmp_path: Path):
    summary, seen = await walked(tmp_path, [Door("d", TREE)], roots=(b"/a", b"/z"))
    assert summary.absent_roots == [b"/z"]
    assert seen[b"/z"].state == "gone"


async def test_a_directory_that_fails_is_asked_through_another_door(tmp_path: Path):
    bad = Door("bad", TREE, lambda directory, times: Failed("broken"))
    good = Door("good", TREE)
    summary, seen = await walked(tmp_path, [bad, good], ListingSettings(attempts=2, pause_s=0.001, per_door=1))
    assert {path: each.door for path, each in seen.items()} == dict.fromkeys(TREE, "good")
    assert (summary.failed, summary.files) == (0, 4)


async def test_a_directory_that_always_fails_is_not_seen_and_says_why(tmp_path: Path):
    door = Door("d", TREE, lambda directory, times: Failed("no luck") if directory == b"/a" else None)
    summary, seen = await walked(tmp_path, [door])
    assert (seen[b"/a"].state, seen[b"/a"].why, door.asked[b"/a"]) == ("failed", "no luck", QUICK.attempts)
    assert b"/a/c" not in seen
    assert summary.failed == 1


async def test_what_cannot_get_better_is_not_asked_again(tmp_path: Path):
    door = Door("d", TREE, lambda directory, times: Failed("forbidden", False) if directory == b"/a" else None)
    await walked(tmp_path, [door])
    assert door.asked[b"/a"] == 1


async def test_a_listing_that_breaks_off_is_asked_again_and_else_partial(tmp_path: Path):
    half = Listed(files=[(b"f", 3, 1, None)], complete=False)
    door = Door("d", TREE, lambda directory, times: half if directory == b"/a" and times < 3 else None)
    _, seen = await walked(tmp_path, [door])
    assert seen[b"/a"].state == "listed"
    never = Door("d", TREE, lambda directory, times: half if directory == b"/a" else None)
    (tmp_path / "second").mkdir()
    summary, seen = await walked(tmp_path / "second", [never])
    assert (seen[b"/a"].state, len(seen[b"/a"].files), summary.partial) == ("partial", 1, 1)


async def test_an_empty_answer_for_a_directory_that_the_catalog_fills_is_not_believed_at_once(tmp_path: Path):
    lies = Door("d", TREE, lambda directory, times: Listed() if directory == b"/b" and times < 3 else None)
    _, seen = await walked(tmp_path, [lies], filled=lambda directory: directory == b"/b")
    assert len(seen[b"/b"].files) == 1
    (tmp_path / "second").mkdir()
    empty = Door("d", {**TREE, b"/b": Listed()})
    _, seen = await walked(tmp_path / "second", [empty], filled=lambda directory: True)
    assert (seen[b"/b"].state, empty.asked[b"/b"]) == ("listed", 3)


async def test_a_directory_that_was_told_of_and_is_never_there_was_not_seen(tmp_path: Path):
    tree = {b"/": Listed(directories=[(b"q?x", 1), (b"a", 1)]), b"/a": Listed(files=[(b"f", 1, 1, None)])}
    door = Door("d", tree)
    summary, seen = await walked(tmp_path, [door])
    assert (seen[b"/q?x"].state, door.asked[b"/q?x"], summary.failed) == ("failed", QUICK.attempts, 1)
    assert seen[b"/a"].state == "listed"


async def test_a_door_that_hangs_is_given_up_after_its_time(tmp_path: Path):
    async def forever() -> Answer:
        await asyncio.Event().wait()
        return None

    door = Door("d", TREE, lambda directory, times: forever() if directory == b"/a" and times == 1 else None)
    settings = ListingSettings(timeout_s=0.05, pause_s=0.001)
    summary, seen = await walked(tmp_path, [door], settings)
    assert seen[b"/a"].state == "listed"
    assert summary.retries >= 1


async def test_excluded_directories_are_not_entered(tmp_path: Path):
    _, seen = await walked(tmp_path, [Door("d", TREE)], excluded=[b"/a/c"])
    assert set(seen) == {b"/", b"/a", b"/b"}


async def test_no_door_is_asked_more_at_once_than_it_may_be(tmp_path: Path):
    wide = {b"/": Listed(directories=[(b"%d" % n, 1) for n in range(40)])}
    now = most = 0

    async def counted() -> Answer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1
        return Listed(files=[(b"f", 1, 1, None)])

    door = Door("d", wide, lambda directory, times: counted() if directory != b"/" else None)
    door.batch = 1
    summary, _ = await walked(tmp_path, [door], ListingSettings(per_door=3))
    assert (most, summary.files) == (3, 40)


@pytest.mark.parametrize("kept", range(0, 60, 7))
async def test_a_walk_that_was_killed_goes_on_from_its_journal(tmp_path: Path, kept: int):
    """Whatever part of the journal has reached the disk, the walk ends with the same directories."""
    await walked(tmp_path, [Door("d", TREE)])
    journal = tmp_path / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) - kept])
    door = Door("d", TREE)
    summary, seen = await walked(tmp_path, [door])
    assert {path: (each.files, each.directories) for path, each in seen.items()} == {
        path: (listed.files, listed.directories) for path, listed in TREE.items()
    }
    assert sum(door.asked.values()) + summary.resumed == len(TREE)
    assert summary.files == 4


async def test_the_journal_of_another_listing_is_refused(tmp_path: Path):
    await walked(tmp_path, [Door("d", TREE)])
    with pytest.raises(StoreError, match="is the listing of site"):
        Checkpoint(tmp_path / "journal", Begun("other", [b"/"], 0.0))
