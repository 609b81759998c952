"""Synthetic worlds: a filled store is what registering would have made, and sites hold what they are said to hold."""

import asyncio
import tomllib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from loadtests import filled_store, servers, world
from loadtests.answers import AnswerWrong
from loadtests.exchange import Load, exchanged, post
from loadtests.paper_world import PaperWorld, build
from loadtests.sites import Sites
from lrc.catalog import Catalog
from lrc.check import check
from reploc import bloom, digest
from reploc.digest import slots_of
from reploc.members import IndexSettings
from reploc.wire import MappingsBody

NAMES = 2_500


def test_a_filled_store_is_what_registering_makes(tmp_path: Path) -> None:
    filled_store.fill(tmp_path / "filled", "site-a", NAMES)
    with Catalog.open(tmp_path / "filled") as filled, Catalog.create(tmp_path / "made", "site-a") as made:
        made.write(MappingsBody("create", [world.mapping(number) for number in range(NAMES)]))
        assert check(filled).sound
        assert filled.files(NAMES) == made.files(NAMES)
        assert filled.collections() == made.collections()
        assert filled.lfns_by_pfn(world.pfn(7)).lfns == [world.lfn(7)]
        ours, theirs = filled.digests(range(16), 16), made.digests(range(16), 16)
        for one, other in zip(ours.digests, theirs.digests, strict=True):
            assert np.array_equal(one, other)
        assert filled.state().lfns == made.state().lfns == NAMES
        assert filled.state().next_collection == made.state().next_collection


def test_names_ascend_with_their_numbers() -> None:
    names = [world.lfn(number) for number in (0, 1, 999, 1_000, 1_001, 999_999, 10_000_000)]
    assert names == sorted(names)


def test_a_later_name_lies_beside_its_neighbour_and_is_no_other() -> None:
    assert world.lfn(4) < world.later_mapping(5).lfn < world.lfn(6)
    assert world.later_mapping(5).lfn != world.lfn(5)


@pytest.mark.parametrize("count", [3, 10, 100])
def test_every_site_holds_what_the_world_says(count: int) -> None:
    sites = Sites(count, 1_000)
    holders: dict[bytes, set[str]] = {}
    for site, digests in enumerate(sites.digests()):
        for one in digest.stored(digests):
            holders.setdefault(one, set()).add(sites.name(site))
    for number in range(1_000):
        (one,) = digest.stored(digest.of([world.lfn(number)]))
        assert sorted(holders[one]) == sites.of(number)
        assert len(sites.of(number)) == 3


def test_servers_are_told_the_index_in_toml(tmp_path: Path) -> None:
    index = servers.index_of(2, expiry_s=40.0)
    told = tomllib.loads(servers._toml({"site": 'a"b'}, index))
    assert told["site"] == 'a"b'
    assert msgspec.convert(told["index"], IndexSettings) == index


async def _answering(pieces: list[bytes]) -> asyncio.Server:
    """A server that answers every request with these pieces, one packet each."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\nhello"):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        except asyncio.IncompleteReadError:
            writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


async def test_an_answer_in_pieces_is_put_together() -> None:
    async with await _answering([b"HTTP/1.1 200 OK\r\nContent-", b"Length: 6\r\n\r\nab", b"cdef"]) as server:
        load = Load(server.sockets[0].getsockname()[1], [post("/", b"hello")] * 5, connections=2)
        answered = await asyncio.to_thread(exchanged, load, keep=True)
    assert answered.bodies == (b"abcdef",) * 5
    assert answered.answers == 5


async def test_an_answer_with_another_status_is_an_error() -> None:
    async with await _answering([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]) as server:
        load = Load(server.sockets[0].getsockname()[1], [post("/", b"hello")], connections=1, seconds=0.1)
        with pytest.raises(AnswerWrong, match="404 Not Found"):
            await asyncio.to_thread(exchanged, load)


PAPER = PaperWorld(sites=20, names=6_000, named=1_000, replicas=10, slots=4, error_rate=1e-5, seed=3)


def test_the_papers_world_has_every_lfn_at_as_many_different_sites() -> None:
    digests = np.concatenate([np.concatenate((PAPER.named_digests[slot], PAPER.drawn(slot))) for slot in range(4)])
    assert len(digests) == len(np.unique(digests, axis=0)) == 6_000
    places = np.sort(PAPER.sites_of(digests), axis=1)
    assert (np.diff(places, axis=1) > 0).all()
    assert (np.bincount(places.reshape(-1), minlength=20) > 0.8 * 6_000 * 10 / 20).all()


def test_the_papers_filters_hold_what_its_sites_hold(tmp_path: Path) -> None:
    filters = build(PAPER, tmp_path / "filters", int)
    shape = bloom.geometry(filters.size_class, PAPER.error_rate)
    for slot in range(4):
        digests = np.concatenate((PAPER.named_digests[slot], PAPER.drawn(slot)))
        assert (slots_of(digests, 4) == slot).all()
        places = PAPER.sites_of(digests)
        for site in range(20):
            made = list(filters.builds(site))[slot]
            held = (places == site).any(axis=1)
            assert made.names == held.sum()
            found = bloom.contains(np.frombuffer(made.bits, dtype=np.uint8), digests, shape)
            assert found[held].all()
            assert not found[~held].any()
            assert made.checksum == bloom.checksum(np.frombuffer(made.bits, dtype=np.uint8))
