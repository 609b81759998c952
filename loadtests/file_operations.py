"""File operations: through journal and schedule, small files over HTTP, and bytes beside cp and xrdcp.

    python -m loadtests.file_operations [--quick] [--names N]

The first figure has storage in memory and everything else real: the journal on disk with its commits, the schedule, the
runner, and a catalog in a process of its own that registers each copy. Bytes are measured with each copy's
verification, which cp and xrdcp leave out.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import fileops.server
from fileops import submissions
from fileops.carrying import TransferSettings
from fileops.lane import Wish
from fileops.ledger import Ledger
from fileops.schedule import AtOnceSettings
from fileops.settings import FileopsSettings
from loadtests import servers, xrootd
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.sites import Door, Site
from reploc.storage.faults import StorageFault
from reploc.storage.memory import MemoryMover
from reploc.storage.mover import Mover, Transfer
from reploc.storage.posix import PosixMover
from reploc.storage.web import Web
from reploc.storage.webdav import WebdavMover
from reploc.storage.xrootd import XrootdMover

AT = "1,000,000 copies in memory"
OPERATIONS = Figure("file operations through journal and schedule", "operations/s", "more", 2_000, AT)
WAITING = Figure("memory of the service with operations waiting", "MB", "less", 500, AT)
HTTP = Figure("HTTP third-party copies of small files", "copies/s", "more", 300, "1 kB, 8 at once")
POSIX = Figure("posix mover, one file", "MB/s", "more", None, peer="cp, without verification")
WEBDAV = Figure("webdav mover, third-party, one file", "MB/s", "more", None, peer="xrdcp --tpc, without verification")
XROOTD = Figure("xrootd mover, third-party, one file", "MB/s", "more", None, peer="xrdcp --tpc, without verification")

COUNT, QUICK_COUNT, TOY_COUNT = 1_000_000, 30_000, 300
SMALL, QUICK_SMALL, TOY_SMALL = 3_000, 1_000, 30
BYTES, QUICK_BYTES, TOY_BYTES = 1 << 30, 256 << 20, 4 << 20
#: Wishes in one transaction.
BATCH = 5_000
#: Copies over HTTP that are under way at once.
AT_ONCE = 8
#: Tries of a copy until one succeeds, ours or a peer's.
COPY_TRIES = 3
#: Seconds between two looks whether all is done, each of which counts what is left.
LOOK_S = 1.0
DATA = b"x" * 100
ADLER32 = "adler32:401b2ee1"


class _Endless(MemoryMover):
    """Storage whose every file at the source holds the same bytes."""

    def _file(self, url: str) -> bytes:
        return DATA if url.startswith("memory://a/") else super()._file(url)


def measure(scale: Scale) -> Iterator[Result]:
    """The figures of real storage, then the journal's, which take longest."""
    try:
        yield from _servers(scale)
    except servers.PeerMissing as wrong:
        yield Result(HTTP, "not measured", (0.0,), note=str(wrong))
    with workspace() as folder:
        size = scale.of(BYTES, QUICK_BYTES, TOY_BYTES)
        (folder / "file").write_bytes(os.urandom(1 << 20) * (size >> 20))
        ours = asyncio.run(_rates(scale, PosixMover(), (folder / "file").as_uri(), (folder / "copy").as_uri(), size))
        peer = _peer(["cp", str(folder / "file"), str(folder / "copy")], size)
        yield Result(POSIX, f"{size >> 20:,} MiB", ours, peer)
    yield from _journal(scale)


# ---- journal and schedule --------------------------------------------------------------------------------------------


def _journal(scale: Scale) -> Iterator[Result]:
    count = scale.names
    with workspace() as folder:
        index = servers.index_of(1)
        with servers.running(servers.catalog(folder, "b", folder / "store", index), ready=False) as catalog:
            settings = _settings(folder, catalog.url)
            asyncio.run(_filled(settings, count))
            yield Result(WAITING, f"{count:,} operations waiting", (_memory(folder, settings) / 1e6,))
            seconds = asyncio.run(_carried_out(settings))
    said = f"{count:,} copies of 100 bytes in memory"
    yield Result(OPERATIONS, said, (count / seconds,), note="each registered in a catalog of its own process")


def _settings(folder: Path, lrc: str) -> FileopsSettings:
    sites = [
        Site(
            name=name,
            lrc=lrc,
            doors=[Door(protocol="memory", url=f"memory://{name}")],
            copies_in_max=400,
            copies_out_max=400,
        )
        for name in ("a", "b")
    ]
    return FileopsSettings(
        listen=f"127.0.0.1:{free_port()}",
        journal=f"sqlite:///{folder / 'journal.db'}",
        sites=sites,
        at_once=AtOnceSettings(operations=400, per_link=400, batch=400),
        transfers=TransferSettings(),
        log_level="warning",
    )


async def _filled(settings: FileopsSettings, count: int) -> None:
    """Puts the operations into the journal, whose sites are closed."""
    ledger = Ledger(settings.journal, "loadtest", 60.0)
    try:
        await ledger.do(submissions.drain, "", ledger.now(), on=True)
        for first in range(0, count, BATCH):
            wishes = [
                Wish("copy", "b", f"/store/f{number:08}", len(DATA), ADLER32, None, ("a",))
                for number in range(first, min(first + BATCH, count))
            ]
            await ledger.do(submissions.submit, wishes, ledger.now())
    finally:
        await ledger.close()


