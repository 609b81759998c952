"""The LRC over HTTP: every route, every bound, and what a request that cannot be right leaves as it was."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from plain_http import MSGPACK, ask, broken_off, raw
from service_doubles import serving

from lrc import server
from lrc.catalog import Catalog
from lrc.check import check
from lrc.settings import LrcSettings
from reploc import config, service
from reploc.actions import Action
from reploc.client import LrcClient
from reploc.errors import ConfigInvalid, StoreLocked
from reploc.members import IndexSettings, Node
from reploc.routes import Call, post
from reploc.wire import BATCH_ITEMS_MAX, BODY_BYTES_MAX, SlotAnswer, SoftState, SoftStateAnswer

LONGEST = ["/" + "a" * 4095, "/" + "é" * 2047 + "a", "/" + "𝄞" * 1023 + "abc"]
ADLER = "adler32:0000002a"


def settings(path: Path, **changes: Any) -> LrcSettings:
    alone = IndexSettings(nodes=[], redundancy=1)
    told = {"site": "SITE", "store": str(path / "store"), "listen": "127.0.0.1:0", "index": alone}
    return LrcSettings(**told | changes)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A served catalog, which ends with the product's own check."""
    told = settings(tmp_path)
    async with server.compose(told) as daemon, service.listening(daemon, told) as base:
        yield base
    with Catalog.open(tmp_path / "store", read_only=True) as catalog:
        assert check(catalog).findings == []


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"lfn": f"/lfn/{number:04}", "pfn": f"file:///{number:04}", **more}


async def write(url: str, mappings: list[Any], mode: str = "put", **more: Any) -> dict[str, Any]:
    status, said = await ask(url + "/v1/mappings", body={"mode": mode, "mappings": mappings, **more})
    assert status == 200, said
    return dict(said)


async def contents(url: str) -> tuple[int, Any]:
    """The position and the whole dump."""
    return (await ask(url + "/v1/status"))[1]["position"], (await ask(url + "/v1/dump"))[1]


def codes(written: dict[str, Any]) -> list[tuple[int, str]]:
    return [(error["index"], error["code"]) for error in written["errors"]]


# ---- every route -----------------------------------------------------------------------------------------------------


async def test_the_routes_are_those_of_the_design(tmp_path: Path) -> None:
    async with server.compose(settings(tmp_path)) as daemon:
        routes = sorted((route.method, route.path) for route in daemon.routes)
        read = ("changes", "collection", "collection/files", "collections", "dump", "lfns", "replicas", "softstate")
        assert [one for one in routes if not one[1].startswith(("/v1/attributes", "/v1/rls"))] == [
            *(("GET", f"/v1/{name}") for name in (*read, "status")),
            ("POST", "/v1/exists"),
            ("POST", "/v1/mappings"),
            ("POST", "/v1/mappings/delete"),
            ("POST", "/v1/mappings/rename"),
            ("POST", "/v1/replicas"),
            ("POST", "/v1/softstate/push"),
        ]


async def test_a_mapping_lives_from_create_to_delete(url: str) -> None:
    known = {"size": 42, "checksum": ADLER, "collection": "/d#1"}
    assert await write(url, [item(1, **known)], "create") == {"done": 1, "errors": [], "position": 1}
    assert (await write(url, [{"lfn": "/lfn/0001", "pfn": "file:///b"}], "add"))["position"] == 2
    both = ["file:///0001", "file:///b"]
    assert await ask(url + "/v1/replicas?lfn=/lfn/0001") == (200, {"lfn": "/lfn/0001", **known, "pfns": both})
    found = {"replicas": {"/lfn/0001": {**known, "pfns": both}}, "unknown": ["/x"]}
    assert await ask(url + "/v1/replicas", body={"lfns": ["/lfn/0001", "/x"]}) == (200, found)
    parted = {"known": ["/lfn/0001"], "unknown": ["/x"]}
    assert await ask(url + "/v1/exists", body={"lfns": ["/x", "/lfn/0001"]}) == (200, parted)
    delete = {"mappings": [{"lfn": "/lfn/0001", "pfn": "file:///b"}]}
    assert (await ask(url + "/v1/mappings/delete", body=delete))[1]["done"] == 1
    assert (await ask(url + "/v1/replicas?lfn=/lfn/0001"))[1]["pfns"] == ["file:///0001"]
    delete = {"mappings": [{"lfn": "/lfn/0001"}]}
    assert (await ask(url + "/v1/mappings/delete", body=delete))[1] == {"done": 1, "errors": [], "position": 4}
    status, problem = await ask(url + "/v1/replicas?lfn=/lfn/0001")
    assert (status, problem["code"]) == (404, "lfn-unknown")
    assert await ask(url + "/v1/lfns?pfn=file:///0001") == (200, {"lfns": [], "next": None})


