"""The client of a catalog: batches, outcomes under the caller's own numbers, paging, streams, retries and errors."""

import asyncio

import pytest
from service_doubles import CatalogDouble, draining, nonsense, serving, stall

from reploc.actions import Action
from reploc.client import LrcClient
from reploc.errors import AnswerInvalid, DeadlineExceeded, LfnUnknown, NameInvalid, NotConnected, TooLarge, Unavailable
from reploc.routes import Call, NoQuery, Reply, Stream, get
from reploc.wire import DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem


def mappings(count: int) -> list[MappingItem]:
    return [MappingItem(f"/lfn/{number}", f"file:///{number}") for number in range(count)]


async def test_a_long_put_goes_in_batches_and_errors_come_back_under_the_callers_numbers() -> None:
    catalog = CatalogDouble(refused={"/lfn/3", "/lfn/1000", "/lfn/2499"})
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        written = await client.put(mappings(2500))
    assert sorted(len(body.mappings) for body in catalog.written if isinstance(body, MappingsBody)) == [500, 1000, 1000]
    assert sorted(error.index for error in written.errors) == [3, 1000, 2499]
    assert written.done == 2497
    assert written.position == 3


async def test_nothing_to_write_asks_nobody() -> None:
    async with LrcClient("http://127.0.0.1:1") as client:
        assert (await client.put([])).done == 0


async def test_an_atomic_request_is_never_cut() -> None:
    catalog = CatalogDouble()
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        await client.create(mappings(2500), atomic=True)
        assert len(catalog.written) == 1
        with pytest.raises(TooLarge, match="10,001 items cannot be atomic"):
            await client.create(mappings(10_001), atomic=True)


async def test_renames_keep_their_order_over_batches() -> None:
    catalog = CatalogDouble()
    renames = [RenameItem(f"/{number}", f"/{number + 1}") for number in reversed(range(2500))]
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        await client.rename("lfn", renames)
    sent = [item for body in catalog.written if isinstance(body, RenameBody) for item in body.names]
    assert sent == renames


async def test_a_long_lookup_is_put_together_from_its_batches() -> None:
    catalog = CatalogDouble({f"/{number}": [f"file:///{number}"] for number in range(0, 2500, 2)})
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        found = await client.replicas([f"/{number}" for number in range(2500)])
    assert set(found.replicas) == set(catalog.mappings)
    assert len(found.unknown) == 1250


@pytest.mark.parametrize(
    "lfn", ["/a b", "/a+b", "/a%2Fb", "/a&b=c;d#e?f", "/naïve/名前/𐍈", "//x", "x" * 4096, "%", "é" * 2048]
)
async def test_any_name_survives_a_query_string(lfn: str) -> None:
    catalog = CatalogDouble({lfn: ["file:///x"]})
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        assert (await client.lookup(lfn)).lfn == lfn


async def test_an_unknown_lfn_is_the_error_that_the_catalog_raised() -> None:
    async with serving(CatalogDouble().routes()) as url, LrcClient(url) as client:
        with pytest.raises(LfnUnknown, match="'/a' is not here"):
            await client.lookup("/a")
        assert await client.find("/a") is None


async def test_a_listing_is_read_page_after_page() -> None:
    catalog = CatalogDouble({f"/{number}": [] for number in range(5)})
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        assert [lfn async for lfn in client.lfns(pattern="*")] == sorted(catalog.mappings)


async def test_a_dump_is_read_line_by_line() -> None:
    catalog = CatalogDouble({f"/{number}": [f"file:///{number}"] for number in range(100)})
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        assert {file.lfn: file.pfns async for file in client.dump()} == catalog.mappings


async def test_a_dump_that_stalls_ends_in_an_error() -> None:
    catalog = CatalogDouble({"/a": []}, trouble=stall)
    async with serving(catalog.routes()) as url, LrcClient(url, request_s=0.2) as client:
        with pytest.raises(DeadlineExceeded, match=r"nothing came for 0\.2 s"):
            _ = [file async for file in client.dump()]


async def test_a_dump_that_is_cut_short_is_never_taken_for_whole() -> None:
    async def cut_short(_: Call[NoQuery]) -> Stream:
        async def pieces():
            yield b'{"lfn":"/a","size":null,"checksum":null,"collection":null,"pfns":[]}\n'
            raise ZeroDivisionError

        return Stream(pieces())

    async with (
        serving([get("/v1/dump", cut_short, NoQuery, "", action=Action.PUBLIC)]) as url,
        LrcClient(url) as client,
    ):
        with pytest.raises(Unavailable, match="cut short"):
            _ = [file async for file in client.dump()]