def _memory(folder: Path, settings: FileopsSettings) -> int:
    """Bytes of a service, started anew, that has the operations waiting; a daemon takes no doors into memory."""
    path = folder / "fileops.toml"
    path.write_text(_toml(settings))
    command = ["fileops", "serve", "--config", str(path)]
    process = Process("fileops", command, f"http://{settings.listen}", folder / "log")
    with servers.running(process) as running:
        time.sleep(2)
        return running.resident_bytes


def _toml(settings: FileopsSettings) -> str:
    lines = [f'listen = "{settings.listen}"', f'journal = "{settings.journal}"']
    for site in settings.sites:
        lines += ["[[sites]]", f'name = "{site.name}"', f'lrc = "{site.lrc}"']
        for door in site.doors:
            lines += ["[[sites.doors]]", 'protocol = "posix"', f'url = "{door.url.replace("memory://", "file:///")}"']
    return "\n".join(lines) + "\n"


async def _carried_out(settings: FileopsSettings) -> float:
    """Seconds from opening the sites to the end of the last operation."""
    async with fileops.server.compose(settings, {"memory": _Endless()}) as daemon:
        ledger = Ledger(settings.journal, "loadtest", 60.0)
        work = [asyncio.create_task(_again(duty.run_once)) for duty in daemon.duties]
        try:
            began = time.monotonic()
            await ledger.do(submissions.drain, "", ledger.now(), on=False)
            while await ledger.read(submissions.waiting):
                await asyncio.sleep(LOOK_S)
            return time.monotonic() - began
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await ledger.close()


async def _again(run_once: Callable[[], Awaitable[float]]) -> None:
    while True:
        await asyncio.sleep(await run_once())


# ---- real storage ----------------------------------------------------------------------------------------------------


def _servers(scale: Scale) -> Iterator[Result]:
    count, size = scale.of(SMALL, QUICK_SMALL, TOY_SMALL), scale.of(BYTES, QUICK_BYTES, TOY_BYTES)
    with xrootd.running(2) as (one, two):
        (one.data / "small").write_bytes(b"x" * 1_000)
        (one.data / "large").write_bytes(os.urandom(1 << 20) * (size >> 20))
        small = [asyncio.run(_small(one.http, two.http, number, count)) for number in range(scale.runs)]
        yield Result(HTTP, f"{count:,} files of 1 kB", tuple(small))
        command = ["xrdcp", "--nopbar", "--silent", "--force", "--tpc", "only", f"{one.root}/large", f"{two.root}/peer"]
        peer = _peer(command, size)
        what = f"{size >> 20:,} MiB"
        web = asyncio.run(_rates(scale, WebdavMover(Web()), f"{one.http}/large", f"{two.http}/web", size))
        yield Result(WEBDAV, what, web, peer)
        root = asyncio.run(_rates(scale, XrootdMover(), f"{one.root}/large", f"{two.root}/root", size))
        yield Result(XROOTD, what, root, peer, note="the client looks for the end of a copy every 2.5 s")


async def _small(source: str, target: str, number: int, count: int) -> float:
    """Copies a second of small files, each to a name of its own."""
    mover, places = WebdavMover(Web()), asyncio.Semaphore(AT_ONCE)

    async def copy(each: int) -> None:
        async with places:
            await mover.copy(Transfer(f"{source}/small", f"{target}/f{number}-{each}", 1_000), lambda _: None)

    try:
        began = time.monotonic()
        await asyncio.gather(*(copy(each) for each in range(count)))
        return count / (time.monotonic() - began)
    finally:
        await mover.close()


async def _rates(scale: Scale, mover: Mover, source: str, target: str, size: int) -> tuple[float, ...]:
    """Megabytes a second of a copy with its verification, of each run."""
    found = []
    try:
        expected = await mover.checksum(source, "adler32")
        for _ in range(scale.runs):
            began = await _copied(mover, Transfer(source, target, size))
            arrived = await mover.checksum(target, "adler32")
            found.append(size / 1e6 / (time.monotonic() - began))
            assert arrived == expected
            await mover.remove(target)
    finally:
        await mover.close()
    return tuple(found)


async def _copied(mover: Mover, transfer: Transfer) -> float:
    """The moment at which the first copy that succeeds began."""
    for last in range(COPY_TRIES - 1, -1, -1):
        began = time.monotonic()
        try:
            await mover.copy(transfer, lambda _: None)
        except StorageFault:
            if not last:
                raise
        else:
            return began
    raise AssertionError("the last try returns or raises")


def _peer(command: list[str], size: int) -> float:
    """Megabytes a second of a program that copies, of the first run that succeeds.

    XRootD's grant of a third-party copy is over after `ttl` seconds (`loadtests/xrootd.py`). On a busy machine one copy
    failed with status 54, maybe because it came later than that.
    """
    assert shutil.which(command[0]), command[0]
    for _ in range(COPY_TRIES):
        began = time.monotonic()
        ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if ended.returncode == 0:
            return size / 1e6 / (time.monotonic() - began)
    raise RuntimeError(f"{' '.join(command)}: failed {COPY_TRIES} times, the last time with {ended.stderr.strip()}")


if __name__ == "__main__":
    run("File operations.", measure, COUNT, QUICK_COUNT, TOY_COUNT)