async def test_lfns_and_pfns_are_renamed(url: str) -> None:
    await write(url, [item(1), {"lfn": "/other", "pfn": "file:///0001"}])
    body = {"what": "lfn", "names": [{"old": "/lfn/0001", "new": "/new"}, {"old": "/gone", "new": "/x"}]}
    status, said = await ask(url + "/v1/mappings/rename", body=body)
    assert (status, said["done"], codes(said)) == (200, 1, [(1, "lfn-unknown")])
    body = {"what": "pfn", "names": [{"old": "file:///0001", "new": "https://a/1"}]}
    assert (await ask(url + "/v1/mappings/rename", body=body))[1]["done"] == 1
    assert (await ask(url + "/v1/lfns?pfn=https://a/1"))[1]["lfns"] == ["/new", "/other"]
    assert (await ask(url + "/v1/replicas?lfn=/new"))[1]["pfns"] == ["https://a/1"]


async def test_collections_have_totals_and_files(url: str) -> None:
    await write(url, [item(number, size=10, collection="/d#1") for number in range(3)])
    await write(url, [item(3, collection="/d#1"), item(4, size=1, collection="/e")])
    totals = {"name": "/d#1", "files": 4, "bytes": 30, "files_of_unknown_size": 1}
    assert await ask(url + "/v1/collection?name=/d%231") == (200, totals)
    status, files = await ask(url + "/v1/collection/files?name=/d%231")
    assert (status, [file["lfn"] for file in files]) == (200, [f"/lfn/000{number}" for number in range(4)])
    assert (await ask(url + "/v1/collections?pattern=/d*"))[1] == {"collections": [totals], "next": None}
    for path in ("/v1/collection?name=/none", "/v1/collection/files?name=/none"):
        status, problem = await ask(url + path)
        assert (status, problem["code"]) == (404, "collection-unknown")


async def test_files_come_as_a_stream_or_page_by_page_from_wherever_one_was(url: str) -> None:
    await write(url, [item(number, collection="/c") for number in range(25)])
    for path in ("dump?", "collection/files?name=/c&"):
        _, streamed = await ask(f"{url}/v1/{path.rstrip('?&')}")
        assert len(streamed) == 25
        assert (await ask(f"{url}/v1/{path}after=/lfn/0019"))[1] == streamed[20:]
        paged: list[Any] = []
        after = ""
        while True:
            _, page = await ask(f"{url}/v1/{path}limit=10{after}")
            assert len(page["files"]) <= 10
            paged += page["files"]
            if page["next"] is None:
                break
            after = f"&after={quote(page['next'])}"
        assert paged == streamed
        packed = await ask(f"{url}/v1/{path}limit=10000", accept=MSGPACK)
        assert packed == (200, {"files": streamed, "next": None})
        for wrong in ("limit=0", "limit=10001", "limit=x", "limit=null"):
            assert (await ask(f"{url}/v1/{path}{wrong}"))[1]["code"] == "query-invalid"
        assert (await ask(f"{url}/v1/{path}limit=1&after="))[1]["code"] == "name-invalid"
    async with LrcClient(url) as client:
        first = await client.dump_page(limit=20)
        assert [file.lfn for file in (await client.dump_page(limit=20, after=first.next)).files] == [
            f"/lfn/{number:04}" for number in range(20, 25)
        ]
        assert (await client.collection_files_page("/c", limit=20)) == first


