"""Group commit: what one request gets wrong is its own, and an answer comes after the commit and the news of it."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lrc import writer as writer_module
from lrc.catalog import Catalog
from lrc.check import check
from lrc.writer import Writer
from reploc import digest
from reploc.errors import StoreFull, TooLarge, Unavailable
from reploc.sender.news import News
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem, Written

Told = tuple[list[bytes], list[bytes], int]


class Recorder:
    """A listener that keeps what it is told, and can make the writer wait."""

    def __init__(self) -> None:
        self.news: list[Told] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, news: News) -> None:
        assert news.added.dtype == news.removed.dtype == np.uint64
        self.news.append((digest.stored(news.added), digest.stored(news.removed), news.position))
        self.open.wait()


def one(lfn: str, pfn: str = "a:1") -> MappingsBody:
    return MappingsBody("put", [MappingItem(lfn, pfn)])


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_a_group_that_waits_is_one_commit(catalog: Catalog) -> None:
    recorder = Recorder()
    async with Writer(catalog, recorder) as writer:
        recorder.open.clear()
        first = asyncio.create_task(writer.submit(one("/first")))
        await until(lambda: len(recorder.news) == 1)
        others = [asyncio.create_task(writer.submit(one(f"/{number}"))) for number in range(100)]
        await until(lambda: writer.queued_items == 101)
        assert not first.done(), "the listener has not been heard out"
        recorder.open.set()
        assert await first == Written(1, [], 1)
        assert await asyncio.gather(*others) == [Written(1, [], 2)] * 100
    assert [position for *_, position in recorder.news] == [1, 2]
    assert sorted(recorder.news[1][0]) == sorted(digest.stored(digest.of([f"/{number}" for number in range(100)])))


async def test_an_atomic_request_that_fails_is_undone_alone(catalog: Catalog) -> None:
    bodies = [
        one("/a"),
        MappingsBody("create", [MappingItem("/b", "a:1"), MappingItem("/a", "a:2")], atomic=True),
        MappingsBody("create", [MappingItem("/c", "a:1"), MappingItem("/a", "a:2")]),
        MappingsBody("add", [MappingItem("/b", "a:1")]),
    ]
    async with Writer(catalog) as writer:
        answers = await asyncio.gather(*map(writer.submit, bodies))
    assert [(answer.done, [error.code for error in answer.errors]) for answer in answers] == [
        (1, []),
        (0, ["lfn-exists"]),
        (1, ["lfn-exists"]),
        (0, ["lfn-unknown"]),
    ]
    assert catalog.lfns().lfns == ["/a", "/c"]


async def test_a_renaming_of_pfns_sees_the_requests_before_it(catalog: Catalog) -> None:
    async with Writer(catalog) as writer:
        before = [writer.submit(one(f"/{number}", "a:1")) for number in range(10)]
        rename = writer.submit(RenameBody("pfn", [RenameItem("a:1", "b:1")]))
        after = writer.submit(one("/last", "a:1"))
        *_, renamed, last = await asyncio.gather(*before, rename, after)
    assert (renamed.done, last.position) == (1, renamed.position + 1)
    assert len(catalog.lfns_by_pfn("b:1").lfns) == 10
    assert catalog.lfns_by_pfn("a:1").lfns == ["/last"]


async def test_a_write_that_changes_nothing_is_no_news(catalog: Catalog) -> None:
    recorder = Recorder()
    async with Writer(catalog, recorder) as writer:
        await writer.submit(one("/a"))
        assert await writer.submit(one("/a")) == Written(1, [], 1)
        assert (await writer.submit(DeleteBody([DeleteItem("/b")]))).position == 1
        assert (await writer.submit(one("/a", "a:2"))).position == 2
    assert recorder.news == [(digest.stored(digest.of(["/a"])), [], 1), ([], [], 2)]


async def test_a_full_map_changes_nothing_and_the_writer_lives_on(tmp_path: Path) -> None:
    recorder = Recorder()
    with Catalog.create(tmp_path / "store", "SITE", map_bytes=1 << 20) as catalog:
        async with Writer(catalog, recorder) as writer:
            assert (await writer.submit(one("/a"))).position == 1
            large = MappingsBody("put", [MappingItem(f"/{number}", "p" * 4000) for number in range(1_000)])
            group = await asyncio.gather(*(writer.submit(large) for _ in range(3)), return_exceptions=True)
            assert [type(answer) for answer in group] == [StoreFull] * 3
            assert catalog.lfns().lfns == ["/a"]
            assert (await writer.submit(one("/b"))).position == 2
            assert (await writer.submit(DeleteBody([DeleteItem("/a")]))).position == 3
        assert [position for *_, position in recorder.news] == [1, 2, 3]
        assert check(catalog).findings == []


async def test_a_queue_that_is_full_says_so_and_takes_more_later(catalog: Catalog) -> None:
    recorder = Recorder()
    batch = MappingsBody("put", [MappingItem(f"/{number}", "a:1") for number in range(writer_module.GROUP_ITEMS_MAX)])
    async with Writer(catalog, recorder) as writer:
        recorder.open.clear()
        waiting = [asyncio.create_task(writer.submit(one("/first")))]
        await until(lambda: len(recorder.news) == 1)
        room = writer_module.QUEUE_ITEMS_MAX // writer_module.GROUP_ITEMS_MAX - 1
        waiting += [asyncio.create_task(writer.submit(batch)) for _ in range(room)]
        await until(lambda: writer.queued_items == room * len(batch.mappings) + 1)
        with pytest.raises(Unavailable, match="wait to be written"):
            await writer.submit(batch)
        recorder.open.set()
        await asyncio.gather(*waiting)
        assert (await writer.submit(one("/last"))).done == 1


async def test_what_is_too_much_for_a_read_or_a_group_is_written_one_by_one(catalog: Catalog) -> None:
    pfns = [f"a:{number:03}" + "x" * 4_080 for number in range(1_000)]
    heavy = [f"/heavy-{number}" for number in range(34)]
    for lfn in heavy:
        catalog.write(MappingsBody("put", [MappingItem(lfn, pfn) for pfn in pfns]))
    with pytest.raises(TooLarge, match="exceed 128 MiB; name fewer at once"):
        catalog.lookup_many(heavy)
    with pytest.raises(TooLarge):
        catalog.write(DeleteBody([DeleteItem(lfn) for lfn in heavy]))
    assert catalog.state().lfns == 34
    recorder = Recorder()
    async with Writer(catalog, recorder) as writer:
        recorder.open.clear()
        first = asyncio.create_task(writer.submit(one("/first")))
        await until(lambda: len(recorder.news) == 1)
        deletions = [asyncio.create_task(writer.submit(DeleteBody([DeleteItem(lfn)]))) for lfn in heavy]
        await until(lambda: writer.queued_items == 35)
        recorder.open.set()
        assert [answer.done for answer in await asyncio.gather(first, *deletions)] == [1] * 35
    assert catalog.lfns().lfns == ["/first"]


async def test_closing_makes_durable_what_waits_and_takes_no_more(catalog: Catalog) -> None:
    writer = Writer(catalog)
    writer.start()
    waiting = [asyncio.create_task(writer.submit(one(f"/{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    await writer.close()
    assert [answer.done for answer in await asyncio.gather(*waiting)] == [1] * 50
    assert catalog.state().lfns == 50
    with pytest.raises(Unavailable, match="closing"):
        await writer.submit(one("/late"))


async def test_who_goes_away_does_not_disturb_the_others(catalog: Catalog) -> None:
    recorder = Recorder()
    async with Writer(catalog, recorder) as writer:
        recorder.open.clear()
        gone = asyncio.create_task(writer.submit(one("/gone")))
        await until(lambda: len(recorder.news) == 1)
        stays = asyncio.create_task(writer.submit(one("/stays")))
        await asyncio.sleep(0)
        gone.cancel()
        recorder.open.set()
        assert (await stays).done == 1
    assert catalog.lfns().lfns == ["/gone", "/stays"]


async def test_a_listener_that_fails_does_not_undo_the_commit(catalog: Catalog) -> None:
    def fail(news: News) -> None:
        raise RuntimeError("no")

    async with Writer(catalog, fail) as writer:
        assert await writer.submit(one("/a")) == Written(1, [], 1)
        assert await writer.submit(one("/b")) == Written(1, [], 2)
