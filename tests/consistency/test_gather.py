"""What a listing says: files as records, when directories were seen, what was not, and what is empty."""

import os
from pathlib import Path

from consistency.checkpoint import Begun, Checkpoint, Seen
from consistency.gather import EmptyDirectory, gather, listed_at
from consistency.parts import Parts
from consistency.records import STORAGE


def journal(path: Path, *seen: Seen) -> Path:
    with Checkpoint(path / "journal", Begun("site", [b"/"], 0.0)) as checkpoint:
        for each in seen:
            checkpoint.seen(each)
    return path / "journal"


def directory(
    path: bytes, files: tuple[bytes, ...] = (), below: tuple[bytes, ...] = (), state="listed", at=0.0, **more
):
    told = [(name, 7, 3, "ADLER32:1A") for name in files]
    return Seen(path, at, state, told, [(name, 5) for name in below], **more)


def test_files_become_records_and_what_was_not_seen_whole_is_known(tmp_path: Path):
    path = journal(
        tmp_path,
        directory(b"/", (b"f",), (b"a", b"b")),
        directory(b"/a", (b"\xff\n",), state="partial", why="it broke off"),
        directory(b"/b", state="failed", why="forbidden"),
    )
    with Parts(tmp_path / "storage", STORAGE, 1) as storage:
        found = gather(path, storage)
    assert storage.part(0).rows() == [
        (b"/a/\xff\n", 7, "adler32:0000001a", 3), (b"/f", 7, "adler32:0000001a", 3),
    ]  # fmt: skip
    assert found.unseen == {b"/a": "it broke off", b"/b": "forbidden"}
    assert found.unknown.covers(b"/b/x")


def test_a_directory_is_empty_when_nothing_but_empty_directories_is_below_it(tmp_path: Path):
    path = journal(
        tmp_path,
        directory(b"/", (), (b"full", b"hollow", b"half", b"hidden", b"links")),
        directory(b"/full", (b"f",)),
        directory(b"/hollow", (), (b"x", b"y")),
        directory(b"/hollow/x"),
        directory(b"/hollow/y"),
        directory(b"/half", (), (b"x", b"y")),
        directory(b"/half/x"),
        directory(b"/half/y", (b"f",)),
        directory(b"/hidden", (), (b"x",)),
        directory(b"/hidden/x", state="failed"),
        directory(b"/links", others=1),
    )
    with Parts(tmp_path / "storage", STORAGE, 1) as storage:
        found = gather(path, storage)
    assert found.empty == [
        EmptyDirectory(each, 5) for each in (b"/half/x", b"/hollow/x", b"/hollow/y", b"/hollow")
    ]  # fmt: skip


def test_a_path_was_last_seen_when_its_nearest_directory_was_asked_about(tmp_path: Path):
    path = journal(
        tmp_path, directory(b"/", (), (b"a",), at=1.0), directory(b"/a", (b"f",), at=2.0), directory(b"/b", at=9.0)
    )
    assert listed_at(path, [b"/a/f", b"/a/gone/deep/f", b"/f", b"/c/f"]) == {
        b"/a/f": 2.0, b"/a/gone/deep/f": 2.0, b"/f": 1.0, b"/c/f": 1.0,
    }  # fmt: skip


def test_a_large_listing_is_handed_on_as_it_is_read(tmp_path: Path):
    many = tuple(os.fsencode(f"f{number}") for number in range(40_000))
    path = journal(tmp_path, directory(b"/", many, (b"a",)), directory(b"/a", many))
    with Parts(tmp_path / "storage", STORAGE, 2) as storage:
        gather(path, storage)
    assert storage.rows == 80_000