async def test_listings_come_page_by_page(url: str) -> None:
    lfns = [f"/lfn/{number:04}" for number in range(25)]
    await write(url, [{"lfn": lfn, "pfn": "file:///same", "collection": f"/c{lfn}"} for lfn in lfns])
    await write(url, [{"lfn": "/zzz", "pfn": "file:///other"}])
    for query, key in (
        ("lfns?pattern=/lfn/*", "lfns"),
        ("lfns?pfn=file:///same", "lfns"),
        ("collections?pattern=*", ""),
    ):
        found, after = [], ""
        while True:
            status, page = await ask(f"{url}/v1/{query}&limit=10{after}")
            assert status == 200, page
            names = page[key] if key else [each["name"].removeprefix("/c") for each in page["collections"]]
            assert len(names) <= 10
            found += names
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert found == lfns, query


async def test_a_dump_and_a_collection_are_streamed_whole(url: str) -> None:
    """More than two pages of 1,000."""
    mappings = [item(number, size=number, collection="/all") for number in range(2500)]
    await write(url, mappings)
    _, dumped = await ask(url + "/v1/dump")
    _, files = await ask(url + "/v1/collection/files?name=/all")
    assert dumped == files
    assert [(file["lfn"], file["pfns"], file["size"]) for file in dumped] == [
        (each["lfn"], [each["pfn"]], each["size"]) for each in mappings
    ]


async def test_status_counts_what_is_held(url: str) -> None:
    await write(url, [item(1, collection="/c"), item(2), {"lfn": "/lfn/0002", "pfn": "file:///b"}])
    _, said = await ask(url + "/v1/status")
    assert {key: said[key] for key in ("kind", "site", "url", "lfns", "mappings", "collections", "position")} == {
        "kind": "lrc", "site": "SITE", "url": url, "lfns": 2, "mappings": 3, "collections": 1, "position": 1,
    }  # fmt: skip
    assert (await ask(url + "/v1/softstate"))[1]["nodes"] == []
    assert (await ask(url + "/v1/softstate/push", body={}))[0] == 200


async def test_messagepack_says_the_same_as_json(url: str) -> None:
    body = {"mode": "put", "mappings": [item(1, size=1 << 62), item(2, checksum="md5:1")]}
    status, said = await ask(url + "/v1/mappings", body=body, media=MSGPACK, accept=MSGPACK)
    assert (status, said["done"], codes(said)) == (200, 1, [(1, "name-invalid")])
    both = [
        await ask(url + "/v1/replicas", body={"lfns": ["/lfn/0001", "/lfn/0002"]}, media=media, accept=accept)
        for media in (MSGPACK, "application/json; charset=utf-8")
        for accept in (MSGPACK, "application/json")
    ]
    assert both == [both[0]] * 4
    assert both[0][1]["replicas"]["/lfn/0001"]["size"] == 1 << 62


# ---- outcomes --------------------------------------------------------------------------------------------------------


async def test_each_item_has_its_own_outcome(url: str) -> None:
    await write(url, [item(1, size=5), item(2)])
    mappings = [item(1), item(3), item(2), item(3), item(4, checksum="nonsense"), {"lfn": "", "pfn": "x"}]
    created = await write(url, mappings, "create")
    expected = [(0, "lfn-exists"), (2, "lfn-exists"), (3, "lfn-exists"), (4, "name-invalid"), (5, "name-invalid")]
    assert (created["done"], codes(created), created["position"]) == (1, expected, 2)
    added = await write(url, [item(1, size=6), item(9), {"lfn": "/lfn/0001", "pfn": "file:///b"}], "add")
    assert (added["done"], codes(added)) == (1, [(0, "attributes-differ"), (1, "lfn-unknown")])
    assert "size is '5', not '6'" in added["errors"][0]["message"]
    assert (await write(url, [item(1, size=6)], update=True))["errors"] == []
    delete = {"mappings": [{"lfn": "/lfn/0001", "pfn": "x"}, {"lfn": "/none"}, {"lfn": "/lfn/0002"}]}
    _, deleted = await ask(url + "/v1/mappings/delete", body=delete)
    assert (deleted["done"], codes(deleted)) == (1, [(0, "mapping-unknown"), (1, "lfn-unknown")])


