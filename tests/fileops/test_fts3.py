"""Copies delegated to FTS3: batches, one job whatever is repeated, faults told apart, cancelling, identities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import xrootd
from fts3_double import Fts3Server, fts3
from grid import until
from suites.movers import pieces
from xrootd import XrootdServer

from fileops.fts import Fts3
from reploc.storage.faults import Absent, StorageFault
from reploc.storage.mover import Transfer
from reploc.storage.web import Web
from reploc.storage.webdav import WebdavMover

_folders = count()


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    with xrootd.running() as (one,):
        yield one


@pytest.fixture
def proxy(tmp_path: Path) -> str:
    (tmp_path / "proxy.pem").write_bytes(b"".join(xrootd.self_signed()))
    return str(tmp_path / "proxy.pem")


@asynccontextmanager
async def delegating(url: str, proxy: str = "", token: str = "") -> AsyncIterator[Fts3]:
    made = Fts3(url, Web(), proxy=proxy, token=token, files_max=50, poll_s=0.05)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def files(server: XrootdServer, number: int) -> AsyncIterator[tuple[WebdavMover, list[Transfer]]]:
    """Files to copy on a WebDAV server."""
    mover = WebdavMover(Web())
    base = f"{server.http}/fts-{next(_folders)}".replace("http:", "dav:")
    await mover.make_directory(base)
    transfers = []
    for each in range(number):
        await mover.write(f"{base}/f{each}", pieces(b"%d" % each), 1)
        transfers.append(Transfer(f"{base}/f{each}", f"{base}/g{each}", 1, None, f"{each}.1"))
    yield mover, transfers
    await mover.close()


async def content(mover: WebdavMover, url: str) -> bytes:
    return b"".join([piece async for piece in mover.read(url)])


async def copied(service: Fts3, transfers: list[Transfer]) -> list[StorageFault | None]:
    outcomes = await asyncio.gather(*(service.copy(each, lambda _: None) for each in transfers), return_exceptions=True)
    for outcome in outcomes:
        assert outcome is None or isinstance(outcome, StorageFault), outcome
    return outcomes  # type: ignore[return-value]


async def test_copies_that_are_asked_for_together_are_one_job_by_a_delegated_proxy(
    server: XrootdServer, proxy: str
) -> None:
    async with fts3() as (there, url), delegating(url, proxy) as service, files(server, 9) as (mover, transfers):
        assert await copied(service, transfers) == [None] * 9
        assert len(there.jobs) == 1 and len(there.proxy) == 2
        assert [await content(mover, each.target) for each in transfers] == [b"%d" % number for number in range(9)]


async def test_a_submission_whose_answer_was_lost_is_the_same_job_when_it_is_repeated(
    server: XrootdServer, proxy: str
) -> None:
    async with fts3(lose_answers=1) as (there, url), delegating(url, proxy) as service, files(server, 3) as (_, some):
        first = await copied(service, some)
        assert all(isinstance(each, StorageFault) and each.blame == "transient" for each in first)
        assert await copied(service, some) == [None] * 3
        assert len(there.jobs) == 1


async def test_a_file_that_fails_fails_alone_and_its_fault_is_told_apart(server: XrootdServer, proxy: str) -> None:
    async with fts3() as (_, url), delegating(url, proxy) as service, files(server, 3) as (mover, transfers):
        await mover.remove(transfers[1].source)
        outcomes = await copied(service, transfers)
        assert (outcomes[0], outcomes[2]) == (None, None)
        assert isinstance(outcomes[1], Absent) and outcomes[1].blame == "source"


async def test_a_copy_that_is_cancelled_here_is_cancelled_there(server: XrootdServer, proxy: str) -> None:
    async with fts3() as (there, url), delegating(url, proxy) as service, files(server, 2) as (mover, transfers):
        there.held.clear()
        one, other = (asyncio.create_task(service.copy(each, lambda _: None)) for each in transfers)

        async def jobs() -> int:
            return len(there.jobs)

        await until(jobs, bool, "the job is there")
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one])
        there.held.set()
        await other
        assert len(there.cancelled) == 1
        with pytest.raises(Absent):
            await mover.stat(transfers[0].target)


async def test_a_token_is_shown_and_a_wrong_one_is_refused_for_good(server: XrootdServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good\n")
    (tmp_path / "bad").write_text("bad\n")
    async with fts3(token="good") as (_, url), files(server, 1) as (_mover, transfers):
        async with delegating(url, token=str(tmp_path / "bad")) as service:
            (outcome,) = await copied(service, transfers)
            assert isinstance(outcome, StorageFault) and outcome.blame == "permanent" and "401" in outcome.said
        async with delegating(url, token=str(tmp_path / "token")) as service:
            assert await copied(service, transfers) == [None]


async def test_a_job_that_the_server_forgot_is_done_again_elsewhere(server: XrootdServer, proxy: str) -> None:
    async with fts3() as (there, url), delegating(url, proxy) as service, files(server, 1) as (_, transfers):
        there.held.clear()
        copying = asyncio.create_task(service.copy(transfers[0], lambda _: None))

        async def jobs() -> int:
            return len(there.jobs)

        await until(jobs, bool, "the job is there")
        there.jobs.clear()
        with pytest.raises(StorageFault, match="does not know the job"):
            await copying


def test_the_double_refuses_what_the_real_one_refuses() -> None:
    async def refused() -> list[int]:
        there = Fts3Server()
        bodies = [
            {"delete": ["davs://x/y"], "params": {}, "files": []},
            {"params": {"nonsense": 1}, "files": []},
            {"params": {"sid": "x"}, "files": []},
        ]
        return [(await there._submit(body)).status for body in bodies]

    assert asyncio.run(refused()) == [405, 400, 419]
