"""The movers that need nothing but this machine, by the suite of all movers, and what is peculiar to each."""

from pathlib import Path

import pytest
from suites.movers import MoverSuite

from reploc.storage.faults import StorageFault
from reploc.storage.memory import MemoryMover
from reploc.storage.mover import Mover, Transfer
from reploc.storage.posix import PosixMover


class TestMemory(MoverSuite):
    @pytest.fixture
    def mover(self) -> Mover:
        return MemoryMover()

    @pytest.fixture
    def storage(self) -> str:
        return "memory://host/base"


class TestPosix(MoverSuite):
    @pytest.fixture
    def mover(self) -> Mover:
        return PosixMover()

    @pytest.fixture
    def storage(self, tmp_path: Path) -> str:
        return (tmp_path / "storage").as_uri()

    async def test_a_full_disk_is_the_destinations_fault(self, mover: Mover, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"x" * 100)
        with pytest.raises(StorageFault) as caught:
            await mover.copy(Transfer((tmp_path / "f").as_uri(), "file:///dev/full", 100), lambda _: None)
        assert caught.value.blame == "destination"

    async def test_a_file_without_a_size_is_copied_whole(self, mover: Mover, tmp_path: Path) -> None:
        """The kernel copies nothing of a file of /proc, whose size is 0."""
        await mover.copy(Transfer("file:///proc/version", (tmp_path / "f").as_uri()), lambda _: None)
        assert (tmp_path / "f").read_bytes() == Path("/proc/version").read_bytes()

    async def test_what_is_no_path_is_refused_for_good(self, mover: Mover) -> None:
        with pytest.raises(StorageFault) as caught:
            await mover.stat("root://host//path")
        assert caught.value.blame == "permanent"