async def test_an_atomic_request_is_all_or_nothing(url: str) -> None:
    await write(url, [item(1)])
    before = await contents(url)
    written = await write(url, [item(2), item(1), item(3), item(1)], "create", atomic=True)
    assert (written["done"], codes(written)) == (0, [(1, "lfn-exists"), (3, "lfn-exists")])
    delete = {"mappings": [{"lfn": "/lfn/0001"}, {"lfn": "/none"}], "atomic": True}
    assert (await ask(url + "/v1/mappings/delete", body=delete))[1]["done"] == 0
    names = [{"old": "/lfn/0001", "new": "/b"}, {"old": "/none", "new": "/c"}]
    rename = {"what": "lfn", "names": names, "atomic": True}
    assert (await ask(url + "/v1/mappings/rename", body=rename))[1]["done"] == 0
    assert await contents(url) == before
    assert (await write(url, [item(2), item(3)], "create", atomic=True))["done"] == 2


async def test_a_put_of_a_known_mapping_is_success_and_no_news(url: str) -> None:
    await write(url, [item(1)])
    assert await write(url, [item(1)]) == {"done": 1, "errors": [], "position": 1}


async def test_a_write_is_seen_by_whoever_reads_after_its_acknowledgement(url: str) -> None:
    """Eight writers at once, whose writes share commits."""

    async def writer(number: int) -> None:
        for step in range(20):
            mapping = item(100 * number + step)
            assert (await write(url, [mapping], "create"))["done"] == 1
            assert (await ask(f"{url}/v1/replicas?lfn={mapping['lfn']}"))[1]["pfns"] == [mapping["pfn"]]
            if step % 3 == 0:
                await ask(url + "/v1/mappings/delete", body={"mappings": [{"lfn": mapping["lfn"]}]})
                assert (await ask(url + "/v1/exists", body={"lfns": [mapping["lfn"]]}))[1]["known"] == []

    await asyncio.gather(*(writer(number) for number in range(8)))
    assert len((await ask(url + "/v1/dump"))[1]) == 8 * 13


