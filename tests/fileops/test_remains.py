"""What copies leave under temporary names is removed in the end, whoever made them, and never of one under way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xrootd
from behind import behind
from carried import Storage, World, world
from fts3_double import fts3
from grid import until
from xrootd import XrootdServer

from fileops import remains, submissions
from fileops.carrying import TransferSettings, temporary
from fileops.journal import Claim
from fileops.lane import Claimed, Ended, Standing, Wish
from fileops.ledger import Ledger
from fileops.messages import FileopsStatus, IdsBody, OperationItem, OutcomesSaid
from fileops.operation import Event
from fileops.remains import Remain
from fileops.settings import Fts3Settings
from reploc.storage.faults import StorageFault
from reploc.storage.posix import PosixMover

DATA = os.urandom(50_000)
SWEPT = TransferSettings(sweep_s=0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


def copy() -> OperationItem:
    return OperationItem("copy", "b", "/d/f", ("a",))


async def cancel(grid: World, number: int) -> None:
    await grid.ask("POST", "/v1/operations/cancel", OutcomesSaid, IdsBody([number]))


async def died(grid: World, ledger: Ledger, step: str = "") -> Claimed:
    """An attempt at the copy whose runner died when half of the file had arrived."""
    await ledger.do(submissions.submit, [Wish("copy", "b", "/d/f", sources=("a",))], ledger.now())
    (lane,) = await ledger.do(submissions.ready_lanes, ledger.now())
    ((claimed,),) = await ledger.claim([Claim(lane, "a", 1)])
    if step:
        assert await ledger.hold(claimed, "placing", [grid.sites["b"].pfn("/d/f")]) is Standing.OURS
    left = Path(temporary(grid.sites["b"].pfn("/d/f"), claimed.fence, "/d/f").removeprefix("file://"))
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(DATA[:1000])
    return claimed


@pytest.mark.parametrize("step", ["", "placing"])
async def test_what_a_dead_runner_left_goes_when_its_operation_was_cancelled_in_the_queue(
    tmp_path: Path, step: str
) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        dead = Ledger(grid.settings().journal, "dead", 0.0)
        claimed = await died(grid, dead, step)
        await dead.expire()
        await dead.do(submissions.cancel, claimed.id, "by hand", dead.now())
        await dead.close()
        assert two.debris()
        await grid.start(transfers=SWEPT)
        await grid.ended([claimed.id], "cancelled")
        await two.swept()
        assert not two.path("/d/f").exists()


async def test_what_comes_late_goes_too_and_a_copy_under_way_keeps_its_file(tmp_path: Path) -> None:
    """Two attempts that are over write their files again and again, beside one that is not."""

    class Slow(PosixMover):
        """Ends no copy before it is let go."""

        def __init__(self) -> None:
            self.go = asyncio.Event()

        async def copy(self, transfer: Any, progress: Any) -> None:
            await super().copy(transfer, progress)
            await self.go.wait()

    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        dead = Ledger(grid.settings().journal, "dead", 0.0)
        over = []
        for _ in range(2):
            over.append(await died(grid, dead))
            await dead.expire()
        slow = Slow()
        await grid.start({"posix": slow}, transfers=SWEPT)

        async def alone() -> list[Path]:
            return two.debris()

        (mine,) = await until(
            alone, lambda found: len(found) == 1 and found[0].stat().st_size == len(DATA), "only the copy's file"
        )
        for _ in range(3):
            for each in over:
                Path(temporary(two.pfn("/d/f"), each.fence, "/d/f").removeprefix("file://")).write_bytes(b"late")
            assert await until(alone, lambda found: len(found) == 1, "only the copy's file") == [mine]
        # Even were it noted, by mistake, as one that is over.
        fence = int(mine.name.split("-")[1])
        await dead.do(remains.note, [Remain(over[0].id, fence, "b", "/d/f", dead.now())])
        assert await dead.do(remains.take, dead.now() + 1e6, 1.0)  # those that are over
        assert mine.exists()
        await dead.close()
        slow.go.set()
        await grid.ended([over[0].id])
        assert two.path("/d/f").read_bytes() == DATA and not two.debris()


async def test_what_could_not_be_removed_is_removed_when_the_storage_answers_again(tmp_path: Path) -> None:
    class Broken(PosixMover):
        """Copies half of each file, and then answers nothing but to who looks."""

        whole = False

        async def copy(self, transfer: Any, progress: Any) -> None:
            await super().copy(transfer, progress)
            os.truncate(transfer.target.removeprefix("file://"), 10)

        async def remove(self, url: str) -> None:
            if not self.whole:
                raise StorageFault("transient", "the storage does not answer")
            await super().remove(url)

    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        broken = Broken()
        await grid.start({"posix": broken}, transfers=SWEPT)
        (number,) = await grid.submit(copy())
        (said,) = await grid.ended([number], "held")
        assert "arrived damaged" in said.reason and len(two.debris()) == said.attempts
        await cancel(grid, number)
        status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
        assert status.remains == said.attempts
        broken.whole = True
        await two.swept()


async def test_a_copy_that_fts3_makes_after_it_was_cancelled_goes_again(server: XrootdServer, tmp_path: Path) -> None:
    """The server hears of no cancelling, and copies when it comes to it."""
    one, two = (behind(server, name, tmp_path, "webdav") for name in "ab")
    (tmp_path / "proxy.pem").write_bytes(b"".join(xrootd.self_signed()))
    async with world(tmp_path, one, two) as grid, fts3() as (there, url):
        await one.hold({"/d/f": DATA})
        there.held.clear()
        there.deaf = True
        told = Fts3Settings(url=url, proxy=str(tmp_path / "proxy.pem"), poll_s=0.05)
        await grid.start(fts3=told, transfers=SWEPT)
        (number,) = await grid.submit(copy())

        async def jobs() -> int:
            return len(there.jobs)

        await until(jobs, bool, "the job is there")
        await cancel(grid, number)
        await grid.ended([number], "cancelled")
        there.held.set()

        async def states() -> set[str]:
            return {file["file_state"] for job in there.jobs.values() for file in job["files"]}

        await until(states, lambda found: found == {"FINISHED"}, "it was copied all the same")
        await two.swept()
        assert not two.path("/d/f").exists()


async def test_attempts_are_looked_after_ever_more_rarely_until_they_are_forgotten(database: str) -> None:
    now = [100.0]
    ledger = Ledger(database, "one", 10.0, lambda: now[0])
    try:
        wishes = [Wish("copy", "b", f"/f{number}", sources=("a",)) for number in range(3)]
        await ledger.do(submissions.submit, [*wishes, Wish("delete", "b", "/g", witness="a")], now[0])
        claims = [
            Claim(lane, "a" if lane.kind == "copy" else "", 9)
            for lane in await ledger.do(submissions.ready_lanes, now[0])
        ]
        claimed = [each for some in await ledger.claim(claims) for each in some if each.lane.kind == "copy"]
        assert await ledger.end(Ended(claimed[0], Event.SUCCEEDED, "copied"))
        now[0] += 11
        assert await ledger.expire() == 3
        looked = []
        for _ in range(2_000):
            if found := await ledger.do(remains.take, now[0], 10.0):
                assert found == [Remain(each.id, each.fence, "b", each.lfn, 111.0) for each in claimed[1:]]
                looked.append(now[0] - 111.0)
            now[0] += 5
        assert looked[:6] == [0, 10, 20, 40, 80, 160] and looked[-1] - looked[-2] <= 3_600
        await ledger.do(remains.forget, [Remain(claimed[1].id, claimed[1].fence, "b", "/f1", 111.0)])
        assert await ledger.read(remains.count) == 1
    finally:
        await ledger.close()


async def test_looks_end_when_the_attempt_is_old(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        dead = Ledger(grid.settings().journal, "dead", 0.0)
        claimed = await died(grid, dead)
        await dead.expire()
        await dead.do(submissions.cancel, claimed.id, "by hand", dead.now())
        await dead.close()
        await grid.start(transfers=TransferSettings(sweep_s=0.05, late_s=0.5))

        async def looked_for() -> int:
            status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
            return status.remains

        await until(looked_for, lambda count: count == 0, "it is forgotten")
        assert not two.debris()


async def test_a_copy_that_its_runner_takes_up_again_is_its_own_when_the_attempt_before_ends(tmp_path: Path) -> None:
    """A runner that was paused beyond its lease claims what was given back, beside its first attempt."""

    class Turns(PosixMover):
        """Ends each copy when its turn comes."""

        def __init__(self) -> None:
            self.turns = [asyncio.Event(), asyncio.Event()]
            self.begun = 0

        async def copy(self, transfer: Any, progress: Any) -> None:
            turn, self.begun = self.turns[self.begun], self.begun + 1
            await super().copy(transfer, progress)
            await turn.wait()

    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        turns = Turns()
        await grid.start({"posix": turns}, transfers=TransferSettings(), lease_s=3_600.0)
        (number,) = await grid.submit(copy())

        async def begun() -> int:
            return turns.begun

        async def left() -> list[Path]:
            return two.debris()

        await until(begun, lambda count: count == 1, "the first attempt is under way")
        later = Ledger(grid.settings().journal, "other", 1.0, clock=lambda: 1e12)
        assert await later.expire() == 1
        await later.close()
        await until(left, lambda found: len(found) == 2, "the second beside it")
        turns.turns[0].set()
        await until(left, lambda found: len(found) == 1, "the first has given up")
        await asyncio.sleep(0.1)
        status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
        assert status.active == 1
        turns.turns[1].set()
        (said,) = await grid.ended([number])
        assert said.attempts == 2 and two.path("/d/f").read_bytes() == DATA


async def test_a_store_that_is_written_at_once_keeps_what_another_runner_made_of_the_copy(tmp_path: Path) -> None:
    """The runner was paused beyond its lease, and its connection is gone when it wakes."""

    class Whole(PosixMover):
        def __init__(self) -> None:
            self.begun, self.go = asyncio.Event(), asyncio.Event()

        def appears_whole(self, url: str) -> bool:
            return True

        async def copy(self, transfer: Any, progress: Any) -> None:
            self.begun.set()
            await self.go.wait()
            raise StorageFault("transient", "reset by peer")

    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        store = Whole()
        await grid.start({"posix": store}, runner="paused", lease_s=86_400.0)
        (number,) = await grid.submit(copy())
        await store.begun.wait()
        later = Ledger(grid.settings().journal, "other", 1e6, clock=lambda: 1e12)
        assert await later.expire() == 1
        (lane,) = await later.do(submissions.ready_lanes, later.now())
        ((claimed,),) = await later.claim([Claim(lane, "a", 1)])
        await two.hold({"/d/f": DATA})
        assert await later.end(Ended(claimed, Event.SUCCEEDED, "copied"))
        await later.close()
        store.go.set()

        async def under_way() -> int:
            status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
            return status.active

        await until(under_way, lambda count: count == 0, "the first has given up")
        assert two.path("/d/f").read_bytes() == DATA
        assert (await grid.operation(number)).operation.state == "done"
