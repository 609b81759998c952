"""The attributes of a served catalog, through the client and by plain HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector
from grid import index_settings
from plain_http import ask

from lrc import server
from lrc.catalog import ROWS_SHORTLY_MAX, Catalog
from lrc.check import check
from lrc.settings import LrcSettings
from reploc import service
from reploc.attributes import AttributeItem, RemoveItem, SearchBody, SetItem, UndefineItem
from reploc.client import LrcClient
from reploc.errors import AttributeUnknown, LfnUnknown, PfnUnknown, TooLarge, ValueInvalid
from reploc.wire import DeleteItem, MappingItem, RenameItem


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A served catalog of two LFNs, which ends with the product's own check."""
    told = LrcSettings(site="SITE", store=str(tmp_path / "s"), listen="127.0.0.1:0", index=index_settings(1))
    async with server.compose(told) as daemon, service.listening(daemon, told) as base:
        async with LrcClient(base) as client:
            await client.put([MappingItem("/a", "p:a"), MappingItem("/b", "p:b"), MappingItem("/b", "p:shared")])
            kinds = [("size", "int"), ("owner", "text"), ("quality", "float"), ("made", "time")]
            items = [AttributeItem("lfn", name, kind) for name, kind in kinds]  # type: ignore[arg-type]
            assert (await client.attributes.define([*items, AttributeItem("pfn", "checked", "time")])).errors == []
        yield base
    with Catalog.open(tmp_path / "s", read_only=True) as catalog:
        assert check(catalog).findings == []


@pytest.fixture
async def client(url: str) -> AsyncIterator[LrcClient]:
    async with LrcClient(url) as client:
        yield client


async def test_values_of_every_type_come_back_as_they_were_set(client: LrcClient) -> None:
    values = {"size": (1 << 63) - 1, "owner": "it's ☃", "quality": 0.1, "made": "2006-01-02T15:04:05.000001Z"}
    written = await client.attributes.set("lfn", [SetItem("/a", name, value) for name, value in values.items()])
    assert (written.done, written.errors) == (4, [])
    assert (await client.attributes.of("lfn", "/a")).values == values
    assert (await client.attributes.values("lfn", ["/a", "/b", "/c"])).values == {"/a": values, "/b": {}}
    assert (await client.attributes.values("lfn", ["/c"], "size")).unknown == ["/c"]
    assert (await client.attributes.values("lfn", ["/a"], "size")).values == {"/a": {"size": (1 << 63) - 1}}


async def test_numbers_beyond_what_javascript_keeps_are_exact_in_json(url: str) -> None:
    body = {"what": "lfn", "values": [{"name": "/a", "attribute": "size", "value": (1 << 53) + 1}]}
    assert (await ask(url + "/v1/attributes/set", body=body))[0] == 200
    _, said = await ask(url + "/v1/attributes/values?what=lfn&name=%2Fa")
    assert said == {"name": "/a", "values": {"size": 9_007_199_254_740_993}}


async def test_each_item_has_an_outcome_of_its_own_and_an_atomic_request_is_all_or_nothing(client: LrcClient) -> None:
    items = [
        SetItem("/a", "size", 1),
        SetItem("/nowhere", "size", 1),
        SetItem("/a", "colour", 1),
        SetItem("/a", "owner", 1),
        SetItem("/a", "size", 1 << 63),
        SetItem("/a\n", "size", 1),
        SetItem("/a", "made", "2006-01-02T15:04:05"),
    ]
    expected = ["lfn-unknown", "attribute-unknown", "value-invalid", "value-invalid", "name-invalid", "value-invalid"]
    atomic = await client.attributes.set("lfn", items, atomic=True)
    assert (atomic.done, [error.code for error in atomic.errors]) == (0, expected)
    assert (await client.attributes.of("lfn", "/a")).values == {}
    each = await client.attributes.set("lfn", items)
    assert (each.done, [error.code for error in each.errors]) == (1, expected)
    assert (await client.attributes.of("lfn", "/a")).values == {"size": 1}
    with pytest.raises(TooLarge):
        await client.attributes.set("lfn", [SetItem("/a", "size", 1)] * 10_001, atomic=True)


