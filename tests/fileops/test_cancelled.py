"""Copies that are cancelled when their file may have its name already: registered or removed, never left; and files
that appear where a copy is to be."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from carried import Storage, World, adler32, world
from grid import until

from fileops import submissions
from fileops.carrying import Carrier, TransferSettings
from fileops.catalogs import Catalogs
from fileops.doors import Doors
from fileops.journal import Claim
from fileops.lane import Standing, Wish
from fileops.ledger import Ledger
from fileops.links import Links
from fileops.messages import IdsBody, OperationItem, OutcomesSaid
from fileops.runner import Runner
from fileops.schedule import Schedule
from reploc.sites import Door
from reploc.storage.mover import Mover
from reploc.storage.posix import PosixMover
from reploc.telemetry import Metrics
from reploc.wire import MappingItem

DATA = os.urandom(100_000)


class Waiting(PosixMover):
    """Storage that stops where it is told to, before or behind a step, until it is let go."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.there = asyncio.Event()
        self.go = asyncio.Event()

    async def copy(self, transfer: Any, progress: Any) -> None:
        await super().copy(transfer, progress)
        await self._reached("copied")

    async def rename(self, old: str, new: str) -> None:
        await super().rename(old, new)
        await self._reached("renamed")

    async def _reached(self, step: str) -> None:
        if step == self._step:
            self.there.set()
            await self.go.wait()


async def cancelled(grid: World, number: int) -> None:
    await grid.ask("POST", "/v1/operations/cancel", OutcomesSaid, IdsBody([number]))


async def copying(grid: World, mover: PosixMover, **changes: Any) -> int:
    """A copy of /f from a to b under way."""
    await grid.sites["a"].hold({"/f": DATA})
    await grid.start({"posix": mover}, **changes)
    (number,) = await grid.submit(OperationItem("copy", "b", "/f", ("a",)))
    return number


# ---- between the name and the catalog --------------------------------------------------------------------------------


