"""Index nodes over HTTP: what they answer, forward and resolve, and what they refuse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from grid import grid, index_settings, node, until
from plain_http import MSGPACK, ask, broken_off
from sender_double import SenderDouble
from service_doubles import CatalogDouble, NodeDouble, serving, stall

from reploc import digest
from reploc.client.node import HOP_HEADER, RliNodeClient
from reploc.members import IndexSettings
from reploc.wire import BATCH_ITEMS_MAX, SoftState
from rli import server
from rli.settings import RliSettings

LFNS = [f"/lfn/{number}" for number in range(40)]


@pytest.fixture
async def index() -> IndexSettings:
    """One node, which forgets no sender while a test lasts."""
    return index_settings(1, slots=4, error_rate=0.1, expiry_s=3600.0)


@pytest.fixture
async def url(index: IndexSettings) -> AsyncIterator[str]:
    served = node("n0", index)
    await served.start()
    yield served.url
    await served.stop()


def slots_of(lfns: list[str], index: IndexSettings) -> list[int]:
    return digest.slots_of(digest.of(lfns), index.slots).tolist()


async def tell(url: str, message: SoftState, /, **changes: Any) -> tuple[int, Any]:
    """Sends a message, with fields that its type would not take."""
    body = msgspec.msgpack.decode(msgspec.msgpack.encode(message)) | changes
    return await ask(url + "/v1/softstate", body=body, media=MSGPACK)


# ---- every route -----------------------------------------------------------------------------------------------------


async def test_the_routes_are_those_of_the_design(index: IndexSettings) -> None:
    async with server.compose(RliSettings(node="n0", index=index)) as daemon:
        assert sorted((route.method, route.path) for route in daemon.routes) == [
            ("GET", "/v1/collection"),
            ("GET", "/v1/collections/arrow"),
            ("GET", "/v1/collections/sites"),
            ("GET", "/v1/lfns"),
            ("GET", "/v1/locations"),
            ("GET", "/v1/members"),
            ("GET", "/v1/redirect"),
            ("GET", "/v1/replicas"),
            ("GET", "/v1/status"),
            ("POST", "/v1/exists"),
            ("POST", "/v1/locations"),
            ("POST", "/v1/replicas"),
            ("POST", "/v1/softstate"),
        ]


async def test_locations_are_the_same_one_by_one_and_in_bulk_as_json_and_as_messagepack(
    url: str, index: IndexSettings
) -> None:
    for number in range(5):
        names = LFNS[number::3]
        sender = SenderDouble(index, f"S{number}", f"http://s{number}:1", f"sender-{number}", names=names)
        assert (await tell(url, sender.news()))[0] == 200
    status, together = await ask(url + "/v1/locations", body={"lfns": LFNS})
    packed = await ask(url + "/v1/locations", body={"lfns": LFNS}, media=MSGPACK, accept=MSGPACK)
    assert (status, packed[1]["locations"]) == (200, together["locations"])
    for lfn in LFNS:
        alone = (await ask(f"{url}/v1/locations?lfn={lfn}"))[1]
        assert [site["site"] for site in alone["sites"]] == together["locations"][lfn]
        assert all(site["lrc"] == together["sites"][site["site"]]["lrc"] for site in alone["sites"])
    assert (await ask(url + "/v1/locations", body={"lfns": []}))[1]["locations"] == {}
    assert (await ask(url + "/v1/replicas", body={"lfns": []}))[1]["replicas"] == {}


async def test_members_and_status_say_who_belongs_to_the_index(url: str, index: IndexSettings) -> None:
    await tell(url, SenderDouble(index, names=LFNS).news())
    _, members = await ask(url + "/v1/members")
    assert (members["node"], members["slots"], members["ring"]) == ("n0", 4, index.ring.version)
    assert [(member["kind"], member["name"]) for member in members["members"]] == [("rli", "n0"), ("lrc", "A")]
    _, status = await ask(url + "/v1/status")
    assert (status["kind"], status["node"], status["slots_owned"], status["url"]) == ("rli", "n0", 4, url)
    assert status["sites_live"] == 1


async def test_a_node_is_ready_when_nothing_more_is_to_come_and_does_not_wait_for_silent_sites() -> None:
    served = node("n0", index_settings(1, slots=4, renewal_interval_s=0.3, expiry_s=0.9))
    await served.start()
    try:
        status, said = await ask(served.url + "/readyz")
        assert (status, said["reason"]) == (503, "not all senders are known yet")
        await until(lambda: ask(served.url + "/readyz"), lambda said: said[0] == 200, "it knows all senders")
        sender = SenderDouble(index_settings(1, slots=4), names=LFNS)
        await tell(served.url, sender.news([sender.summary(0)]))
        status, said = await ask(served.url + "/readyz")
        assert (status, said["reason"]) == (503, "the news of 1 sites is awaited, first A")
        await until(lambda: ask(served.url + "/readyz"), lambda said: said[0] == 200, "A is silent")
        _, said = await ask(served.url + "/v1/locations", body={"lfns": LFNS})
        assert (said["missing"], said["incomplete"]) == (["A"], LFNS)
    finally:
        await served.stop()


# ---- soft state that cannot be right ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "code", "said"),
    [
        ({"version": 99}, 409, "index-mismatch", "version 99"),
        ({"slots": 8}, 409, "index-mismatch", "8 slots"),
        ({"error_rate": 0.2}, 409, "index-mismatch", "error rate 0.2"),
        ({"error_rate": float("nan")}, 409, "index-mismatch", "error rate nan"),
        ({"sender": "another"}, 409, "site-claimed", "another sender"),
        ({"url": "http://b:1"}, 409, "site-claimed", "http://b:1"),
        ({"site": "a/b"}, 400, "name-invalid", "is not a site name"),
        ({"url": "nowhere"}, 400, "name-invalid", "is not http"),
        ({"epoch": 0}, 400, "body-invalid", "$.epoch"),
        ({"epoch": 1 << 63}, 400, "body-invalid", "$.epoch"),
        ({"epoch": "1"}, 400, "body-invalid", "Expected `int`, got `str`"),
        ({"message": 0}, 400, "body-invalid", "$.message"),
        ({"position": -1}, 400, "body-invalid", "$.position"),
        ({"news_age_s": float("inf")}, 400, "body-invalid", "$.news_age_s"),
        ({"news_age_s": -1.0}, 400, "body-invalid", "$.news_age_s"),
        ({"sender": ""}, 400, "body-invalid", "$.sender"),
        ({"colour": "red"}, 400, "body-invalid", "unknown field `colour`"),
        ({"summaries": [[0, "bytes", 0, 1, 0, b""]]}, 400, "body-invalid", "'bytes'"),
        ({"summaries": [[0, "bloom", 0, 1, 0]]}, 400, "body-invalid", "length"),
        ({"summaries": [[0, "bloom", 0, 1, 0, b"", 1]]}, 400, "body-invalid", "length"),
        ({"summaries": [[4, "bloom", 0, 1, 0, b""]]}, 400, "summary-invalid", "slot 4 is unknown"),
        ({"summaries": [[65536, "bloom", 0, 1, 0, b""]]}, 400, "body-invalid", "[0][0]"),
        ({"summaries": [[0, "bloom", 0, 0, 0, b""]]}, 400, "body-invalid", "[0][3]"),
    ],
)
async def test_soft_state_that_cannot_be_right_is_one_clear_problem_and_changes_nothing(
    url: str, index: IndexSettings, changes: dict[str, Any], status: int, code: str, said: str
) -> None:
    sender = SenderDouble(index, names=LFNS)
    await tell(url, sender.news())
    before = await ask(url + "/v1/locations", body={"lfns": LFNS})
    sender.names = []
    sender.changed()
    found, problem = await tell(url, sender.news(), **changes)
    assert (found, problem["code"]) == (status, code)
    assert said in problem["detail"]
    after = await ask(url + "/v1/locations", body={"lfns": LFNS})
    assert after[1]["locations"] == before[1]["locations"]
    assert (await tell(url, sender.news()))[1]["current"]


async def test_bits_that_do_not_fit_their_header_are_asked_for_again_and_the_good_ones_stay(
    url: str, index: IndexSettings
) -> None:
    sender = SenderDouble(index, names=LFNS)
    await tell(url, sender.news())
    for changes, said in (({"body": b"\0"}, "1 bytes long"), ({"checksum": 1}, "0000000000000001")):
        sender.changed()
        status, answer = await tell(url, sender.news([sender.summary(0, **changes), sender.summary(1)]))
        assert (status, [slot[:2] for slot in answer["slots"]]) == (200, [[0, "resend"], [1, "ok"]])
        assert said in answer["slots"][0][2]
        _, located = await ask(url + "/v1/locations", body={"lfns": LFNS})
        assert all("A" in sites for sites in located["locations"].values())


async def test_an_earlier_epoch_is_told_the_later_one(url: str, index: IndexSettings) -> None:
    sender = SenderDouble(index, epoch=7, names=LFNS)
    await tell(url, sender.news())
    sender.epoch = 6
    status, answer = await tell(url, sender.news())
    assert (status, answer["outdated"], answer["epoch"]) == (200, True, 7)


@pytest.mark.parametrize("data", [b"", b"{", b"\xc1", b"[]", b"null", b"\x80", b'{"version": 1}', b"\x93" * 100_000])
async def test_garbage_is_refused_as_json_and_as_messagepack(url: str, data: bytes) -> None:
    for path in ("softstate", "locations", "replicas"):
        for media in ("application/json", MSGPACK):
            status, problem = await ask(f"{url}/v1/{path}", data=data, media=media)
            assert (status, problem["code"]) == (400, "body-invalid")


async def test_a_message_cut_short_on_the_way_changes_nothing(url: str, index: IndexSettings) -> None:
    body = msgspec.msgpack.encode(SenderDouble(index, names=LFNS).news())
    head = b"POST /v1/softstate HTTP/1.1\r\nHost: a\r\nContent-Type: application/msgpack\r\nContent-Length: %d\r\n\r\n"
    await broken_off(url, head % len(body) + body[:-1])
    assert (await ask(url + "/v1/status"))[1]["sites_live"] == 0


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("locations?lfn=", None, 400, "name-invalid"),
        ("locations", None, 400, "query-invalid"),
        ("locations?lfn=%ff", None, 400, "query-invalid"),
        ("locations?lfn=" + "a" * 4097, None, 400, "name-invalid"),
        ("locations?lfn=a%00", None, 400, "name-invalid"),
        ("replicas?lfn=/a&deadline_s=0", None, 400, "query-invalid"),
        ("replicas?lfn=/a&deadline_s=301", None, 400, "query-invalid"),
        ("replicas?lfn=/a&deadline_s=nan", None, 400, "query-invalid"),
        ("replicas?lfn=/a&deadline_s=soon", None, 400, "query-invalid"),
        ("locations", {"lfns": ["/a", ""]}, 400, "name-invalid"),
        ("locations", {"lfns": ["/a"], "colour": 1}, 400, "body-invalid"),
        ("locations", {"lfns": ["/a"], "max_age_s": -1}, 400, "body-invalid"),
        ("locations?lfn=/a&max_age_s=nan", None, 400, "query-invalid"),
        ("locations?lfn=/a&verify=perhaps", None, 400, "query-invalid"),
        ("exists", {"lfns": ["/a", ""]}, 400, "name-invalid"),
        ("locations", {"lfns": ["/a"] * (BATCH_ITEMS_MAX + 1)}, 400, "body-invalid"),
        ("replicas", {"lfns": ["a\n"]}, 400, "name-invalid"),
        ("replicas", {"lfns": ["a"], "deadline_s": -1}, 400, "body-invalid"),
        ("members?all=1", None, 400, "query-invalid"),
        ("collections", None, 404, "route-unknown"),
    ],
)
async def test_a_question_that_cannot_be_right_is_one_clear_problem(
    url: str, path: str, body: Any, status: int, code: str
) -> None:
    found, problem = await ask(f"{url}/v1/{path}", body=body)
    assert (found, problem["code"]) == (status, code)


# ---- forwarding ------------------------------------------------------------------------------------------------------


async def test_a_node_that_owns_nothing_asked_about_forwards_once(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=3, redundancy=1) as world:
        await world.site("A", LFNS)
        await world.settled(LFNS)
        owned = set(world.index.ring.slots_owned("n1").tolist())
        url = world.nodes["n1"].url
        for lfn, slot in zip(LFNS, slots_of(LFNS, world.index), strict=True):
            sites = [site["site"] for site in (await ask(f"{url}/v1/locations?lfn={lfn}"))[1]["sites"]]
            assert sites == ["A"]
            _, told = await ask(f"{url}/v1/locations?lfn={lfn}", headers={HOP_HEADER: "n0"})
            assert (bool(told["sites"]), told["complete"]) == (slot in owned, slot in owned)
        _, said = await ask(url + "/v1/locations", body={"lfns": LFNS})
        assert (said["incomplete"], said["missing"]) == ([], [])
        assert set(map(tuple, said["locations"].values())) == {("A",)}
        _, said = await ask(url + "/v1/locations", body={"lfns": LFNS}, headers={HOP_HEADER: "n0"})
        assert set(slots_of(said["incomplete"], world.index)).isdisjoint(owned)


async def test_nodes_that_hold_nothing_do_not_ask_each_other_for_ever() -> None:
    index = index_settings(2, redundancy=2, expiry_s=3600)
    async with AsyncExitStack() as stack:
        for name in index.urls:
            served = node(name, index)
            await served.start()
            stack.push_async_callback(served.stop)
        for url in index.urls.values():
            _, said = await ask(url + "/v1/locations", body={"lfns": LFNS})
            assert (said["incomplete"], said["locations"]) == (LFNS, {lfn: [] for lfn in LFNS})
            assert (await ask(url + "/v1/locations?lfn=/a"))[1]["complete"] is False
            _, said = await ask(url + "/v1/replicas?lfn=/a")
            assert (said["complete"], said["replicas"]) == (False, [])


async def test_a_node_that_knows_a_sender_but_can_ask_nobody_names_it_missing() -> None:
    """It was told by its peer whom to wait for, and the peer is gone."""
    index = index_settings(2, redundancy=2, expiry_s=1.0, renewal_interval_s=0.5)
    peer, fresh = node("n0", index), node("n1", index)
    await peer.start()
    sender = SenderDouble(index, names=LFNS)
    try:
        await until(lambda: ask(peer.url + "/readyz"), lambda said: said[0] == 200, "the peer knows all senders")
        await tell(peer.url, sender.news())
        await fresh.start()
        await until(lambda: ask(fresh.url + "/v1/members"), lambda said: len(said[1]["members"]) == 3, "it was told")
        await peer.stop()
        _, said = await ask(fresh.url + "/v1/locations", body={"lfns": LFNS})
        assert (said["missing"], said["incomplete"]) == (["A"], LFNS)
        assert (await ask(fresh.url + "/v1/locations?lfn=/a"))[1]["missing"] == ["A"]
    finally:
        await peer.stop()
        await fresh.stop()


# ---- resolved lookups ------------------------------------------------------------------------------------------------


async def test_false_positives_vanish_when_the_catalogs_are_asked(url: str, index: IndexSettings) -> None:
    """At an error rate of a tenth, the index names the site for many an LFN that it does not hold."""
    held = {lfn: [f"file://{lfn}"] for lfn in LFNS}
    others = [f"/other/{number}" for number in range(400)]
    async with serving(CatalogDouble(held).routes()) as lrc:
        sender = SenderDouble(index, url=lrc, names=LFNS)
        summaries = [sender.summary(slot, built_for=2) for slot in range(index.slots)]
        assert (await tell(url, sender.news(summaries)))[1]["current"]
        _, located = await ask(url + "/v1/locations", body={"lfns": [*LFNS, *others]})
        assert any(located["locations"][lfn] for lfn in others), "there are false positives"
        _, said = await ask(url + "/v1/replicas", body={"lfns": [*LFNS, *others]})
    assert {lfn: [copy["pfns"] for copy in copies] for lfn, copies in said["replicas"].items() if copies} == {
        lfn: [pfns] for lfn, pfns in held.items()
    }
    assert said["unreachable"] == []


async def test_a_catalog_that_cannot_be_reached_is_named_and_the_others_answer(url: str, index: IndexSettings) -> None:
    async with serving(CatalogDouble({"/a": ["file:///a"]}).routes()) as lrc:
        await tell(url, SenderDouble(index, url=lrc, names=["/a"]).news())
        away = SenderDouble(index, "B", "http://127.0.0.1:9", "sender-b", names=["/a"])
        await tell(url, away.news())
        _, said = await ask(url + "/v1/replicas", body={"lfns": ["/a"]})
        assert (said["unreachable"], said["incomplete"]) == (["B"], ["/a"])
        assert [(copy["site"], copy["lrc"], copy["pfns"]) for copy in said["replicas"]["/a"]] == [
            ("A", lrc, ["file:///a"])
        ]
        _, said = await ask(url + "/v1/replicas?lfn=/a")
        assert (said["unreachable"], said["complete"], len(said["replicas"])) == (["B"], False, 1)


async def test_a_stalled_catalog_does_not_hold_an_answer_beyond_its_deadline(url: str, index: IndexSettings) -> None:
    async with (
        serving(CatalogDouble(trouble=stall).routes()) as stalled,
        serving(CatalogDouble({"/a": ["file:///a"]}).routes()) as well,
    ):
        await tell(url, SenderDouble(index, url=stalled, names=["/a"]).news())
        await tell(url, SenderDouble(index, "B", well, "sender-b", names=["/a"]).news())
        _, said = await ask(url + "/v1/replicas", body={"lfns": ["/a"], "deadline_s": 0.3})
        assert ([copy["site"] for copy in said["replicas"]["/a"]], said["unreachable"]) == (["B"], ["A"])
        _, said = await ask(url + "/v1/replicas?lfn=/a&deadline_s=0.3")
        assert ([copy["site"] for copy in said["replicas"]], said["unreachable"]) == (["B"], ["A"])


async def test_a_stalled_node_leaves_time_for_the_catalogs() -> None:
    """The other owner takes the question and never answers; what is held here is resolved within the deadline."""
    async with AsyncExitStack() as stack:
        stalled = await stack.enter_async_context(serving(NodeDouble("n1", trouble=stall).routes()))
        index = index_settings(1, slots=64, redundancy=1, expiry_s=3600)
        index = msgspec.structs.replace(
            index, nodes=[*index.nodes, msgspec.structs.replace(index.nodes[0], name="n1", url=stalled)]
        )
        served = node("n0", index)
        await served.start()
        stack.push_async_callback(served.stop)
        lrc = await stack.enter_async_context(serving(CatalogDouble({lfn: ["file:///x"] for lfn in LFNS}).routes()))
        sender = SenderDouble(index, url=lrc, names=LFNS)
        owned = index.ring.slots_owned("n0").tolist()
        await tell(served.url, sender.news([sender.summary(slot) for slot in owned]))
        _, said = await ask(served.url + "/v1/replicas", body={"lfns": LFNS, "deadline_s": 1.0})
        ours = {lfn for lfn, slot in zip(LFNS, slots_of(LFNS, index), strict=True) if slot in owned}
        assert 0 < len(ours) < len(LFNS)
        assert {lfn for lfn, copies in said["replicas"].items() if copies} == ours
        assert said["incomplete"]


async def test_many_questions_and_news_at_the_same_time_are_all_answered(url: str, index: IndexSettings) -> None:
    """Every answer is of one state of the filters: all of the even names, or all of the odd ones, of each slot."""
    sender = SenderDouble(index, names=LFNS[::2])
    await tell(url, sender.news())
    slots = np.array(slots_of(LFNS, index))
    done = asyncio.Event()

    async def look() -> None:
        async with RliNodeClient(url) as client:
            while not done.is_set():
                found = (await client.locations(LFNS)).locations
                for slot in range(index.slots):
                    here = {number for number in np.flatnonzero(slots == slot).tolist() if found[LFNS[number]]}
                    even = {number for number in np.flatnonzero(slots == slot).tolist() if number % 2 == 0}
                    odd = set(np.flatnonzero(slots == slot).tolist()) - even
                    assert here >= even or here >= odd, f"slot {slot}: {here}"

    looking = [asyncio.create_task(look()) for _ in range(3)]
    for turn in range(30):
        sender.names = LFNS[turn % 2 :: 2]
        sender.changed()
        for slot in range(index.slots):
            await tell(url, sender.news([sender.summary(slot, built_for=6 + turn % 5)]))
    done.set()
    await asyncio.gather(*looking)