# ---- names at their limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LONGEST, ids=["one byte", "two bytes", "four bytes"])
async def test_the_longest_names_pass_through_every_door(url: str, name: str) -> None:
    assert len(name.encode()) == 4096
    await write(url, [{"lfn": name, "pfn": name, "collection": name}, {"lfn": name[:-1], "pfn": name}])
    quoted = quote(name, safe="")
    assert (await ask(f"{url}/v1/replicas?lfn={quoted}"))[1]["pfns"] == [name]
    assert sorted((await ask(f"{url}/v1/lfns?pfn={quoted}"))[1]["lfns"]) == sorted([name[:-1], name])
    assert (await ask(f"{url}/v1/lfns?pattern={quoted}"))[1]["lfns"] == [name]
    assert (await ask(f"{url}/v1/collection?name={quoted}"))[1]["files"] == 1
    assert [file["lfn"] for file in (await ask(f"{url}/v1/collection/files?name={quoted}"))[1]] == [name]
    assert (await ask(url + "/v1/exists", body={"lfns": [name, name[:-2]]}))[1]["known"] == [name]
    page = (await ask(f"{url}/v1/lfns?pattern=*&limit=1"))[1]
    rest = (await ask(f"{url}/v1/lfns?pattern=*&after={quote(page['next'], safe='')}"))[1]
    assert sorted(page["lfns"] + rest["lfns"]) == sorted([name[:-1], name])
    rename = {"what": "lfn", "names": [{"old": name, "new": name[:-1] + "~"}]}
    assert (await ask(url + "/v1/mappings/rename", body=rename))[1]["done"] == 1
    delete = {"mappings": [{"lfn": name[:-1] + "~"}, {"lfn": name[:-1], "pfn": name}]}
    assert (await ask(url + "/v1/mappings/delete", body=delete))[1]["done"] == 2
    assert (await ask(url + "/v1/dump"))[1] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("a" * 4097, "4,097 bytes long"),
        ("é" * 2049, "4,098 bytes long"),
        ("a\nb", "control character (U+000A) at character 1"),
        ("\x7f", "control character"),
        ("a\x85", "control character"),
    ],
    ids=["empty", "too long", "too long in two bytes", "newline", "delete", "next line"],
)
async def test_what_is_no_name_is_refused_at_every_door(url: str, name: str, said: str) -> None:
    await write(url, [item(1)])
    before = await contents(url)
    for path in ("replicas?lfn=", "lfns?pfn=", "lfns?pattern=", "collection?name=", "collection/files?name=",
                 "lfns?pattern=*&after=", "collections?after="):  # fmt: skip
        status, problem = await ask(f"{url}/v1/{path}{quote(name, safe='')}")
        assert (status, problem["code"]) == (400, "name-invalid"), path
        assert said in problem["detail"]
    for path in ("replicas", "exists"):
        status, problem = await ask(f"{url}/v1/{path}", body={"lfns": ["/a", name]})
        assert (status, problem["code"]) == (400, "name-invalid")
        assert problem["detail"].startswith("lfns[1] ")
    mappings = [{"lfn": name, "pfn": "x"}, {"lfn": "/b", "pfn": name}, item(1, collection=name)]
    written = await write(url, mappings)
    assert codes(written) == [(0, "name-invalid"), (1, "name-invalid"), (2, "name-invalid")]
    assert all(said in error["message"] for error in written["errors"])
    _, deleted = await ask(url + "/v1/mappings/delete", body={"mappings": [{"lfn": name}]})
    rename = {"what": "lfn", "names": [{"old": "/lfn/0001", "new": name}, {"old": name, "new": "/b"}]}
    _, renamed = await ask(url + "/v1/mappings/rename", body=rename)
    assert codes(deleted) + codes(renamed) == [(0, "name-invalid"), (0, "name-invalid"), (1, "name-invalid")]
    assert await contents(url) == before


# ---- what cannot be right --------------------------------------------------------------------------------------------

ONE = b'{"mode": "put", "mappings": [{"lfn": "/a", "pfn": "b"}]'
BROKEN = [
    ("mappings", b"", 400, "body-invalid", "truncated"),
    ("mappings", ONE, 400, "body-invalid", "truncated"),
    ("mappings", ONE + b', "x": 1}', 400, "body-invalid", "unknown field `x`"),
    ("mappings", ONE.replace(b'"put"', b'"set"') + b"}", 400, "body-invalid", "$.mode"),
    ("mappings", ONE.replace(b'"b"', b'"b", "size": -1') + b"}", 400, "body-invalid", "$.mappings[0].size"),
    ("mappings", ONE.replace(b'"b"', b'"b", "size": 1.5') + b"}", 400, "body-invalid", "$.mappings[0].size"),
    ("mappings", ONE.replace(b'"b"', b'"b", "size": 9223372036854775808') + b"}", 400, "body-invalid", "size"),
    ("mappings", ONE.replace(b'"b"', b"7") + b"}", 400, "body-invalid", "Expected `str`, got `int`"),
    ("mappings", ONE.replace(b'"b"', b'"b", "sise": 1') + b"}", 400, "body-invalid", "unknown field `sise`"),
    ("mappings", ONE.replace(b', "pfn": "b"', b"") + b"}", 400, "body-invalid", "missing required field `pfn`"),
    ("mappings", ONE.replace(b"/a", b"/\xff") + b"}", 400, "body-invalid", "utf-8"),
    ("mappings", ONE.replace(b"/a", b"/\\ud800") + b"}", 400, "body-invalid", "surrogate"),
    ("mappings", ONE + b', "atomic": "yes"}', 400, "body-invalid", "$.atomic"),
    ("mappings", b"[" * 100_000, 400, "body-invalid", ""),
    ("mappings/delete", b'{"mappings": [{"pfn": "x"}]}', 400, "body-invalid", "missing required field `lfn`"),
    ("mappings/delete", b'{"mappings": {"lfn": "x"}}', 400, "body-invalid", "Expected `array`"),
    ("mappings/rename", b'{"what": "site", "names": []}', 400, "body-invalid", "$.what"),
    ("replicas", b'{"lfns": "/a"}', 400, "body-invalid", "Expected `array`, got `str`"),
    ("replicas", b'{"lfns": [null]}', 400, "body-invalid", "Expected `str`, got `null`"),
    ("exists", b"null", 400, "body-invalid", "Expected `object`"),
    ("softstate/push", b'{"now": true}', 400, "body-invalid", "unknown field `now`"),
    ("exists?lfn=/a", b'{"lfns": []}', 400, "query-invalid", "no query string"),
    ("nothing", b"{}", 404, "route-unknown", "/v1/nothing"),
    ("dump", b"{}", 405, "method-unknown", "takes GET or HEAD, not POST"),
]


