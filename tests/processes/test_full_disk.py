"""A daemon whose disk fills up says so, loses nothing, and goes on by itself when there is room again."""

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from daemon import process, settings_file

from lrc.catalog import Catalog
from lrc.check import check
from lrc.settings import LrcSettings
from reploc.client import LrcClient
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.errors import StoreFull
from reploc.wire import MappingItem

DISK_BYTES = 6 << 20
BALLAST_BYTES = 3 << 20
#: Mappings of one request: some 300 kB of pages, so that a few requests fill the room.
ITEMS = 200


class Disk(Protocol):
    """A directory with little room, of which more can be had."""

    path: Path

    def fill(self, daemon: Process) -> None:
        """Leave the daemon little room from now on."""
        ...

    def make_room(self, daemon: Process) -> None:
        """Give the daemon room again."""
        ...


class MountedDisk:
    """A file system in memory, and a file on it that goes when room is needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, daemon: Process) -> None:
        (self.path / "ballast").write_bytes(b"x" * BALLAST_BYTES)

    def make_room(self, daemon: Process) -> None:
        (self.path / "ballast").unlink()


class LimitedFile:
    """Where nothing may be mounted: the largest file that the daemon may write, which the system refuses likewise."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, daemon: Process) -> None:
        self._limit(daemon, DISK_BYTES - BALLAST_BYTES)

    def make_room(self, daemon: Process) -> None:
        self._limit(daemon, 1 << 40)

    def _limit(self, daemon: Process, size: int) -> None:
        assert daemon.running is not None
        _, most = resource.prlimit(daemon.running.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.running.pid, resource.RLIMIT_FSIZE, (size, most))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        yield LimitedFile(path)
        return
    try:
        yield MountedDisk(path)
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def lrc(tmp_path: Path, disk: Disk) -> Iterator[Process]:
    told = LrcSettings(site="A", store=str(disk.path / "store"), listen=f"127.0.0.1:{free_port()}")
    daemon = process("lrc", settings_file(tmp_path / "lrc.toml", told), f"http://{told.listen}")
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


def mappings(request: int) -> list[MappingItem]:
    return [MappingItem(f"/{request}/{number}", "a:" + "x" * 500, 1, None, "/c") for number in range(ITEMS)]


async def put_until_full(client: LrcClient) -> int:
    """How many requests the catalog took before it said that it is full."""
    for request in range(DISK_BYTES // (500 * ITEMS)):
        try:
            await client.create(mappings(request))
        except StoreFull as full:
            assert "disk of the store is full" in full.detail or "large" in full.detail, full.detail
            return request
    raise AssertionError("the disk took more than it has room for")


async def test_a_full_disk_loses_nothing_and_the_daemon_goes_on_when_there_is_room(disk: Disk, lrc: Process) -> None:
    await lrc.answering()
    async with LrcClient(lrc.url) as client:
        disk.fill(lrc)
        taken = await put_until_full(client)
        assert taken > 0
        held = await client.replicas([item.lfn for request in range(taken) for item in mappings(request)])
        assert not held.unknown
        disk.make_room(lrc)
        await client.create(mappings(taken))
        status = await client.status()
        assert (status.lfns, status.position) == ((taken + 1) * ITEMS, taken + 1)
    lrc.kill()
    with Catalog.open(disk.path / "store", read_only=True) as catalog:
        assert check(catalog).findings == []
        assert catalog.state().lfns == (taken + 1) * ITEMS
