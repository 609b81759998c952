"""Several catalogs and index nodes over real sockets: what is registered is found, whoever comes and goes meanwhile."""

import asyncio
from pathlib import Path

import pytest
from grid import grid, node, until
from msgspec.structs import replace
from plain_http import ask

from reploc.client.lrc import LrcClient
from reploc.client.node import RliNodeClient
from reploc.status import LrcStatus

LFNS = [f"/lfn/{number}" for number in range(60)]


@pytest.mark.parametrize(("nodes", "redundancy"), [(1, 1), (3, 1), (4, 2)])
async def test_what_is_registered_is_found_and_what_is_deleted_is_gone(
    tmp_path: Path, nodes: int, redundancy: int
) -> None:
    async with grid(tmp_path, nodes, redundancy=redundancy) as world:
        a = await world.site("A", LFNS[:40])
        b = await world.site("B", LFNS[20:])
        await world.settled([*LFNS, "/nowhere"])
        await a.delete(LFNS[:10])
        await b.put(["/new"])
        await world.settled([*LFNS, "/nowhere", "/new"])
        await world.everywhere()
        for each in world.nodes.values():
            async with RliNodeClient(each.url) as client:
                said = await client.replicas([*LFNS, "/new"])
            assert (said.incomplete, said.missing, said.unreachable) == ([], [], []), "any node can be asked"
            assert {lfn for lfn, copies in said.replicas.items() if copies} == a.held | b.held


async def test_a_site_without_names_makes_nothing_incomplete(tmp_path: Path) -> None:
    async with grid(tmp_path) as world:
        await world.site("A", LFNS)
        await world.site("EMPTY")
        said = await world.settled([*LFNS, "/nowhere"])
        assert (said.missing, said.replicas["/nowhere"]) == ([], [])
        async with RliNodeClient(world.nodes["n0"].url) as client:
            assert {member.name for member in (await client.members()).members if member.kind == "lrc"} == {
                "A",
                "EMPTY",
            }


async def test_the_last_deletion_empties_a_site(tmp_path: Path) -> None:
    async with grid(tmp_path) as world:
        a = await world.site("A", LFNS)
        await world.settled(LFNS)
        await a.delete(LFNS)
        await world.right(LFNS)
        await until(lambda: world.client.locate(LFNS), lambda said: not said.said.sites, "its filters are empty")
        await world.settled(LFNS)


async def test_a_catalog_that_restarts_is_served_meanwhile(tmp_path: Path) -> None:
    """The news of the old epoch stays until that of the new one has taken its place, slot by slot."""
    async with grid(tmp_path, expiry_s=20.0, renewal_interval_s=0.3) as world:
        a = await world.site("A", LFNS)
        await until(
            lambda: world.client.locate(LFNS),
            lambda said: all(said.of(lfn).sites for lfn in LFNS),
            "the index knows that A has them all",
        )
        await world.told()
        await a.stop()
        located = await world.client.locate(LFNS)
        assert all(located.of(lfn).sites for lfn in LFNS)
        starting = asyncio.create_task(a.start())
        while not await _current(a.url, epoch=2):
            located = await world.client.locate(LFNS)
            assert all(located.of(lfn).sites for lfn in LFNS), "nothing is lost while the new epoch arrives"
        await starting


async def _current(url: str, epoch: int) -> bool:
    """Whether the catalog has begun this epoch and every node has taken all of it."""
    async with LrcClient(url, request_s=5.0) as client:
        try:
            status: LrcStatus = await client.status()
        except Exception:
            return False
    return status.epoch == epoch and all(each.state == "current" for each in status.nodes)


async def test_a_node_that_restarts_is_complete_when_its_peers_and_the_catalogs_have_told_it(tmp_path: Path) -> None:
    """By itself it would wait for an hour until it believed that it knows all senders."""
    async with grid(tmp_path, nodes=3, redundancy=2) as world:
        for name in ("A", "B"):
            await world.site(name, LFNS)
        await world.settled(LFNS)
        await world.everywhere()
        await world.nodes["n1"].stop()
        await world.right(LFNS)
        world.nodes["n1"] = node("n1", replace(world.index, expiry_s=3600.0))
        await world.nodes["n1"].start()
        await world.right(LFNS)
        await until(lambda: _ready(world.nodes["n1"].url), bool, "n1 is ready again")
        await world.settled([*LFNS, "/nowhere"])


async def _ready(url: str) -> bool:
    async with RliNodeClient(url) as client:
        status = await client.status()
    return status.slots_complete == status.slots_owned and status.sites_live == 2


async def test_every_lookup_is_right_while_a_node_is_away_and_fills_again(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=4, redundancy=2, expiry_s=3.0) as world:
        await world.site("A", LFNS)
        await world.site("B", LFNS[::2])
        await world.settled(LFNS)
        await world.everywhere()
        done = asyncio.Event()
        looked = 0

        async def look() -> None:
            nonlocal looked
            while not done.is_set():
                assert (await world.right([*LFNS, "/nowhere"])).complete
                looked += 1

        looking = asyncio.create_task(look())
        for name in ("n1", "n3"):
            await world.nodes[name].stop()
            await asyncio.sleep(0.3)
            await world.nodes[name].start()
            await world.everywhere()
        done.set()
        await looking
        assert looked > 2