async def test_a_file_that_has_its_name_but_is_not_registered_is_removed(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("renamed")
        number = await copying(grid, slow)
        await slow.there.wait()
        assert two.path("/f").exists()
        await cancelled(grid, number)
        await grid.ended([number], "cancelled")
        assert not two.path("/f").exists() and await two.find("/f") is None
        told = (await grid.operation(number)).story
        assert told[-1].words == "cancelled before it was registered: the file was removed"


async def test_a_copy_whose_catalog_is_away_is_undone_when_that_is_back(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("renamed")
        patient = grid.settings().retries.__class__(attempts_max=1_000, pause_s=0.05, pause_s_max=0.1)
        number = await copying(grid, slow, retries=patient)
        await slow.there.wait()
        await two.service.stop()
        slow.go.set()
        await grid.ended([number], "waiting")
        await cancelled(grid, number)
        assert (await grid.operation(number)).operation.state != "cancelled"  # nobody could look yet
        await two.service.start()
        await grid.ended([number], "cancelled")
        assert not two.path("/f").exists() and await two.find("/f") is None


@pytest.mark.parametrize("doors", [1, 2])
async def test_a_copy_that_the_catalog_has_already_stays_whichever_door_it_came_through(
    tmp_path: Path, doors: int
) -> None:
    """Its answer was lost, say: the file is registered under the door of its attempt, and the next has another one."""
    link = tmp_path / "link"
    ways = [Door(protocol="posix", url=path.as_uri()) for path in (tmp_path / "b" / "storage", link)[:doors]]
    one, two = Storage("a", tmp_path), Storage("b", tmp_path, ways)
    link.symlink_to(two.root)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("renamed")
        number = await copying(grid, slow)
        await slow.there.wait()
        await two.register([MappingItem("/f", two.pfn("/f"), len(DATA), adler32(DATA))])
        await cancelled(grid, number)
        await grid.ended([number], "done")
        assert two.path("/f").read_bytes() == DATA
        assert "the copy stays" in (await grid.operation(number)).story[-1].words


async def test_a_file_that_another_lfn_stands_for_by_now_is_not_removed(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("renamed")
        number = await copying(grid, slow)
        await slow.there.wait()
        two.write("/alias", DATA)  # what the check at the end reads
        await two.register([MappingItem("/alias", two.pfn("/f"), len(DATA), adler32(DATA))])
        await cancelled(grid, number)
        await grid.ended([number], "done")
        assert two.path("/f").read_bytes() == DATA


async def test_an_order_to_copy_that_meets_its_opposite_between_name_and_catalog_leaves_nothing(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("renamed")
        number = await copying(grid, slow)
        await slow.there.wait()
        (gone,) = await grid.submit(OperationItem("delete", "b", "/f", witness="a"))
        await grid.ended([number], "cancelled")
        await grid.ended([gone])
        assert not two.path("/f").exists() and await two.find("/f") is None
        assert one.path("/f").read_bytes() == DATA


async def test_an_undoing_that_takes_long_is_not_interrupted_by_what_it_was_begun_for(tmp_path: Path) -> None:
    """The lease is renewed some times meanwhile, and each time the journal says that it is to be cancelled."""

    class Reluctant(Waiting):
        removals = 0

        async def remove(self, url: str) -> None:
            if url.endswith("/f"):
                self.removals += 1
                await asyncio.sleep(1.5)
            await super().remove(url)

    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Reluctant("renamed")
        number = await copying(grid, slow, lease_s=1.0)
        await slow.there.wait()
        await cancelled(grid, number)
        await grid.ended([number], "cancelled")
        assert slow.removals == 1 and not two.path("/f").exists()


async def test_a_copy_that_is_cancelled_in_the_moment_of_its_beginning_frees_its_place(tmp_path: Path) -> None:
    """Before it has taken a single step; the lease runs out, and it is taken up once more."""

    class Instant(Ledger):
        """A journal that answers at once that everything is to be cancelled, the first time it is asked."""

        said = False

        async def renew(self, held: Collection[int]) -> frozenset[int]:
            asked, self.said = self.said, True
            return await super().renew(held) if asked else frozenset(held)

    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        told = grid.settings()
        sites = {site.name: site for site in told.sites}
        movers: dict[str, Mover] = {"posix": PosixMover()}
        ledger, links = Instant(told.journal, "runner", 1.0), Links()
        catalogs, schedule = Catalogs(sites, grid.transport), Schedule(sites, told.at_once, links, random.random)
        carrier = Carrier(sites, movers, catalogs, ledger, told.transfers, Doors(sites, movers))
        runner = Runner(carrier, schedule, links, told.retries, Metrics())
        try:
            await ledger.do(submissions.submit, [Wish("copy", "b", "/f", sources=("a",))], ledger.now())
            runner.wake()
            await runner.work()
            assert runner.active == 1
            await runner.renew()

            async def done() -> bool:
                await runner.renew()
                await runner.work()
                return two.path("/f").exists() and runner.active == 0

            await until(done, bool, "it is done, and nothing is under way")
            assert schedule.places.total == 0 and await two.find("/f") is not None
        finally:
            await ledger.close()


# ---- a file that appears in mid-copy ---------------------------------------------------------------------------------


async def test_another_file_that_appears_in_mid_copy_is_held_back_from(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("copied")
        number = await copying(grid, slow, transfers=TransferSettings(overwrite="hold"))
        await slow.there.wait()
        two.write("/f", b"somebody else's")
        slow.go.set()
        (said,) = await grid.ended([number], "held")
        assert "another file appeared" in said.reason
        assert two.path("/f").read_bytes() == b"somebody else's"
        assert not two.debris() and await two.find("/f") is None


@pytest.mark.parametrize("appeared", [DATA, b"half of it"], ids=["the same", "another"])
async def test_a_file_that_appears_in_mid_copy_and_that_nobody_registered_is_replaced(
    tmp_path: Path, appeared: bytes
) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("copied")
        number = await copying(grid, slow)
        await slow.there.wait()
        two.write("/f", appeared)
        slow.go.set()
        await grid.ended([number])
        assert two.path("/f").read_bytes() == DATA and not two.debris()


async def test_a_file_that_appears_in_mid_copy_and_is_registered_is_never_replaced(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        slow = Waiting("copied")
        number = await copying(grid, slow)
        await slow.there.wait()
        await two.hold({"/f": b"a newer version"})
        slow.go.set()
        (said,) = await grid.ended([number], "held")
        assert "the catalog of b has size 15" in said.reason
        assert two.path("/f").read_bytes() == b"a newer version" and not two.debris()


# ---- deletions that are each other's witness -------------------------------------------------------------------------


async def test_of_two_deletions_that_are_each_others_witness_one_is_held_and_the_last_copy_stays(
    tmp_path: Path,
) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    files = {f"/f{number}": b"%d" % number for number in range(30)}
    async with world(tmp_path, one, two) as grid:
        for site in (one, two):
            await site.hold(files)
        await grid.start(retries=grid.settings().retries.__class__(attempts_max=1_000, pause_s=0.02, pause_s_max=0.1))
        pairs = [
            (OperationItem("delete", "a", lfn, witness="b"), OperationItem("delete", "b", lfn, witness="a"))
            for lfn in files
        ]
        ids = await grid.submit(*(item for pair in pairs for item in pair))
        said = await grid.ended(ids, "done", "held")
        for lfn, first, second in zip(files, said[::2], said[1::2], strict=True):
            assert {first.state, second.state} == {"done", "held"}, lfn
            assert one.path(lfn).exists() + two.path(lfn).exists() == 1
            assert (await one.find(lfn) is None) + (await two.find(lfn) is None) == 1
            assert "does not hold" in (first.reason or second.reason)
        (outcomes,) = [
            await grid.ask("POST", "/v1/operations/cancel", OutcomesSaid, IdsBody([each.id]))
            for each in said
            if each.state == "held"
        ][:1]
        assert outcomes.outcomes[0].state == "cancelled"  # nothing had begun


async def test_a_witness_is_asked_again_when_a_runner_died_before_it_unregistered_anything(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        dead = Ledger(grid.settings().journal, "dead", 0.0)
        (number,) = await dead.do(submissions.submit, [Wish("delete", "a", "/f", witness="b")], 0.0)
        (lane,) = await dead.do(submissions.ready_lanes, 1.0)
        ((claimed,),) = await dead.claim([Claim(lane, "", 1)])
        assert await dead.hold(claimed, "asking") is Standing.OURS
        assert await dead.hold(claimed, "removing", [one.pfn("/f")]) is Standing.OURS
        await dead.close()
        await grid.start()
        (said,) = await grid.ended([number], "held")
        assert "does not hold" in said.reason
        assert one.path("/f").read_bytes() == DATA and await one.find("/f") is not None
