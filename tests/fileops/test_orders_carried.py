"""Orders of placement are carried out on real files, against real catalogs, and reported truly."""

from __future__ import annotations

from pathlib import Path

from carried import Storage, adler32, world
from grid import until
from placement_double import Placement, placement

from fileops.messages import FileopsStatus, IdsBody, OutcomesSaid
from reploc.client.lrc import LrcClient
from reploc.orders import BlockFile, BlockOrder, OrderReport

FILES = {f"/store/d/f{number:03}": bytes([number]) * (100 + number) for number in range(40)}
BYTES = sum(map(len, FILES.values()))
BLOCK = "/d#1"


async def reported(service: Placement, number: int, state: str) -> OrderReport:
    async def look() -> OrderReport | None:
        return service.reports.get(number)

    found = await until(look, lambda said: said is not None and said.state == state, f"order {number} is {state}")
    assert found is not None
    return found


async def position(site: Storage) -> int:
    async with LrcClient(site.service.url) as client:
        return (await client.status()).position


def block(*sources: str, witness: str = "") -> BlockOrder:
    return BlockOrder(BLOCK, len(FILES), BYTES, sources, witness)


async def test_a_block_is_copied_then_deleted_where_it_was(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, BLOCK)
        await grid.start(placement=url)
        copying = service.order("copy", "b", block("a"))
        said = await reported(service, copying, "done")
        assert (said.files, said.files_done, said.bytes, said.bytes_done) == (40, 40, BYTES, BYTES)
        assert said.position == await position(two)
        assert {lfn: two.path(lfn).read_bytes() for lfn in FILES} == FILES
        found = await two.find("/store/d/f000")
        assert found is not None and found.collection == BLOCK
        deleting = service.order("delete", "a", block(witness="b"))
        said = await reported(service, deleting, "done")
        assert (said.files_done, said.position) == (40, await position(one))
        assert list(one.root.iterdir()) == []
        assert (await reported(service, copying, "done")).files_done == 40


async def test_the_definition_of_a_block_goes_before_what_a_source_has(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, BLOCK)
        few = sorted(FILES)[:3]
        service.blocks[BLOCK] = [BlockFile(lfn, len(FILES[lfn]), adler32(FILES[lfn])) for lfn in few]
        await grid.start(placement=url)
        said = await reported(service, service.order("copy", "b", block("a")), "done")
        assert said.files == 3
        assert sorted(path.name for path in two.root.rglob("f*")) == [Path(lfn).name for lfn in few]


async def test_a_witness_that_is_gone_holds_the_whole_order_until_it_is_released(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, BLOCK)
        await grid.start(placement=url)
        number = service.order("delete", "a", block(witness="b"))

        async def look() -> OrderReport | None:
            return service.reports.get(number)

        said = await until(look, lambda said: said is not None and "40 files are held" in said.reason, "all are held")
        assert said is not None and said.state == "active" and said.files_done == 0
        assert "the witness b does not hold" in said.reason
        assert {lfn: one.path(lfn).read_bytes() for lfn in FILES} == FILES
        await two.hold(FILES, BLOCK)
        held = [each.id for each in await grid.operations(state="held")]
        await grid.ask("POST", "/v1/operations/release", OutcomesSaid, IdsBody(held))
        assert (await reported(service, number, "done")).files_done == 40


async def test_a_cancelled_order_stops_and_says_how_far_it_came(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, BLOCK)
        for lfn in FILES:
            one.path(lfn).chmod(0o600)
        missing = sorted(FILES)[5:]
        for lfn in missing:
            one.path(lfn).rename(one.path(lfn).with_suffix(".away"))
        await grid.start(placement=url)
        number = service.order("copy", "b", block("a"))
        await until(lambda: grid.operations(state="held"), lambda held: len(held) == 35, "the others are held")
        service.cancel(number)
        said = await reported(service, number, "cancelled")
        assert said.files_done == 5 and "35 of 40 files were cancelled" in said.reason
        for lfn in missing:
            one.path(lfn).with_suffix(".away").rename(one.path(lfn))


async def test_an_order_that_cannot_be_carried_out_fails_in_words(tmp_path: Path) -> None:
    async with world(tmp_path, Storage("a", tmp_path)) as grid, placement() as (service, url):
        await grid.start(placement=url)
        said = await reported(service, service.order("copy", "nowhere", block("a")), "failed")
        assert said.reason == "site nowhere is not defined at file operations"
        said = await reported(service, service.order("copy", "a", block("nowhere")), "failed")
        assert "no source of /d#1 is defined at file operations: nowhere" in said.reason


async def test_an_order_for_nothing_is_done_and_placement_may_be_away(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        service.away = True
        await grid.start(placement=url)
        number = service.order("delete", "b", block(witness="a"))

        async def error() -> str:
            status: FileopsStatus = await grid.ask("GET", "/v1/status", FileopsStatus)
            return status.feed_error

        await until(error, lambda said: "being restarted" in said, "the feed's error is shown")
        service.away = False
        said = await reported(service, number, "done")
        assert (said.files, said.position) == (0, 0)
        assert await until(error, lambda said: not said, "the feed is well again") == ""


async def test_a_journal_that_was_lost_reads_the_feed_anew_and_does_no_harm(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid, placement() as (service, url):
        await one.hold(FILES, BLOCK)
        await grid.start(placement=url)
        number = service.order("copy", "b", block("a"))
        await reported(service, number, "done")
        await grid.stop()
        service.reports.clear()
        inodes = {lfn: two.path(lfn).stat().st_ino for lfn in FILES}
        await grid.start(placement=url, journal=f"sqlite:///{tmp_path / 'new.db'}")
        assert (await reported(service, number, "done")).files_done == 40
        assert {lfn: two.path(lfn).stat().st_ino for lfn in FILES} == inodes