@pytest.mark.parametrize(("path", "data", "status", "code", "said"), BROKEN)
async def test_a_request_that_cannot_be_right_is_one_clear_problem_and_changes_nothing(
    url: str, path: str, data: bytes, status: int, code: str, said: str
) -> None:
    await write(url, [item(1, size=1)])
    before = await contents(url)
    found, problem = await ask(f"{url}/v1/{path}", data=data)
    assert (found, problem["code"], problem["status"]) == (status, code, status)
    assert said in problem["detail"]
    assert await contents(url) == before


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("replicas", "query-invalid", "missing required field `lfn`"),
        ("replicas?lfn=%ff", "query-invalid", "not UTF-8"),
        ("replicas?lfn=%ed%a0%80", "query-invalid", "not UTF-8"),
        ("replicas?lfn=/a&lfn=/b", "query-invalid", "stands twice"),
        ("replicas?lfn=/a&size=1", "query-invalid", "unknown field `size`"),
        ("replicas?lfn", "query-invalid", "has no value"),
        ("lfns", "query-invalid", "either pfn or pattern"),
        ("lfns?pfn=a&pattern=b", "query-invalid", "either pfn or pattern"),
        ("lfns?pattern=*&limit=0", "query-invalid", "$.limit"),
        ("lfns?pattern=*&limit=10001", "query-invalid", "$.limit"),
        ("lfns?pattern=*&limit=ten", "query-invalid", "$.limit"),
        ("collections?pattern=", "query-invalid", "$.pattern"),
        ("status?verbose=1", "query-invalid", "unknown field `verbose`"),
        ("dump?" + "&".join(f"a{number}=1" for number in range(17)), "query-invalid", "at most 16"),
    ],
)
async def test_a_query_that_cannot_be_right_is_one_clear_problem(url: str, path: str, code: str, said: str) -> None:
    status, problem = await ask(f"{url}/v1/{path}")
    assert (status, problem["code"]) == (400, code)
    assert said in problem["detail"]


async def test_a_batch_over_the_limit_is_refused_whole(url: str) -> None:
    before = await contents(url)
    many = [item(number) for number in range(BATCH_ITEMS_MAX + 1)]
    lfns = [mapping["lfn"] for mapping in many]
    for path, body in (
        ("mappings", {"mode": "put", "mappings": many}),
        ("mappings/delete", {"mappings": [{"lfn": lfn} for lfn in lfns]}),
        ("mappings/rename", {"what": "lfn", "names": [{"old": lfn, "new": "/x"} for lfn in lfns]}),
        ("replicas", {"lfns": lfns}),
        ("exists", {"lfns": lfns}),
    ):
        status, problem = await ask(f"{url}/v1/{path}", body=body)
        assert (status, problem["code"]) == (400, "body-invalid"), path
        assert f"length <= {BATCH_ITEMS_MAX}" in problem["detail"]
    assert await contents(url) == before


async def test_a_body_over_the_limit_is_refused_before_it_has_come(url: str) -> None:
    before = await contents(url)
    head = f"POST /v1/mappings HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n"
    assert (await raw(url, head.encode())).startswith(b"HTTP/1.1 413 ")
    assert await contents(url) == before


