"""A catalog that sends updates to an index server of the Globus RLS, which follows the protocol byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from grid import until
from plain_http import ask
from rls_index_double import RlsIndexDouble, rls_index

import lrc.catalog
from lrc import change_log, server
from lrc.rls.feed import RlsFeed
from lrc.rls.filter import GROWTH_MAX
from lrc.settings import LrcRlsSettings, LrcSettings
from lrc.threads import Threads
from reploc import service
from reploc.client.lrc import LrcClient
from reploc.members import IndexSettings
from reploc.telemetry import Metrics
from reploc.wire import DeleteItem, MappingItem, MappingsBody

T = TypeVar("T")

LONGEST = "/" + "é" * 2047 + "a"
AWKWARD = ["/it's", "/a b", "/50%_of\\it", "/été", LONGEST]


def told(path: Path, **rls: object) -> LrcSettings:
    quick = {"listen": "127.0.0.1:0", "buffer_s": 0.05, "retry_s": 0.3, "timeout_s": 60.0, "admin": True}
    return LrcSettings(
        site="SITE",
        store=str(path / "store"),
        listen="127.0.0.1:0",
        index=IndexSettings(nodes=[], redundancy=1),
        rls=LrcRlsSettings(**quick | rls),  # type: ignore[arg-type]
    )


class Catalog:
    """A served catalog, its client, and what it says of its index servers."""

    def __init__(self, base: str, client: LrcClient, own_url: str) -> None:
        self.base = base
        self.client = client
        self.url = own_url

    async def put(self, *lfns: str) -> None:
        assert (await self.client.put([MappingItem(lfn, f"file:///{len(lfn)}/x") for lfn in lfns])).errors == []

    async def delete(self, *lfns: str) -> None:
        assert (await self.client.delete([DeleteItem(lfn) for lfn in lfns])).errors == []

    async def send_to(self, index: RlsIndexDouble, **how: object) -> None:
        status, said = await ask(self.base + "/v1/rls/indexes", body={"url": index.url, **how})
        assert status == 200, said

    async def progress(self) -> dict[str, object]:
        [one] = (await ask(self.base + "/v1/rls/indexes"))[1]["indexes"]
        return dict(one)

    async def lists(self, index: RlsIndexDouble, *lfns: str) -> None:
        async def held() -> set[str]:
            return index.names.get(self.url, set())

        await until(held, lambda seen: seen == set(lfns), f"{len(lfns)} names are listed")


@asynccontextmanager
async def served(settings: LrcSettings) -> AsyncIterator[Catalog]:
    async with (
        server.compose(settings) as daemon,
        service.listening(daemon, settings) as base,
        LrcClient(base) as client,
    ):
        own_url = settings.rls.url or (await ask(base + "/v1/status"))[1]["rls_url"]
        yield Catalog(base, client, own_url)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with served(told(tmp_path)) as one:
        yield one


async def test_all_names_are_listed_and_then_what_comes_and_goes(catalog: Catalog) -> None:
    await catalog.put(*AWKWARD, "/gone")
    async with rls_index() as index:
        await catalog.send_to(index)
        await catalog.lists(index, *AWKWARD, "/gone")
        await catalog.put("/new")
        await catalog.delete("/gone", LONGEST)
        left = [*AWKWARD[:-1], "/new"]
        await catalog.lists(index, *left)
        assert sorted(index.updates[-1] + index.updates[-2])[-1].startswith(b"D/")
        told_of = await until(catalog.progress, lambda said: said["lag_s"] == 0, "nothing is owed")
        assert (told_of["filters"], told_of["trouble"], told_of["interval_s"]) == (False, "", 86_400)
        assert told_of["told"] == (await catalog.client.status()).position
        assert index.connections == 1, "the connection is kept between two updates"


async def test_the_bytes_of_an_update_are_those_of_the_protocol(tmp_path: Path) -> None:
    async with served(told(tmp_path, url="rlsn://localhost:39311")) as catalog, rls_index() as index:
        await catalog.send_to(index)
        await until(catalog.progress, lambda said: said["told"] is not None, "an empty list was told")
        await catalog.put("imm1", "n0")
        await catalog.lists(index, "imm1", "n0")
        await catalog.delete("n0")
        await catalog.lists(index, "imm1")
        assert index.updates == [[b"Aimm1", b"An0"], [b"Dn0"]]


async def test_a_filter_is_theirs_and_lacks_no_name(tmp_path: Path) -> None:
    async with served(told(tmp_path, url="rlsn://localhost:39311")) as catalog, rls_index("filters") as index:
        await catalog.put("lfnA")
        await catalog.send_to(index, filters=True)
        filters = await until(lambda: later(index.filters), bool, "a filter has come")
        one = filters[catalog.url]
        assert (one.bits, one.functions, one.interval_s, len(one.data)) == (1000, 3, 300, 126)
        assert {at: byte for at, byte in enumerate(one.data) if byte} == {91: 0x40, 94: 0x40, 105: 0x40}
        await catalog.put(*AWKWARD, *(f"/lfn/{number}" for number in range(3_000)))
        names = ["lfnA", *AWKWARD, *(f"/lfn/{number}" for number in range(3_000))]
        await until(
            lambda: later(index.filters[catalog.url].bits),
            lambda bits: bits >= 10 * 3_000 / GROWTH_MAX,
            "a filter that is too full is built anew",
        )
        await until(
            lambda: later([name for name in names if not index.may_hold(catalog.url, name)]),
            lambda lacking: not lacking,
            "the filter has all names",
        )


class Filling(Threads):
    """Threads of a catalog that gets so many more names just before each work that they are given."""

    def __init__(self, catalog: lrc.catalog.Catalog, *loads: int) -> None:
        super().__init__()
        self._catalog = catalog
        self._loads = list(loads)

    async def run(self, work: Callable[[], T]) -> T:
        if self._loads and (count := self._loads.pop(0)):
            items = [MappingItem(f"/{count}/{number}", "file:///x") for number in range(count)]
            assert self._catalog.write(MappingsBody("put", items)).errors == []
        return await super().run(work)


async def test_a_filter_that_names_outgrow_while_it_is_built_is_built_again_before_it_is_sent(tmp_path: Path) -> None:
    settings = told(tmp_path, url="rlsn://localhost:39311")
    with lrc.catalog.Catalog.create(settings.store, "SITE") as catalog:
        # The work that builds the filter comes after that which notes the index server, and is followed by another.
        async with rls_index("filters") as index, Filling(catalog, 10, 2_000, 0, 0) as threads:
            feed = RlsFeed(catalog, threads, settings, Metrics())
            async with feed.feeding():
                await feed.add(index.url, filters=True, pattern=None)
                filters = await until(lambda: later(index.filters), bool, "a filter has come")
                assert filters[feed.own_url].bits == 10 * 2_010
                assert all(index.may_hold(feed.own_url, f"/2000/{number}") for number in range(2_000))


async def test_what_has_gone_leaves_the_filter_when_it_is_built_anew(tmp_path: Path) -> None:
    async with served(told(tmp_path)) as catalog, rls_index("filters") as index:
        await catalog.put(*(f"/lfn/{number}" for number in range(40)), "/gone")
        await catalog.send_to(index, filters=True)
        await until(lambda: later(index.may_hold(catalog.url, "/gone")), bool, "it is there")
        await catalog.delete("/gone")
        await until(lambda: later(index.may_hold(catalog.url, "/gone")), lambda held: not held, "it has gone")


async def test_a_pattern_parts_the_names_and_the_last_one_takes_the_server_with_it(catalog: Catalog) -> None:
    await catalog.put("/a/1", "/b/1", "/c/1")
    async with rls_index() as index:
        await catalog.send_to(index, pattern="/a/*")
        await catalog.lists(index, "/a/1")
        await catalog.send_to(index, pattern="/b/*")
        await catalog.lists(index, "/a/1", "/b/1")
        await catalog.put("/c/2", "/b/2")
        await catalog.lists(index, "/a/1", "/b/1", "/b/2")
        assert (await ask(catalog.base + "/v1/rls/indexes", body={"url": index.url, "pattern": "/a/*"}))[0] == 409
        for pattern in ("/a/*", "/b/*"):
            said = await ask(catalog.base + "/v1/rls/indexes/delete", body={"url": index.url, "pattern": pattern})
            assert said[0] == 200
        assert said[1]["indexes"] == []


async def test_an_index_that_lost_its_memory_is_told_everything_again(catalog: Catalog) -> None:
    await catalog.put("/a", "/b")
    async with rls_index() as index:
        await catalog.send_to(index)
        await catalog.lists(index, "/a", "/b")
        await index.stop()
        index.lose_memory()
        await catalog.delete("/b")
        await until(catalog.progress, lambda said: "connect" in str(said["trouble"]), "the catalog sees that")
        await index.start()
        await catalog.lists(index, "/a")
        await until(catalog.progress, lambda said: said["told"] is not None, "the list was told")
        seen = index.connections
        index.hang_up()
        await until(lambda: later(index.connections), lambda count: count > seen, "it comes back")
        before = len(index.updates)
        await catalog.put("/c")
        await catalog.lists(index, "/a", "/c")
        assert len(index.updates) == before + 1, "an index that remembers is told the change alone"


async def test_an_index_that_calls_the_catalog_otherwise_is_not_told_everything_at_each_connection(
    catalog: Catalog,
) -> None:
    await catalog.put("/a", "/b")
    async with rls_index() as index:
        index.renames = True
        await catalog.send_to(index)
        await catalog.lists(index, "/a", "/b")
        await until(catalog.progress, lambda said: said["told"] is not None, "the list was told")
        seen = index.connections
        index.hang_up()
        await until(lambda: later(index.connections), lambda count: count > seen, "it comes back")
        await catalog.put("/c")
        await catalog.lists(index, "/a", "/b", "/c")
        assert index.updates == [[b"A/a", b"A/b"], [b"A/c"]]


async def test_a_catalog_that_starts_anew_tells_what_went_meanwhile(tmp_path: Path) -> None:
    settings = told(tmp_path, url="rlsn://localhost:39311")
    async with rls_index() as index:
        async with served(settings) as catalog:
            await catalog.put("/a", "/b", "/c")
            await catalog.send_to(index)
            await catalog.lists(index, "/a", "/b", "/c")
            await until(catalog.progress, lambda said: said["told"] is not None, "the list was told")
            index.silent = True  # from now on nothing is taken
            await catalog.delete("/b")
        index.silent = False
        index.hang_up()
        async with served(settings) as catalog:
            await catalog.lists(index, "/a", "/c")
            assert (await catalog.progress())["url"] == index.url, "the store knows whom to tell"


async def test_where_the_log_of_changes_does_not_reach_back_everything_is_told(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await catalog.put("/a")
    async with rls_index() as index:
        await catalog.send_to(index)
        await catalog.lists(index, "/a")
        await until(catalog.progress, lambda said: said["told"] is not None, "the list was told")
        await index.stop()
        monkeypatch.setattr(change_log.append, "__defaults__", (2,))
        for number in range(8):
            await catalog.put(f"/new/{number}")
        await index.start()
        await catalog.lists(index, "/a", *(f"/new/{number}" for number in range(8)))
        assert len(index.updates[-1]) > 2


async def test_a_batch_is_sent_again_after_17_and_given_up_after_another_code(catalog: Catalog) -> None:
    await catalog.put("/a")
    async with rls_index(codes=[17, 17, 12]) as index:
        await catalog.send_to(index)
        await until(lambda: later(len(index.updates)), lambda count: count == 3, "it was sent three times")
        assert index.updates == [[b"A/a"]] * 3
        await catalog.put("/b")
        await catalog.lists(index, "/b")


async def test_a_name_that_is_refused_for_ever_holds_nobody_up(catalog: Catalog) -> None:
    await catalog.put("/a", "/it's", "/z")
    async with rls_index() as index:
        index.poison = "'"
        await catalog.send_to(index)
        await catalog.lists(index, "/a", "/z")
        await catalog.put("/later")
        await catalog.lists(index, "/a", "/z", "/later")


@pytest.mark.parametrize(("takes", "filters"), [("filters", False), ("lists", True)])
async def test_an_index_of_the_other_kind_is_named_and_not_pressed(tmp_path: Path, takes: str, filters: bool) -> None:
    async with served(told(tmp_path, retry_s=600.0)) as catalog, rls_index(takes) as index:
        await catalog.put(*(f"/lfn/{number}" for number in range(1_000)))
        await catalog.send_to(index, filters=filters)
        said = await until(catalog.progress, lambda said: bool(said["trouble"]), "it says so")
        assert "26" in str(said["trouble"])
        await asyncio.sleep(0.3)
        assert len(index.updates) <= 1
        assert index.connections == 1


async def test_an_index_without_room_or_voice_is_tried_again(catalog: Catalog) -> None:
    await catalog.put("/a")
    async with rls_index() as index:
        index.greeting = b"28\x00100\x00"
        await catalog.send_to(index)
        await until(catalog.progress, lambda said: "28" in str(said["trouble"]), "it is told that there is no room")
        index.greeting = b"0\0"
        await catalog.lists(index, "/a")


async def test_a_silent_index_costs_neither_writes_nor_another_index_anything(tmp_path: Path) -> None:
    async with served(told(tmp_path, timeout_s=0.3)) as catalog, rls_index() as dead, rls_index() as index:
        dead.silent = True
        await catalog.put("/a")
        await catalog.send_to(dead)
        await catalog.send_to(index)
        await catalog.lists(index, "/a")
        await until(
            lambda: ask(catalog.base + "/v1/rls/indexes"),
            lambda said: "no answer" in said[1]["indexes"][0]["trouble"],
            "the silent one is named",
        )
        dead.silent = False
        await catalog.put("/b")
        await catalog.lists(index, "/a", "/b")
        await catalog.lists(dead, "/a", "/b")


async def test_without_immediate_everything_is_told_with_the_next_full_update(tmp_path: Path) -> None:
    settings = told(tmp_path, immediate=False, list_interval_s=0.5)
    async with served(settings) as catalog, rls_index() as index:
        await catalog.put("/a", "/b")
        await catalog.send_to(index)
        await catalog.lists(index, "/a", "/b")
        await catalog.delete("/a")
        await catalog.put("/c")
        await catalog.lists(index, "/b", "/c")


async def test_a_push_tells_all_names_again(catalog: Catalog) -> None:
    await catalog.put("/a", "/b")
    async with rls_index() as index:
        await catalog.send_to(index)
        await catalog.lists(index, "/a", "/b")
        await until(catalog.progress, lambda said: said["told"] is not None, "the list was told")
        assert (await ask(catalog.base + "/v1/softstate/push", body={}))[0] == 200
        await until(lambda: later(len(index.updates)), lambda count: count == 2, "all names came again")
        assert index.updates[1] == [b"A/a", b"A/b"]


async def test_a_catalog_that_nobody_could_reach_sends_nothing(tmp_path: Path) -> None:
    async with served(told(tmp_path, listen="")) as catalog, rls_index() as index:
        status, said = await ask(catalog.base + "/v1/rls/indexes", body={"url": index.url})
        assert (status, said["code"]) == (409, "rls-port-closed")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"url": "http://h:1"}, 400, "body-invalid"),
        ({"url": "rlsn://h:0x"}, 400, "body-invalid"),
        ({"url": "rlsn://h", "pattern": ""}, 400, "name-invalid"),
        ({"url": "rlsn://h", "filters": True, "pattern": "/a*"}, 409, "rls-index-unfit"),
        ({"url": "rlsn://h", "patern": "/a*"}, 400, "body-invalid"),
    ],
)
async def test_what_cannot_be_sent_to_is_refused(catalog: Catalog, body: object, status: int, code: str) -> None:
    said = await ask(catalog.base + "/v1/rls/indexes", body=body)
    assert (said[0], said[1]["code"]) == (status, code)
    assert (await ask(catalog.base + "/v1/rls/indexes"))[1]["indexes"] == []
    assert (await ask(catalog.base + "/v1/rls/indexes/delete", body={"url": "rlsn://h:1"}))[0] == 404


async def test_the_pace_is_another_until_the_next_start(catalog: Catalog) -> None:
    _, said = await ask(catalog.base + "/v1/rls/pace", body={"factor": 10, "buffer_s": 7.5})
    assert (said["pace"]["factor"], said["pace"]["buffer_s"], said["pace"]["buffer_names"]) == (10, 7.5, 200)
    assert (await ask(catalog.base + "/v1/rls/pace", body={"factor": 0}))[0] == 400


async def later(value: object) -> object:
    return value


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"HTTP/1.1 400\0", "expected a code"),
        (b"x" * 20_000, "not of the RLS protocol"),
        (b"", "ended before"),
    ],
)
async def test_a_server_that_talks_nonsense_is_named_and_tried_again(
    tmp_path: Path, greeting: bytes, words: str
) -> None:
    async with served(told(tmp_path, timeout_s=0.3)) as catalog, rls_index() as index:
        await catalog.put("/a")
        index.greeting = greeting
        await catalog.send_to(index)
        await until(catalog.progress, lambda said: words in str(said["trouble"]), f"its trouble is {words}")
        index.greeting = b"0\0"
        await catalog.lists(index, "/a")
