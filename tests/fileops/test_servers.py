"""The movers of real servers: an XRootD server that speaks root:// and HTTP with third-party copies."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
import s3_server
import xrootd
from needed import needs_command
from suites.movers import DATA, MoverSuite, checksum, pieces
from xrootd import XrootdServer

from reploc.storage.faults import Absent, StorageFault
from reploc.storage.fsspec_store import FsspecMover
from reploc.storage.gfal import GfalMover
from reploc.storage.mover import Mover, Transfer
from reploc.storage.programs import Ended
from reploc.storage.web import Web
from reploc.storage.webdav import WebdavMover
from reploc.storage.xrootd import XrootdMover, _entry, _fault

_folders = count()


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server.bucket() as bucket:
        yield bucket


class TestWebdav(MoverSuite):
    @pytest.fixture
    async def mover(self) -> AsyncIterator[Mover]:
        mover = WebdavMover(Web())
        yield mover
        await mover.close()

    @pytest.fixture
    def storage(self, server: XrootdServer) -> str:
        return f"{server.http}/webdav-{next(_folders)}".replace("http:", "dav:")


class TestXrootd(MoverSuite):
    many = 3  # the client looks for the end of a copy every 2.5 s

    @pytest.fixture
    def mover(self) -> Mover:
        return XrootdMover()

    @pytest.fixture
    def storage(self, server: XrootdServer) -> str:
        return f"{server.root}/xrootd-{next(_folders)}"

    async def test_a_path_that_its_clients_would_cut_off_is_refused(self, mover: Mover, storage: str) -> None:
        await self.put(mover, f"{storage}/d/f", b"x")
        for ask in (mover.remove, mover.stat, mover.remove_directory):
            with pytest.raises(StorageFault, match="holds '\\?'"):
                await ask(f"{storage}/d/f?x")
        assert (await mover.stat(f"{storage}/d/f")).size == 1


#: What xrdcp 5.5.3 says, word for word, with status 54.
UNMET = """[2026-11-26 03:29:02.1 +0000][Error  ][Utility           ] Third party copy from root://h//f to root://h//g \
failed: [ERROR] Server responded with an error: [3005] \
[ERROR] Server responded with an error: [3010] tpc authorization expired

Run: [ERROR] Server responded with an error: [3005] [ERROR] Server responded with an error: [3010] tpc authorization \
expired\0"""


def test_what_a_fault_says_is_text_on_one_line_whatever_a_program_said() -> None:
    fault = StorageFault("transient", "a\0 \x1b[1mname\n of\tbytes \udcff is ü\0")
    assert fault.said == str(fault) == "a [1mname of bytes \\udcff is ü"


def test_of_what_a_program_says_the_last_error_is_told_without_its_log() -> None:
    said = """[2026-11-26 04:10:19.5 +0000][Error  ][App] Unable stat /f: [FATAL] Connection error

[FATAL] Connection error"""
    assert _fault("stat root://h//f", Ended(51, b"", said)).said == "stat root://h//f: Connection error"


@pytest.mark.parametrize("unmet", [2, 3])
async def test_a_copy_whose_servers_did_not_meet_is_begun_anew_a_few_times(
    server: XrootdServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmet: int
) -> None:
    """By an xrdcp that fails as the real one does now and then under load, so often, and then is the real one."""
    (tmp_path / "said").write_text(UNMET)
    program = tmp_path / "xrdcp"
    program.write_text(
        f"""#!/bin/sh