async def test_a_catalog_that_is_restored_from_an_old_copy_is_heard_again(tmp_path: Path) -> None:
    """Its epoch goes back, a node says so, and it goes above: a backup must not mute a site."""
    async with grid(tmp_path) as world:
        a = await world.site("A", LFNS[:20])
        await world.settled(LFNS)
        await a.stop()
        a.back_up(tmp_path / "backup")
        for more in (LFNS[20:40], LFNS[40:]):
            await a.start()
            await a.put(more)
            await world.settled(LFNS)
            await a.stop()
        a.restore(tmp_path / "backup")
        a.held = set(LFNS[:20])
        await a.start()
        await until(lambda: _epoch(a.url), lambda epoch: epoch > 3, "the epoch is above those used before")
        await a.put(["/after"])
        await world.settled([*LFNS, "/after"])
        assert (await world.client.locate(LFNS[20:])).said.sites == {}, "what the copy does not have is forgotten"


async def _epoch(url: str) -> int:
    async with LrcClient(url) as client:
        return (await client.status()).epoch


async def test_a_catalog_that_stays_away_expires_and_is_named_missing(tmp_path: Path) -> None:
    async with grid(tmp_path) as world:
        a = await world.site("A", LFNS)
        await world.site("B", LFNS[:30])
        await world.settled(LFNS)
        await a.stop()
        said = await world.client.lookup(LFNS[:3])
        if not said.missing:
            assert (set(said.unreachable), set(said.incomplete)) == ({"A"}, set(LFNS[:3])), (
                "not expired, but not reached"
            )
        located = await until(
            lambda: world.client.locate(LFNS), lambda said: set(said.said.sites) == {"B"}, "A's news has expired"
        )
        assert (located.said.missing, set(located.said.incomplete)) == (["A"], set(LFNS))
        said = await world.client.lookup(LFNS)
        assert (said.missing, said.unreachable, len(said.incomplete)) == (["A"], {}, len(LFNS))
        async with RliNodeClient(world.nodes["n0"].url) as client:
            members = {member.name: member.state for member in (await client.members()).members}
        assert (members["A"], members["B"]) == ("silent", "live")
        await a.start()
        await world.settled(LFNS)


async def test_lookups_stay_right_while_a_site_grows_through_its_size_classes(tmp_path: Path) -> None:
    """From a few names to thousands and back: every acknowledged and indexed name is found at every moment."""
    async with grid(tmp_path, error_rate=1e-3, expiry_s=3.0) as world:
        a = await world.site("A", LFNS)
        await world.settled(LFNS)
        classes = set()
        for step in range(6):
            more = [f"/more/{step}/{number}" for number in range(60 * 3**step // 3)]
            writing = asyncio.create_task(a.put(more))
            while not writing.done():
                assert (await world.client.lookup(LFNS)).complete
            await writing
            await world.settled(more)
            await world.right(LFNS)
            async with LrcClient(a.url) as client:
                classes.add((await client.soft_state()).size_class)
        assert len(classes) >= 4
        await a.delete(sorted(a.held - set(LFNS)))
        await world.settled([*LFNS, *more[:100]])
        async with LrcClient(a.url) as client:
            await until(client.soft_state, lambda said: said.size_class < max(classes), "the class shrinks")


async def test_a_second_catalog_of_a_site_is_refused_until_the_first_has_expired(tmp_path: Path) -> None:
    async with grid(tmp_path) as world:
        a = await world.site("A", LFNS)
        await world.settled(LFNS)
        other = type(a)("A", tmp_path / "other", world.index)
        world.sites["other"] = other
        await other.start()
        async with LrcClient(other.url) as client:
            said = await until(
                client.soft_state, lambda said: all(n.state == "refused" for n in said.nodes), "every node refuses it"
            )
        assert "spoken for by another sender" in said.nodes[0].error
        await world.right(LFNS)
        await a.stop()
        del world.sites["A"]
        await other.put(["/theirs"])
        await world.settled([*LFNS, "/theirs"])


async def test_a_push_sends_at_once_what_would_have_waited(tmp_path: Path) -> None:
    async with grid(tmp_path, increment_interval_s=3600, increment_changes=10**9) as world:
        a = await world.site("A")
        await world.settled(LFNS)
        await a.put(LFNS)
        async with LrcClient(a.url) as client:
            await client.push()
        await world.settled(LFNS)


async def test_so_many_changes_do_not_wait_for_the_interval(tmp_path: Path) -> None:
    async with grid(tmp_path, increment_interval_s=3600, increment_changes=50) as world:
        a = await world.site("A")
        await world.settled(LFNS)
        await a.put(LFNS)
        await world.settled(LFNS)


async def test_a_client_that_knows_one_node_finds_the_index(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=4) as world:
        await world.site("A", LFNS)
        await world.settled(LFNS)
        async with RliNodeClient(world.nodes["n3"].url) as client:
            for lfn in LFNS[:10]:
                assert [site.site for site in (await client.location(lfn)).sites] == ["A"]
                assert [copy.pfns for copy in (await client.replica(lfn)).replicas] == [[f"file:///A{lfn}"]]


async def test_metrics_say_how_far_each_node_lags_and_what_was_sent(tmp_path: Path) -> None:
    async with grid(tmp_path, nodes=1, slots=1) as made:
        site = await made.site("A", [f"/lfn/{number}" for number in range(300)])
        await made.settled([f"/lfn/{number}" for number in range(300)])
        await site.put(["/lfn/new"])
        await made.settled(["/lfn/new"])
        _, metrics = await ask(f"{site.url}/metrics")
    said = metrics.decode()
    assert 'reploc_softstate_lag_seconds{node="n0"}' in said
    assert 'reploc_softstate_sent_bytes_total{about="names",kind="increment",node="n0"}' in said
    assert 'reploc_softstate_sent_summaries_total{about="names",kind="whole",node="n0"}' in said
    assert "reploc_softstate_deletions 0.0" in said
