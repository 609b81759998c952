"""Every lister, held to the conformance suite over real storage: files, an XRootD server, gfal, fsspec, dumps."""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pytest
import xrootd
from needed import needs_command
from suites.listers import ListerSuite, look
from xrootd import XrootdServer

from consistency import doors
from consistency.listers.dump import read
from consistency.listers.lister import Answer, Failed, Listed, Lister
from consistency.listers.posix import PosixLister
from consistency.records import STORAGE
from reploc.sites import Door, Site
from reploc.storage import shelf

Protocol = Literal["posix", "xrootd", "webdav", "gfal", "fsspec"]


async def through(protocol: Protocol, url: str) -> AsyncIterator[Lister]:
    """The lister that a site with such a door has."""
    site = Site(name="site", lrc="http://127.0.0.1:1", doors=[Door(protocol=protocol, url=url)])
    movers = shelf.made()
    (lister,) = doors.listers(site, movers)
    yield lister
    await lister.close()
    await shelf.closed(movers)


class TestPosix(ListerSuite):
    """A file system: names of any bytes."""

    names = (*ListerSuite.names, b"\xff\xfe", b"line\nbreak", b"tab\t")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    async def lister(self, root: Path) -> AsyncIterator[Lister]:
        async for each in through("posix", root.as_uri()):
            yield each

    async def test_links_and_pipes_are_no_files(self, root: Path, lister: PosixLister) -> None:
        (root / "link").symlink_to("elsewhere")
        found = (await lister.look([b"/"]))[0]
        assert (found.files, found.others) == ([], 1)  # type: ignore[union-attr]

    async def test_what_no_file_system_takes_is_not_asked_again(self, root: Path, lister: PosixLister) -> None:
        assert await look(lister, b"/" + b"n" * 300) == Failed(f"/{'n' * 300}: File name too long", retryable=False)


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


@pytest.fixture
def served(server: XrootdServer, request: pytest.FixtureRequest) -> Path:
    """A directory of the server's storage, for one test, as what stands below the site's root."""
    folder = server.data / f"{request.node.name}-{id(request)}"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


class TestXrootd(ListerSuite):
    """root://, by the client's command line; the server tells 254 bytes of a name."""

    names = (*(name[:254] for name in ListerSuite.names), b"\xff\xfe", b"\x01", b"back\\slash", b"tab\t")

    @pytest.fixture
    def root(self, served: Path) -> Path:
        return served

    @pytest.fixture
    async def lister(self, server: XrootdServer, root: Path) -> AsyncIterator[Lister]:
        async for each in through("xrootd", f"{server.root}/{root.name}"):
            yield each

    async def test_a_line_break_in_a_name_spoils_the_listing(self, root: Path, lister: Lister) -> None:
        (root / "line\nbreak").write_bytes(b"")
        assert isinstance(await look(lister, b"/"), Failed)

    @pytest.mark.parametrize("name", ["n" * 255, "é" * 127 + "z", "a" + "é" * 127])
    async def test_a_name_that_the_server_cuts_makes_the_listing_incomplete(
        self, root: Path, lister: Lister, name: str
    ) -> None:
        for each in (name, "plain", "m" * 254):
            (root / each).write_bytes(b"123")
        found = await look(lister, b"/")
        assert isinstance(found, Listed)
        assert (sorted(each[0] for each in found.files), found.complete) == ([b"m" * 254, b"plain"], False)


class TestWebdav(ListerSuite):
    """HTTP, by PROPFIND; this server tells 254 bytes of a name, and escapes none, so that one may look like another."""

    names = (*(name[:254] for name in ListerSuite.names if b"%" not in name), b"\xff\xfe", b"q?x")

    @pytest.fixture
    def root(self, served: Path) -> Path:
        return served

    @pytest.fixture
    async def lister(self, server: XrootdServer, root: Path) -> AsyncIterator[Lister]:
        async for each in through("webdav", f"{server.http}/{root.name}".replace("http:", "dav:")):
            yield each


class TestGfal(ListerSuite):
    """gfal's command line, on this machine's files."""

    names = (b"plain", b"a,b", b"a+b", b"f", b"f+1")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    async def lister(self, root: Path) -> AsyncIterator[Lister]:
        needs_command("gfal-ls", "gfal2-util-scripts")
        async for each in through("gfal", root.as_uri()):
            yield each


class DumpLister:
    """What a dump tells, by directories: it is written of the tree whenever it is asked about."""

    batch = 1

    def __init__(self, root: Path, text: Path) -> None:
        self.door = str(text)
        self._root = root
        self._text = text

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        told = self._read()
        return [self._one(told, directory.rstrip(b"/") + b"/") for directory in directories]

    async def close(self) -> None:
        self._text.unlink()

    def _read(self) -> dict[bytes, tuple[int, int]]:
        with self._text.open("wb") as file:
            for folder, inner, names in os.walk(os.fsencode(self._root)):
                for name in (b"", *inner, *names):
                    found = os.stat(full := os.path.join(folder, name))
                    end = b"/" if name in inner else b""
                    path = (full.removeprefix(os.fsencode(self._root)) + end).replace(b'"', b'""')
                    file.write(b'"%b",%d,,%d\n' % (path, found.st_size, found.st_mtime))
        rows = [row for frame in read(self._text, STORAGE) for row in frame.iter_rows()]
        return {path: (size, mtime) for path, size, _, mtime in rows}

    def _one(self, told: dict[bytes, tuple[int, int]], stem: bytes) -> Answer:
        if stem not in told:
            return None
        below = {path.removeprefix(stem): said for path, said in told.items() if path.startswith(stem) and path != stem}
        files = [(name, size, mtime, None) for name, (size, mtime) in below.items() if b"/" not in name]
        inner = [(name[:-1], mtime) for name, (_, mtime) in below.items() if name.find(b"/") == len(name) - 1]
        return Listed(files, inner)


class TestDump(ListerSuite):
    """A dump, which tells names of any bytes, and directories by a slash behind them."""

    names = (*ListerSuite.names, b"\xff\xfe", b"line\nbreak", b"tab\t", b'quo"te', b"carriage\rreturn")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "tree").mkdir()
        return tmp_path / "tree"

    @pytest.fixture
    async def lister(self, root: Path, tmp_path: Path) -> AsyncIterator[Lister]:
        lister = DumpLister(root, tmp_path / "dump.csv")
        yield lister
        await lister.close()


class TestFsspec(ListerSuite):
    """fsspec's own way to files."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    async def lister(self, root: Path) -> AsyncIterator[Lister]:
        async for each in through("fsspec", root.as_uri()):
            yield each