async def test_values_are_added_once_and_modified_where_they_are(client: LrcClient) -> None:
    async def codes(mode: str, value: int) -> list[str]:
        written = await client.attributes.set("lfn", [SetItem("/a", "size", value)], mode)  # type: ignore[arg-type]
        return [error.code for error in written.errors]

    assert await codes("modify", 1) == ["value-unknown"]
    assert await codes("add", 2) == []
    assert await codes("add", 3) == ["value-exists"]
    assert await codes("modify", 4) == []
    assert (await client.attributes.of("lfn", "/a")).values == {"size": 4}


async def test_values_go_where_their_names_go(client: LrcClient) -> None:
    await client.attributes.set("lfn", [SetItem("/a", "size", 7)])
    await client.attributes.set("pfn", [SetItem("p:shared", "checked", "2006-01-02T15:04:05Z")])
    await client.rename("lfn", [RenameItem("/a", "/z")])
    await client.rename("pfn", [RenameItem("p:shared", "p:moved")])
    assert (await client.attributes.of("lfn", "/z")).values == {"size": 7}
    assert (await client.attributes.of("pfn", "p:moved")).values == {"checked": "2006-01-02T15:04:05Z"}
    with pytest.raises(LfnUnknown):
        await client.attributes.of("lfn", "/a")
    with pytest.raises(PfnUnknown):
        await client.attributes.of("pfn", "p:shared")
    await client.add([MappingItem("/z", "p:moved")])
    await client.delete([DeleteItem("/b")])
    assert (await client.attributes.of("pfn", "p:moved")).values, "it still stands under another LFN"
    await client.delete([DeleteItem("/z")])
    await client.put([MappingItem("/z", "p:moved")])
    assert (await client.attributes.of("lfn", "/z")).values == {}
    assert (await client.attributes.of("pfn", "p:moved")).values == {}
    assert [one.values for one in await client.attributes.definitions()] == [0] * 5


async def test_a_search_finds_by_comparison_page_after_page(client: LrcClient) -> None:
    lfns = [f"/n/{number:04}" for number in range(2_500)]
    await client.put([MappingItem(lfn, "p:n") for lfn in lfns])
    written = await client.attributes.set("lfn", [SetItem(lfn, "size", at - 1_000) for at, lfn in enumerate(lfns)])
    assert written.done == 2_500
    found = [one.value async for one in client.attributes.search("lfn", "size", ">=", -500)]
    assert found == list(range(-500, 1_500))
    assert [one.value async for one in client.attributes.search("lfn", "size", "between", -2, 1)] == [-2, -1, 0, 1]
    [definition] = await client.attributes.definitions("lfn", "size")
    assert (definition.values, definition.least, definition.greatest) == (2_500, -1_000, 1_499)
    with pytest.raises(ValueInvalid, match="like compares text"):
        await client.attributes.search_page(SearchBody("lfn", "size", "like", "1%"))
    with pytest.raises(ValueInvalid, match="takes value and upper"):
        await client.attributes.search_page(SearchBody("lfn", "size", "between", 1))
    with pytest.raises(ValueInvalid, match="expected a whole number"):
        await client.attributes.search_page(SearchBody("lfn", "size", "<", "1"))
    with pytest.raises(AttributeUnknown):
        await client.attributes.search_page(SearchBody("pfn", "size", "all"))