echo >> {tmp_path}/tries
if [ $(wc -l < {tmp_path}/tries) -le {unmet} ]; then cat {tmp_path}/said >&2; exit 54; fi
exec {shutil.which("xrdcp")} "$@"
"""
    )
    program.chmod(0o755)
    mover, base = XrootdMover(), f"{server.root}/unmet-{unmet}"
    await mover.make_directory(base)
    await mover.write(f"{base}/f", pieces(DATA), len(DATA))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    copied = mover.copy(Transfer(f"{base}/f", f"{base}/g", len(DATA)), lambda _: None)
    if unmet == 2:
        await copied
        assert await mover.checksum(f"{base}/g", "adler32") == checksum(DATA)
        return
    with pytest.raises(StorageFault, match="expired: the two servers did not meet in time") as caught:
        await copied
    assert caught.value.blame == "transient"
    assert (tmp_path / "tries").read_text().count("\n") == 3


@pytest.mark.parametrize("door", ["root", "http"])
async def test_a_listing_that_a_newline_spoils_fails_and_hides_nothing(server: XrootdServer, door: str) -> None:
    """The server tells names line by line: one with a newline shifts all that stand behind it."""
    folder = server.data / f"newline-{door}"
    folder.mkdir()
    for name in ("a", "new\nline", "z"):
        (folder / name).write_bytes(b"x")
    mover: Mover = XrootdMover() if door == "root" else WebdavMover(Web())
    try:
        with pytest.raises(StorageFault):
            await mover.listing(f"{getattr(server, door)}/{folder.name}")
    finally:
        await mover.close()


@pytest.mark.parametrize("line", [b"", b"what is this", b"-rw-r--r-- root root 1 2026-01-01 00:00:00 "])
def test_a_line_of_a_listing_that_cannot_be_read_is_a_fault(line: bytes) -> None:
    with pytest.raises(StorageFault, match="cannot be read"):
        _entry(line, b"/d", "root://host//d")


class TestGfal(MoverSuite):
    """On this machine's files, since each question starts an interpreter and a server adds nothing to what is shown."""

    many = 2
    names = (b"under_score~x", b"a.b-c", b"A1")  # its plug-in for file:// takes percent-encoded names as they stand

    @pytest.fixture
    def mover(self) -> Mover:
        needs_command("gfal-copy", "gfal2-util-scripts")
        return GfalMover()

    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        return (tmp_path / "storage").as_uri()


async def test_gfal_copies_between_servers(server: XrootdServer) -> None:
    needs_command("gfal-copy", "gfal2-util-scripts")
    mover = GfalMover()
    base = f"{server.http}/gfal-{next(_folders)}".replace("http:", "dav:")
    await mover.make_directory(base)
    await mover.write(f"{base}/f", pieces(DATA), len(DATA))
    await mover.copy(Transfer(f"{base}/f", f"{base}/g", len(DATA)), lambda _: None)
    assert await mover.checksum(f"{base}/g", "adler32") == checksum(DATA)
    with pytest.raises(Absent):
        await mover.copy(Transfer(f"{base}/none", f"{base}/h", len(DATA)), lambda _: None)


@pytest.mark.parametrize("door", ["dav", "root"])
async def test_gfal_names_one_file_each_at_a_server(server: XrootdServer, door: str) -> None:
    """But for bytes that are no text, which gfal2 refuses; davix lists no blank at the end of a name."""
    needs_command("gfal-copy", "gfal2-util-scripts")
    mover, folder = GfalMover(), f"gfal-names-{door}"
    base = f"{server.root}/{folder}" if door == "root" else f"{server.http}/{folder}".replace("http:", "dav:")
    await mover.make_directory(base)
    names = [name for name in MoverSuite.names if name.isascii() or name == "ü".encode()]
    for number, name in enumerate(names):
        url = f"{base}/{os.fsdecode(name) if door == 'root' else quote_from_bytes(name)}"
        await mover.write(url, pieces(b"%d" % number), len(b"%d" % number))
    there = {os.fsencode(path.name): path.read_bytes() for path in (server.data / folder).iterdir()}
    assert there == {name: b"%d" % number for number, name in enumerate(names)}
    listed = {os.fsencode(each.name) for each in await mover.listing(base)}
    assert listed == {name.rstrip() if door == "dav" else name for name in names}


class TestFsspec(MoverSuite):
    """S3, by moto's server."""

    many = 5
    names = (b"a b", b"a%20b", "ü".encode(), b"plus+plus", b"under_score~x", b"a;b,c")

    @pytest.fixture
    def storage(self, s3: str) -> str:
        return f"{s3}/{next(_folders)}"

    @pytest.fixture
    def mover(self) -> Mover:
        return FsspecMover()
