"""The conformance suite of listers: whoever passes it may list a site's storage.

A test class of one lister inherits from `ListerSuite` and gives two fixtures: `root`, a directory of this machine that
is what the lister shows, and `lister`, which speaks through the door to it.
"""

from __future__ import annotations

import os
from pathlib import Path

from consistency.listers.lister import Failed, Listed, Lister


async def look(lister: Lister, directory: bytes) -> Listed | Failed | None:
    return (await lister.look([directory]))[0]


class ListerSuite:
    """What every lister does alike."""

    #: Names that the lister's protocol can carry.
    names: tuple[bytes, ...] = (b"plain", b" blank ", b"a,b", b"a+b", b"a%20b", b"f", b"f+1", b"\xc3\xa4", b"n" * 255)

    async def test_files_are_told_with_size_and_time_and_directories_by_name(self, root: Path, lister: Lister) -> None:
        (root / "d").mkdir()
        for number, name in enumerate(self.names):
            Path(os.fsdecode(os.fsencode(root) + b"/d/" + name)).write_bytes(b"x" * number)
        (root / "d" / "below").mkdir()
        found = await look(lister, b"/d")
        assert isinstance(found, Listed)
        told = sorted((name, size) for name, size, _, _ in found.files)
        assert told == sorted((name, number) for number, name in enumerate(self.names))
        assert [name for name, _ in found.directories] == [b"below"]
        assert found.complete
        for name, _, mtime, _ in found.files:
            status = os.stat(os.fsencode(root) + b"/d/" + name)
            assert mtime is None or abs(mtime - status.st_mtime) <= 60  # some tools tell minutes

    async def test_the_root_itself_is_listed(self, root: Path, lister: Lister) -> None:
        (root / "f").write_bytes(b"abc")
        found = await look(lister, b"/")
        assert isinstance(found, Listed)
        assert [(name, size) for name, size, _, _ in found.files] == [(b"f", 3)]

    async def test_an_empty_directory_is_listed_and_empty(self, root: Path, lister: Lister) -> None:
        (root / "d").mkdir()
        found = await look(lister, b"/d")
        assert isinstance(found, Listed)
        assert found.empty

    async def test_a_directory_that_is_not_there_is_none(self, root: Path, lister: Lister) -> None:
        assert await look(lister, b"/nowhere") is None

    async def test_answers_come_in_the_order_of_the_questions(self, root: Path, lister: Lister) -> None:
        for name in ("a", "b"):
            (root / name).mkdir()
            (root / name / f"in-{name}").write_bytes(b"")
        answers = [*(await lister.look([b"/b"])), *(await lister.look([b"/nowhere"])), *(await lister.look([b"/a"]))]
        assert [None if each is None else each.files[0][0] for each in answers] == [b"in-b", None, b"in-a"]  # type: ignore[union-attr]