async def test_a_body_cut_short_changes_nothing(url: str) -> None:
    before = await contents(url)
    body = ONE + b"}"
    head = b"POST /v1/mappings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    await broken_off(url, head % (len(body) + 1) + body)
    await broken_off(url, head % len(body) + body[:20])
    assert await contents(url) == before


async def test_messagepack_that_cannot_be_right_changes_nothing(url: str) -> None:
    before = await contents(url)
    for data in (b"", b"\xc1", b"\x81\xa4lfns\x91\xa2/\xff", b"\x81\xa4lfns\xdd\xff\xff\xff\xff", b"\x93"):
        for path in ("mappings", "exists"):
            status, problem = await ask(f"{url}/v1/{path}", data=data, media=MSGPACK)
            assert (status, problem["code"]) == (400, "body-invalid"), data
    assert await contents(url) == before


# ---- the daemon ------------------------------------------------------------------------------------------------------


async def test_the_store_belongs_to_one_daemon_and_one_site(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="site: is empty"):
        async with server.compose(settings(tmp_path, site="")):
            pass
    async with server.compose(settings(tmp_path)):
        with pytest.raises(StoreLocked, match="has it open for writing"):
            async with server.compose(settings(tmp_path)):
                pass
    with pytest.raises(ConfigInvalid, match=r"site: is 'OTHER', but the store in .* is that of 'SITE'"):
        async with server.compose(settings(tmp_path, site="OTHER")):
            pass
    async with server.compose(settings(tmp_path, site="")) as daemon:
        assert daemon.name == "lrc SITE"


def test_an_address_that_stands_for_all_is_announced_to_nobody(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"url is empty, but listen is '0\.0\.0\.0:80'"):
        config.parse(LrcSettings, {"listen": "0.0.0.0:80"}, "file")
    assert config.parse(LrcSettings, {"listen": "0.0.0.0:80", "url": "http://a:80"}, "file")


@pytest.mark.parametrize(
    "answer",
    [
        SoftStateAnswer(epoch=1, current=False, applied=0, held=[(0, -1)]),
        SoftStateAnswer(epoch=1 << 63, current=False, applied=0, outdated=True),
        SoftStateAnswer(epoch=-1, current=False, applied=0, slots=[SlotAnswer(1 << 63, "ok")]),
    ],
)
async def test_a_node_that_talks_nonsense_is_named_and_asked_again(tmp_path: Path, answer: SoftStateAnswer) -> None:
    heard = asyncio.Queue[SoftState]()

    async def soft_state(call: Call[SoftState]) -> SoftStateAnswer:
        heard.put_nowait(call.what)
        return answer

    async with serving([post("/v1/softstate", soft_state, SoftState, "", action=Action.PUBLIC)]) as node:
        index = IndexSettings(slots=4, redundancy=1, renewal_interval_s=0.1, nodes=[Node(name="n", url=node)])
        told = settings(tmp_path, index=index)
        async with server.compose(told) as daemon, service.listening(daemon, told) as url:
            messages = [await asyncio.wait_for(heard.get(), 20) for _ in range(3)]
            assert [message.epoch for message in messages] == [1, 1, 1]
            (progress,) = (await ask(url + "/v1/softstate"))[1]["nodes"]
            assert progress["state"] == "refused"
            assert "not what was asked for" in progress["error"]


async def test_a_daemon_that_is_stopped_in_the_middle_of_long_reads_ends_well(tmp_path: Path) -> None:
    """A thread that reads while its store closes would take the process with it."""
    index = IndexSettings(slots=256, redundancy=1, nodes=[Node(name="n", url="http://127.0.0.1:9")])
    told = settings(tmp_path, index=index)
    async with server.compose(told) as daemon, service.listening(daemon, told) as url:
        await write(url, [item(number) for number in range(5000)])
    for _ in range(5):
        async with server.compose(told) as daemon, service.listening(daemon, told) as url:
            reader = asyncio.create_task(ask(url + "/v1/dump"))
            await asyncio.sleep(0.02)
            reader.cancel()