async def test_an_attribute_in_use_is_undefined_with_its_values_only_when_told_to(client: LrcClient) -> None:
    lfns = [f"/n/{number}" for number in range(2_100)]
    await client.put([MappingItem(lfn, "p:n") for lfn in lfns])
    await client.attributes.set("lfn", [SetItem(lfn, "owner", "me") for lfn in lfns])
    refused = await client.attributes.undefine([UndefineItem("lfn", "owner"), UndefineItem("lfn", "colour")])
    assert [error.code for error in refused.errors] == ["attribute-in-use", "attribute-unknown"]
    assert (await client.attributes.undefine([UndefineItem("lfn", "owner")], clear=True)).done == 1
    assert await client.attributes.definitions("lfn", "owner") == []
    assert (await client.attributes.of("lfn", "/n/7")).values == {}


async def test_values_are_removed_one_by_one_or_all_of_a_name(client: LrcClient) -> None:
    await client.attributes.set("lfn", [SetItem("/a", "size", 1), SetItem("/a", "owner", "x")])
    removed = await client.attributes.remove("lfn", [RemoveItem("/a", "made"), RemoveItem("/a", "size")])
    assert [(error.index, error.code) for error in removed.errors] == [(0, "value-unknown")]
    assert (await client.attributes.remove("lfn", [RemoveItem("/a")])).done == 1
    assert (await client.attributes.of("lfn", "/a")).values == {}


async def test_there_are_bounds_on_attributes_and_on_the_values_of_a_name(client: LrcClient) -> None:
    written = await client.attributes.define([AttributeItem("pfn", f"n{number}", "int") for number in range(1_000)])
    assert (written.done, {error.code for error in written.errors}) == (995, {"attributes-full"})
    values = await client.attributes.set("pfn", [SetItem("p:a", f"n{number}", number) for number in range(101)])
    assert (values.done, [error.code for error in values.errors]) == (100, ["attributes-full"])
    again = await client.attributes.define([AttributeItem("pfn", "n1", "int"), AttributeItem("pfn", "n2", "text")])
    assert [error.code for error in again.errors] == ["attribute-exists"] * 2
    absent = [AttributeItem("pfn", "n1", "int"), AttributeItem("pfn", "n2", "text")]
    assert [error.index for error in (await client.attributes.define(absent, if_absent=True)).errors] == [1]


@pytest.mark.parametrize("limit", [1, 7, 1_000])
async def test_a_search_answers_alike_at_once_and_in_a_thread(url: str, client: LrcClient, limit: int) -> None:
    """The first request of a connection goes the common way; one like it, behind it, may be answered at once."""
    names = [f"/name/{number:03d}" for number in range(ROWS_SHORTLY_MAX + 20)]
    await client.put([MappingItem(name, f"p:{name}") for name in names])
    await client.attributes.set("lfn", [SetItem(name, "size", number) for number, name in enumerate(names)])
    bodies = [
        {"what": "lfn", "attribute": "size", "op": "=", "value": 5, "limit": limit},
        {"what": "lfn", "attribute": "size", "op": "between", "value": 1, "upper": 9, "limit": limit},
        {"what": "lfn", "attribute": "size", "op": "all", "limit": limit},
        {"what": "lfn", "attribute": "size", "op": "=", "value": -1, "limit": limit},
        {"what": "lfn", "attribute": "none", "op": "=", "value": 5, "limit": limit},
        {
            "what": "lfn",
            "attribute": "size",
            "op": ">",
            "value": 3,
            "limit": limit,
            "after": {"name": "/name/004", "value": 4},
        },
    ]
    for body in bodies:
        async with ClientSession(connector=TCPConnector(limit=1)) as session:
            said = []
            for _ in range(3):
                async with session.post(url + "/v1/attributes/search", json=body) as response:
                    said.append((response.status, json.loads(await response.read())))
        expected = await ask(url + "/v1/attributes/search", body=body)
        assert expected[0] == (404 if body["attribute"] == "none" else 200)
        for status, found in said:
            assert (status, found.get("found"), found.get("code")) == (
                expected[0],
                expected[1].get("found"),
                expected[1].get("code"),
            )
            assert found.get("next") == expected[1].get("next")
