"""Every lister, held to the conformance suite over real storage."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from suites.listers import ListerSuite, look

from consistency.listers.lister import Failed
from consistency.listers.posix import PosixLister


class TestPosix(ListerSuite):
    """A file system: names of any bytes."""

    names = (*ListerSuite.names, b"\xff\xfe", b"line\nbreak", b"tab\t")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    async def lister(self, root: Path) -> AsyncIterator[PosixLister]:
        made = PosixLister(root)
        yield made
        await made.close()

    async def test_links_and_pipes_are_no_files(self, root: Path, lister: PosixLister) -> None:
        (root / "link").symlink_to("elsewhere")
        found = (await lister.look([b"/"]))[0]
        assert (found.files, found.others) == ([], 1)  # type: ignore[union-attr]

    async def test_what_no_file_system_takes_is_not_asked_again(self, root: Path, lister: PosixLister) -> None:
        assert await look(lister, b"/" + b"n" * 300) == Failed(f"/{'n' * 300}: File name too long", retryable=False)
