"""Whole operations at real storage: through every kind of door, and where storage is full, refuses, hangs or vanishes.

In every case the catalogs tell the truth at the end, and no temporary file is left.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import s3_server
import xrootd
from behind import Bucket, behind, small
from carried import Storage, World, world
from fts3_double import Fts3Server, fts3
from grid import until
from needed import needs_command
from xrootd import XrootdServer

from fileops.carrying import TransferSettings
from fileops.messages import DrainBody, DrainSaid, FileopsStatus, IdsBody, OperationItem, OutcomesSaid
from fileops.settings import Fts3Settings
from reploc.sites import Protocol

DATA = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server.bucket() as bucket:
        yield bucket


def site(server: XrootdServer, name: str, path: Path, protocol: Protocol) -> Storage:
    return Storage(name, path) if protocol == "posix" else behind(server, name, path, protocol)


async def released(grid: World, number: int) -> None:
    """Releases an operation, and again should it be held again, as copies between busy servers may be, until it is
    done."""

    async def look() -> str:
        state = (await grid.operation(number)).operation.state
        if state == "held":
            await grid.ask("POST", "/v1/operations/release", OutcomesSaid, IdsBody([number]))
        return state

    await until(look, lambda state: state == "done", "it is done")


def copy(lfn: str, *sources: str) -> OperationItem:
    return OperationItem("copy", "b", lfn, sources or ("a",))


# ---- every door ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination"),
    [("posix", "webdav"), ("webdav", "webdav"), ("xrootd", "posix"), ("webdav", "xrootd"), ("gfal", "gfal")],
)
async def test_a_file_is_copied_and_deleted_through_real_doors(
    tmp_path: Path, server: XrootdServer, source: Protocol, destination: Protocol
) -> None:
    needs_command("gfal-copy", "gfal2-util-scripts")
    one, two = site(server, "a", tmp_path, source), site(server, "b", tmp_path, destination)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/e/f": DATA})
        await grid.start()
        (number,) = await grid.submit(copy("/d/e/f"))
        (said,) = await grid.ended([number])
        assert said.moved == len(DATA) and two.read("/d/e/f") == DATA and not two.debris()
        (number,) = await grid.submit(OperationItem("delete", "b", "/d/e/f", witness="a"))
        await grid.ended([number])
        assert await two.find("/d/e/f") is None and not list(two.root.iterdir())


async def test_a_file_is_copied_to_and_from_s3_and_deleted_there(tmp_path: Path, s3: str) -> None:
    one, two, three = Storage("a", tmp_path), Bucket("b", tmp_path, s3), Storage("c", tmp_path)
    async with world(tmp_path, one, two, three) as grid:
        await one.hold({"/d/a file": DATA})
        await grid.start()
        await grid.ended(await grid.submit(copy("/d/a file")))
        assert two.names() == ["/d/a file"] and two.read("/d/a file") == DATA
        await grid.ended(await grid.submit(OperationItem("copy", "c", "/d/a file", ("b",))))
        assert three.read("/d/a file") == DATA
        await grid.ended(await grid.submit(OperationItem("delete", "b", "/d/a file", witness="c")))
        assert two.names() == [] and await two.find("/d/a file") is None


async def test_a_copy_to_s3_whose_source_breaks_off_leaves_no_object(tmp_path: Path, s3: str) -> None:
    one, two = Storage("a", tmp_path), Bucket("b", tmp_path, s3)
    async with world(tmp_path, two) as grid:
        grid.sites["a"] = one
        await grid.start()
        one.write("/f", DATA[: 2 << 20])
        (number,) = await grid.submit(
            OperationItem("copy", "b", "/f", ("a",), size=len(DATA), checksum="adler32:00000001", collection="x")
        )
        (said,) = await grid.ended([number], "held")
        assert "2,097,152 bytes instead of 3,145,728" in said.reason
        assert two.names() == [] and await two.find("/f") is None


# ---- FTS3 ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def delegated(
    tmp_path: Path, server: XrootdServer, files: int, storage: str = "disk"
) -> AsyncIterator[tuple[World, Fts3Server]]:
    """Two sites with webdav doors, between which an FTS3 server copies."""
    (tmp_path / "proxy.pem").write_bytes(b"".join(xrootd.self_signed()))
    one, two = behind(server, "a", tmp_path, "webdav", storage=storage), behind(server, "b", tmp_path, "webdav")
    async with world(tmp_path, one, two) as grid, fts3() as (there, url):
        await one.hold({f"/f{number}": DATA[number:100_000] for number in range(files)})
        told = Fts3Settings(url=url, proxy=str(tmp_path / "proxy.pem"), files_max=files, poll_s=0.05)
        await grid.start(fts3=told)
        yield grid, there


async def test_fts3_copies_for_a_runner_and_the_runner_verifies_names_and_registers(
    tmp_path: Path, server: XrootdServer
) -> None:
    async with delegated(tmp_path, server, 20) as (grid, there):
        await grid.ended(await grid.submit(*(copy(f"/f{number}") for number in range(20))))
        two = grid.sites["b"]
        assert all(two.read(f"/f{number}") == DATA[number:100_000] for number in range(20))
        assert not two.debris() and 1 <= len(there.jobs) < 20
        status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
        assert status.fts3 is not None
        assert (status.fts3.copies, status.fts3.jobs, status.fts3.error) == (0, 0, "")
        assert status.fts3.proxy_until_s is not None and status.fts3.proxy_until_s > time.time() + 3_600
        deleted = [OperationItem("delete", "b", f"/f{number}", witness="a") for number in range(20)]
        jobs = len(there.jobs)
        await grid.ended(await grid.submit(*deleted))
        assert len(there.jobs) == jobs and not list(two.root.iterdir())  # FTS3 deletes nothing


@pytest.mark.parametrize(("storage", "asked"), [("mss", 86_400), ("disk", None)])
async def test_fts3_brings_online_what_lies_on_tape(
    tmp_path: Path, server: XrootdServer, storage: str, asked: int | None
) -> None:
    async with delegated(tmp_path, server, 1, storage) as (grid, there):
        await grid.ended(await grid.submit(copy("/f0")))
        assert [job["params"].get("bring_online") for job in there.jobs.values()] == [asked]


async def test_a_job_that_fts3_lost_among_others_is_done_again_and_the_others_are_not(
    tmp_path: Path, server: XrootdServer
) -> None:
    """The answer about several jobs is 207, with a status for each."""
    async with delegated(tmp_path, server, 2) as (grid, there):
        there.held.clear()
        ids = await grid.submit(copy("/f0"))

        async def jobs() -> int:
            return len(there.jobs)

        await until(jobs, lambda count: count == 1, "the first job")
        ids += await grid.submit(copy("/f1"))
        await until(jobs, lambda count: count == 2, "the second job")
        status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
        assert status.fts3 is not None and (status.fts3.copies, status.fts3.jobs) == (2, 2)
        lost = next(iter(there.jobs))
        there.lose(lost)
        first = await until(
            lambda: grid.operation(ids[0]), lambda said: said.operation.attempts > 1, "it is done again"
        )
        assert any("does not know the job" in line.words for line in first.story)
        there.held.set()
        said = await grid.ended(ids)
        assert [each.attempts for each in said] == [2, 1] and lost not in there.jobs
        assert not grid.sites["b"].debris()


async def test_a_copy_that_is_cancelled_is_cancelled_at_fts3_and_leaves_nothing(
    tmp_path: Path, server: XrootdServer
) -> None:
    async with delegated(tmp_path, server, 1) as (grid, there):
        there.held.clear()
        (number,) = await grid.submit(copy("/f0"))

        async def jobs() -> int:
            return len(there.jobs)

        await until(jobs, bool, "the job is there")
        await grid.ask("POST", "/v1/operations/cancel", OutcomesSaid, IdsBody([number]))
        await grid.ended([number], "cancelled")
        there.held.set()
        assert len(there.cancelled) == 1 and not list(grid.sites["b"].root.iterdir())


# ---- storage that is full, refuses, hangs, vanishes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("posix", "posix", "No space left on device"),
        ("webdav", "webdav", "no space left on device"),
        ("posix", "webdav", "PUT"),  # the server hangs up in the middle of the body, and says no more
        ("posix", "xrootd", "no space left on device"),
        (
            "xrootd",
            "xrootd",
            "1,048,576 of 3,145,728 bytes arrived|no space left on device",
        ),  # as the server notices it
    ],
)
async def test_a_full_destination_holds_the_copy_until_there_is_room(
    tmp_path: Path, server: XrootdServer, source: Protocol, destination: Protocol, said: str
) -> None:
    one, two = site(server, "a", tmp_path, source), site(server, "b", tmp_path, destination)
    with small(two.root, 1 << 20) as disk:
        async with world(tmp_path, one, two) as grid:
            await one.hold({"/f": DATA})
            await grid.start(retries=grid.settings().retries.__class__(attempts_max=2, pause_s=0.05))
            (number,) = await grid.submit(copy("/f"))
            (held,) = await grid.ended([number], "held")
            assert re.search(said, held.reason)
            assert await two.find("/f") is None and not list(two.root.iterdir())
            disk.resize(8 << 20)
            await released(grid, number)
            assert two.read("/f") == DATA


@pytest.mark.parametrize(
    ("source", "destination"), [("webdav", "webdav"), ("posix", "webdav"), ("posix", "xrootd"), ("xrootd", "xrootd")]
)
async def test_a_destination_that_refuses_holds_the_copy_until_it_does_not(
    tmp_path: Path, server: XrootdServer, source: Protocol, destination: Protocol
) -> None:
    one, two = site(server, "a", tmp_path, source), site(server, "b", tmp_path, destination)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        two.root.chmod(0o555)
        await grid.start(retries=grid.settings().retries.__class__(attempts_max=2, pause_s=0.05))
        (number,) = await grid.submit(copy("/f"))
        (held,) = await grid.ended([number], "held")
        assert "permission denied" in held.reason.lower() and "failed 2 times" in held.reason
        assert await two.find("/f") is None and not list(two.root.iterdir())
        two.root.chmod(0o755)
        await released(grid, number)


@pytest.mark.parametrize("happened", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "is gone"])
async def test_where_a_source_hangs_or_is_gone_another_is_taken_and_what_hung_goes_on(
    tmp_path: Path, server: XrootdServer, happened: signal.Signals
) -> None:
    with xrootd.running() as (source,):
        one, two = behind(source, "a", tmp_path, "webdav"), behind(server, "b", tmp_path, "webdav")
        three = behind(server, "c", tmp_path, "webdav")
        async with world(tmp_path, one, two, three) as grid:
            for each in (one, three):
                await each.hold({"/f": DATA})
            await grid.start(transfers=TransferSettings(stall_s=1.0, storage_s=5.0))
            await grid.ask("POST", "/v1/drain", DrainSaid, DrainBody("c"))
            source.signal(happened)
            (number,) = await grid.submit(copy("/f", "a", "c"))
            await until(lambda: grid.operation(number), lambda said: said.operation.attempts > 1, "it failed once")
            await grid.ask("POST", "/v1/drain", DrainSaid, DrainBody("c", undo=True))
            await until(lambda: grid.operation(number), lambda said: said.operation.state == "done", "from c")
            story = (await grid.operation(number)).story
            assert sum(line.event == "succeeded" for line in story) == 1
            assert two.read("/f") == DATA and not two.debris()
            if happened is signal.SIGSTOP:
                source.signal(signal.SIGCONT)
                await grid.ended(await grid.submit(OperationItem("delete", "b", "/f", witness="c")))
                await grid.ended(await grid.submit(copy("/f")))
                assert two.read("/f") == DATA


async def test_a_destination_that_hangs_delays_and_loses_nothing(tmp_path: Path, server: XrootdServer) -> None:
    with xrootd.running() as (target,):
        one, two = behind(server, "a", tmp_path, "webdav"), behind(target, "b", tmp_path, "webdav")
        async with world(tmp_path, one, two) as grid:
            await one.hold({"/f": DATA})
            patient = grid.settings().retries.__class__(attempts_max=1_000, pause_s=0.05, pause_s_max=0.1)
            await grid.start(transfers=TransferSettings(stall_s=1.0, storage_s=1.0), retries=patient)
            target.signal(signal.SIGSTOP)
            (number,) = await grid.submit(copy("/f"))
            said = await until(lambda: grid.operation(number), lambda said: said.operation.attempts > 1, "it failed")
            assert any("no answer within 1 s" in line.words for line in said.story)
            target.signal(signal.SIGCONT)
            await grid.ended([number])
            assert two.read("/f") == DATA and not two.debris()
