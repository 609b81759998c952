"""Real processes that are killed with SIGKILL: the runner, the manager of orders, and both again and again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from carried import Storage, World, world
from databases import empty_postgres
from grid import until
from placement_double import placement
from processes.daemon import process, settings_file
from sqlalchemy import select

from fileops.ledger import Ledger
from fileops.schedule import AtOnceSettings
from fileops.settings import FileopsSettings
from fileops.tables import stories
from loadtests.postgres import Postgres
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.errors import Unreachable
from reploc.orders import BlockOrder, OrderReport
from reploc.sites import Door

FILES = {f"/store/{number % 5}/f{number:04}": os.urandom(20_000) for number in range(200)}
BYTES = sum(map(len, FILES.values()))


def daemon(grid: World, name: str, **changes: Any) -> Process:
    """File operations as a process of its own, not started yet."""
    settings: FileopsSettings = grid.settings(listen=f"127.0.0.1:{free_port()}", runner=name, **changes)
    return process("fileops", settings_file(grid.path / f"{name}.toml", settings), f"http://{settings.listen}")


@asynccontextmanager
async def ending(*daemons: Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for each in daemons:
            each.stop()


async def started(*daemons: Process) -> None:
    for each in daemons:
        each.start()
    for each in daemons:
        await each.answering()


async def test_orders_are_carried_out_whatever_is_killed_meanwhile(tmp_path: Path) -> None:
    """A copy order and then a deletion order, with manager and runner killed in the middle of each."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, "/d#1")
        manager = daemon(grid, "manager", parts=["fom"], placement=url)
        runner = daemon(grid, "runner", parts=["runner"], lease_s=1.0)
        async with ending(manager, runner):
            block = BlockOrder("/d#1", len(FILES), BYTES, ("a",), "b")
            for kind, site in (("copy", "b"), ("delete", "a")):
                number = service.order(kind, site, block)
                await started(manager, runner)
                count = rng.randrange(10, 150)

                async def far(number: int = number) -> OrderReport | None:
                    return service.reports.get(number)

                await until(far, lambda said, count=count: said is not None and said.files_done >= count, "further")
                for each in (manager, runner):
                    each.kill()
                await started(manager, runner)
                said = await until(far, lambda said: said is not None and said.state == "done", "the order is done")
                assert said is not None and (said.files, said.files_done) == (200, 200)
                await two.swept()
                for each in (manager, runner):
                    each.kill()
        assert {lfn: two.path(lfn).read_bytes() for lfn in FILES} == FILES
        assert not list(one.root.iterdir())


async def test_a_runner_that_is_not_heard_of_is_replaced_by_another_and_harms_nothing_when_it_wakes(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    """SIGSTOP beyond the lease, another runner does the work, SIGCONT."""
    database = empty_postgres(postgres_server)
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, "/d#1")
        first = daemon(grid, "first", journal=database, lease_s=1.0, placement=url)
        other = daemon(grid, "other", journal=database, lease_s=1.0, parts=["runner"])
        async with ending(first, other):
            first.start()
            await first.answering()
            number = service.order("copy", "b", BlockOrder("/d#1", len(FILES), BYTES, ("a",)))

            async def far() -> OrderReport | None:
                return service.reports.get(number)

            await until(far, lambda said: said is not None and said.files_done > 10, "the first has begun")
            assert first.running is not None
            first.running.send_signal(signal.SIGSTOP)
            other.start()
            await other.answering()

            async def copied() -> int:
                return sum(1 for path in two.root.rglob("f*"))

            await until(copied, lambda count: count == len(FILES), "the other has done the rest")
            first.running.send_signal(signal.SIGCONT)
            said = await until(far, lambda said: said is not None and said.state == "done", "the order is done")
            assert said is not None and said.files_done == 200
            await two.swept()
        assert {lfn: two.path(lfn).read_bytes() for lfn in FILES} == FILES


async def test_two_runners_at_once_do_each_operation_once(postgres_server: Postgres, tmp_path: Path) -> None:
    """A manager and two runners in processes of their own, a copy order and then a deletion order."""
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    database = empty_postgres(postgres_server)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, "/d#1")
        manager = daemon(grid, "manager", journal=database, parts=["fom"], placement=url)
        # One at a time, so that there is still something to do when the second looks; and nobody is taken for dead.
        few = {"journal": database, "parts": ["runner"], "at_once": AtOnceSettings(operations=1), "lease_s": 60.0}
        runners = [daemon(grid, name, **few) for name in ("first", "second")]
        async with ending(manager, *runners):
            await started(manager, *runners)
            block = BlockOrder("/d#1", len(FILES), BYTES, ("a",), "b")
            for kind, site in (("copy", "b"), ("delete", "a")):
                number = service.order(kind, site, block)

                async def far(number: int = number) -> OrderReport | None:
                    return service.reports.get(number)

                said = await until(far, lambda said: said is not None and said.state == "done", "the order is done")
                assert said is not None and (said.files, said.files_done) == (200, 200)
        assert {lfn: two.path(lfn).read_bytes() for lfn in FILES} == FILES
        assert not list(one.root.iterdir()) and not two.debris()
        told = Ledger(database, "test", 60.0)
        try:
            lines = await told.read(lambda connection: connection.execute(select(stories)).all())
        finally:
            await told.close()
        claimed = [line.words.partition(",")[0] for line in lines if line.event == "claimed"]
        assert {"by first", "by second"} == {*claimed} and len(claimed) == 2 * len(FILES)
        ends = [line.operation for line in lines if line.event == "succeeded"]
        assert len(ends) == len({*ends}) == 2 * len(FILES)


async def test_a_door_into_memory_is_refused_by_a_daemon(tmp_path: Path) -> None:
    site = Storage("a", tmp_path, [Door(protocol="memory", url="memory://a")])
    refused = daemon(World(tmp_path, {"a": site}), "refused")
    refused.start()
    try:
        with pytest.raises(Unreachable, match="site a: the door memory://a is for tests"):
            await refused.answering()
    finally:
        refused.stop()


async def test_a_journal_that_cannot_be_opened_is_said_in_words(tmp_path: Path) -> None:
    async with world(tmp_path) as grid:
        broken = daemon(grid, "broken", journal=f"sqlite:///{tmp_path}/none/journal.db")
        broken.start()
        try:
            with pytest.raises(Unreachable, match="unable to open database file"):
                await broken.answering()
        finally:
            broken.stop()