async def test_a_name_that_is_none_is_refused_before_anything_is_sent() -> None:
    async with LrcClient("http://127.0.0.1:1") as client:
        with pytest.raises(NameInvalid, match=r"lfns\[1\] is empty"):
            await client.replicas(["/a", ""])
        with pytest.raises(NameInvalid, match="cannot be written as UTF-8"):
            await client.put([MappingItem("/a\udc80", "file:///a")])


async def test_a_service_that_is_not_there_is_named() -> None:
    async with LrcClient("http://127.0.0.1:1") as client:
        with pytest.raises(
            NotConnected, match=r"http://127\.0\.0\.1:1/v1/replicas: cannot connect: Connection refused"
        ):
            await client.lookup("/a")


async def test_a_stalled_service_is_left_at_the_deadline() -> None:
    async with serving(CatalogDouble(trouble=stall).routes()) as url, LrcClient(url, request_s=0.2) as client:
        with pytest.raises(DeadlineExceeded, match="no answer within"):
            await client.lookup("/a")


async def test_an_answer_of_something_else_is_said_to_be_one() -> None:
    async with serving(CatalogDouble(trouble=nonsense).routes()) as url, LrcClient(url) as client:
        with pytest.raises(AnswerInvalid, match="answered 'text/html'; expected"):
            await client.replicas(["/a"])


@pytest.mark.parametrize(
    ("body", "media"),
    [(b"{", "application/json"), (b"\xc1", "application/msgpack"), (b'{"lfn": 1}', "application/json")],
)
async def test_a_broken_answer_is_said_to_be_one(body: bytes, media: str) -> None:
    async def answer(_: Call[NoQuery]) -> Reply:
        return Reply(body, media)

    async with serving([get("/v1/status", answer, NoQuery, "", action=Action.PUBLIC)]) as url, LrcClient(url) as client:
        with pytest.raises(AnswerInvalid, match="not what was asked for"):
            await client.status()


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_a_status_without_a_problem_document_is_no_answer(status: int) -> None:
    async def answer(_: Call[NoQuery]) -> Reply:
        return Reply(b"", "text/plain", status, {"Location": "http://127.0.0.1:1/"})

    async with serving([get("/v1/status", answer, NoQuery, "", action=Action.PUBLIC)]) as url, LrcClient(url) as client:
        with pytest.raises(AnswerInvalid, match=f"answered {status} "):
            await client.status()


async def test_a_service_of_another_kind_is_recognised() -> None:
    async with serving([]) as url, LrcClient(url) as client:
        with pytest.raises(AnswerInvalid, match="'/v1/status' is no path of this service") as caught:
            await client.status()
    assert "another service" in caught.value.advice


async def test_something_that_is_not_http_is_no_answer() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, LrcClient(url) as client:
        with pytest.raises(AnswerInvalid, match="not HTTP"):
            await client.status()


class TroubleFor:
    """Trouble for the first few questions, and none afterwards."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def __call__(self) -> None:
        self.times -= 1
        if self.times >= 0:
            await draining()


async def test_a_service_that_asks_for_patience_is_asked_again() -> None:
    catalog = CatalogDouble(trouble=TroubleFor(2))
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        assert (await client.put(mappings(1))).done == 1
    assert len(catalog.written) == 3


async def test_attempts_are_bounded() -> None:
    catalog = CatalogDouble(trouble=TroubleFor(9))
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        with pytest.raises(Unavailable, match="being restarted"):
            await client.put(mappings(1))
    assert len(catalog.written) == 3


async def test_what_may_have_been_done_already_is_not_sent_twice() -> None:
    catalog = CatalogDouble(trouble=TroubleFor(1))
    async with serving(catalog.routes()) as url, LrcClient(url) as client:
        with pytest.raises(Unavailable):
            await client.create(mappings(1))
        catalog.trouble = TroubleFor(1)
        with pytest.raises(Unavailable):
            await client.delete([DeleteItem("/a")])
    assert len(catalog.written) == 2


async def test_a_client_that_was_closed_opens_no_connection_any_more() -> None:
    """Whoever asks so late, as a task that nobody waited for, would leave it open."""
    catalog = CatalogDouble()
    async with serving(catalog.routes()) as url:
        async with LrcClient(url) as client:
            await client.put(mappings(1))
        with pytest.raises(NotConnected, match="closed"):
            await client.put(mappings(1))
    assert len(catalog.written) == 1
