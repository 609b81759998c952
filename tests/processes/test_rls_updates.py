"""A catalog under an index of the Globus RLS, each a process: lists and filters, and either of them killed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from daemon import process, settings_file
from grid import index_settings, until
from rls_client import connected

from lrc.settings import LrcRlsSettings, LrcSettings
from reploc.client import LrcClient
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.members import IndexSettings
from reploc.wire import DeleteItem, MappingItem
from rli.settings import RliRlsSettings, RliSettings

AWKWARD = ["/it's", "/a b", "/50%_of\\it", "/été", "/" + "é" * 2047 + "a"]
LFNS = [*AWKWARD, *(f"/lfn/{number:05}" for number in range(2_000))]


class World:
    """An index node that our own soft state does not reach, so that all it knows came over its RLS port."""

    def __init__(self, path: Path) -> None:
        index = index_settings(1, expiry_s=1.0)
        url = index.urls["n0"]
        self.index_rls, lrc_rls = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        told = RliSettings(
            node="n0",
            listen=url.removeprefix("http://"),
            index=index,
            matrix_bytes_max=1 << 30,
            rls=RliRlsSettings(listen=self.index_rls),
        )
        self.rli = process("rli", settings_file(path / "rli.toml", told), url)
        catalog = LrcSettings(
            site="A",
            store=str(path / "store"),
            listen=f"127.0.0.1:{free_port()}",
            index=IndexSettings(nodes=[], redundancy=1),
            rls=LrcRlsSettings(listen=lrc_rls, buffer_s=0.1, retry_s=0.5),
        )
        self.lrc = process("lrc", settings_file(path / "lrc.toml", catalog), f"http://{catalog.listen}")
        self.own_url = f"rlsn://{lrc_rls}"

    async def start(self, each: Process) -> None:
        each.start()
        await each.answering()

    async def found(self, lfns: Iterable[str]) -> None:
        """The index finds these names at the catalog, and nothing else of those that there ever were."""
        wanted = set(lfns)

        async def wrong() -> list[str]:
            try:
                async with connected("rlsn://" + self.index_rls) as client:
                    code, said = await client.ask("rli_exists_bulk", "2", items=[*LFNS, "/new"])
            except OSError:
                return ["the index is not there"]
            if code:
                return said
            codes = dict(zip(said[1::2], said[0::2], strict=True))
            return [lfn for lfn, code in codes.items() if (code == "0") != (lfn in wanted)]

        await until(wrong, lambda names: not names, f"the index knows {len(wanted)} names and no others")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    try:
        for each in (made.rli, made.lrc):
            await made.start(each)
        yield made
    finally:
        for each in (made.lrc, made.rli):
            each.kill()


async def put(world: World, lfns: Iterable[str]) -> None:
    async with LrcClient(world.lrc.url) as client:
        assert (await client.put([MappingItem(lfn, "file:///x" + lfn[:80]) for lfn in lfns])).errors == []


async def delete(world: World, lfns: Iterable[str]) -> None:
    async with LrcClient(world.lrc.url) as client:
        assert (await client.delete([DeleteItem(lfn) for lfn in lfns])).errors == []


async def test_lists_survive_that_either_side_is_killed(world: World) -> None:
    await put(world, LFNS)
    async with LrcClient(world.lrc.url) as client:
        await client.add_rls_index("rlsn://" + world.index_rls)
    await world.found(LFNS)
    world.rli.kill()
    await delete(world, LFNS[:3])
    await world.start(world.rli)
    await world.found(LFNS[3:])
    await delete(world, LFNS[3:1_000])
    await put(world, ["/new"])
    world.lrc.kill()
    await world.start(world.lrc)
    await world.found([*LFNS[1_000:], "/new"])
    async with LrcClient(world.lrc.url) as client:
        [one] = (await client.rls_indexes()).indexes
    assert one.url == "rlsn://" + world.index_rls


async def test_filters_survive_that_either_side_is_killed(world: World) -> None:
    """The names that a filter seems to hold and does not are told by their own test; here those that it must hold."""
    await put(world, LFNS)
    async with LrcClient(world.lrc.url) as client:
        await client.add_rls_index("rlsn://" + world.index_rls, filters=True)

    async def has_all() -> None:
        async def seen() -> bool:
            try:
                async with connected("rlsn://" + world.index_rls) as client:
                    code, said = await client.ask("rli_exists_bulk", "2", items=LFNS)
            except OSError:
                return False
            return code == 0 and set(said[0::2]) == {"0"}

        await until(seen, bool, "the filter holds all names")

    await has_all()
    world.rli.kill()
    await world.start(world.rli)
    await has_all()
    world.lrc.kill()
    await world.start(world.lrc)
    await put(world, ["/new"])
    await has_all()
    async with connected("rlsn://" + world.index_rls) as client:
        await until(
            lambda: client.ask("rli_get_lrc", "/new", "0", "0"),
            lambda said: said == (0, ["/new", world.own_url]),
            "the new name is in it",
        )
