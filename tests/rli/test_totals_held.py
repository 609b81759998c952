"""Totals at a node: what senders tell is what is held, by any way there; what is broken changes nothing."""

from random import Random

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from reploc import digest, totals
from reploc.digest import slots_of
from reploc.errors import SummaryInvalid
from reploc.partition import Partition
from reploc.wire import Summary
from rli import arrow
from rli.totals import HeldTotals

SLOTS = 4
Rows = dict[str, tuple[int, int, int]]
POOL = [f"/primary/campaign-{number}/AOD#{number:04x}" for number in range(120)]
SLOT_OF = dict(zip(POOL, slots_of(digest.of(POOL), SLOTS).tolist(), strict=True))


def checksum(rows: Rows) -> int:
    part = totals.of(list(rows.items()))
    return totals.checksum(totals.digests_of(part), part.numbers)


def whole(slot: int, rows: Rows, **changes: object) -> Summary:
    return replace(
        Summary(slot, "collection", 0, 1, checksum(rows), totals.of(list(rows.items())).to_bytes()), **changes
    )


def held_by(held: HeldTotals, site: int) -> Rows:
    names, numbers = held.snapshot(site).rows()
    assert names == sorted(names)
    return {name.decode(): (row[0], row[1], row[2]) for name, row in zip(names, numbers.T.tolist(), strict=True)}


def store(held: HeldTotals, site: int, summary: Summary) -> None:
    for _ in held.store(summary.slot, site, held.verified(summary)):
        pass


def rows_of(slot: int, rng: Random, count: int) -> Rows:
    names = [name for name in POOL if SLOT_OF[name] == slot]
    return {name: (rng.randint(1, 9), rng.randrange(1 << 50), 0) for name in rng.sample(names, min(count, len(names)))}


@pytest.mark.parametrize("seed", range(8))
def test_whole_ones_increments_and_drops_lead_to_what_a_dictionary_holds(seed: int) -> None:
    rng = Random(seed)
    held, truth = HeldTotals(Partition(SLOTS)), {(site, slot): Rows() for site in range(3) for slot in range(SLOTS)}
    for _ in range(250):
        site, slot = rng.randrange(3), rng.randrange(SLOTS)
        before, version = truth[site, slot], held.version(site)
        match rng.randrange(4):
            case 0:
                now = rows_of(slot, rng, rng.randint(0, 20))
                store(held, site, whole(slot, now))
            case 1 | 2:
                changed = {
                    name: row if rng.random() < 0.6 else (0, 0, 0)
                    for name, row in rows_of(slot, rng, rng.randint(0, 6)).items()
                }
                now = {name: row for name, row in {**before, **changed}.items() if row[0]}
                body = totals.of(list(changed.items())).to_bytes()
                held.change(Summary(slot, "collection", 1, 2, checksum(now), body), site, checksum(before))
            case _:
                now = {}
                assert held.drop(slot, site) == bool(before)
        truth[site, slot] = now
        assert (held.version(site) != version) == (now != before)
        everything = {name: row for (holder, _), rows in truth.items() if holder == site for name, row in rows.items()}
        assert held_by(held, site) == everything
        assert held.count(site) == len(everything)
    for name in POOL:
        expected = [(site, truth[site, SLOT_OF[name]].get(name)) for site in range(3)]
        assert held.of(name) == [(site, row) for site, row in expected if row is not None]
    assert len({name for rows in truth.values() for name in rows}) == len(held._interned)


def test_what_is_broken_changes_nothing() -> None:
    held = HeldTotals(Partition(SLOTS))
    rows = rows_of(1, Random(1), 5)
    store(held, 0, whole(1, rows))
    version = held.version(0)
    name = next(iter(rows))
    elsewhere = next(name for name in POOL if SLOT_OF[name] != 1)
    change = Summary(1, "collection", 1, 2, 0, totals.of([(name, (9, 9, 9))]).to_bytes())
    for broken, words in [
        (whole(1, rows, checksum=1), "checksum"),
        (whole(1, {elsewhere: (1, 1, 0)}), "another slot"),
        (whole(1, {name: (0, 0, 0)}), "without files"),
        (whole(1, rows, body=b"?"), "bytes long"),
    ]:
        with pytest.raises(SummaryInvalid, match=words):
            held.verified(broken)
    with pytest.raises(SummaryInvalid, match="after the increment"):
        held.change(change, 0, checksum(rows))
    assert (held_by(held, 0), held.version(0)) == (rows, version)


def test_a_store_that_is_given_up_leaves_what_was_there_and_no_name() -> None:
    held = HeldTotals(Partition(1))
    names = [f"c{number}" for number in range(3000)]
    many = dict.fromkeys(names, (1, 1, 0))
    steps = held.store(0, 0, held.verified(whole(0, many)))
    next(steps)
    steps.close()
    assert (held_by(held, 0), len(held._interned)) == ({}, 0)


def test_a_view_of_some_moment_stays_true() -> None:
    held = HeldTotals(Partition(SLOTS))
    rows = rows_of(2, Random(2), 9)
    store(held, 0, whole(2, rows))
    view = held.snapshot(0)
    store(held, 0, whole(2, {}))
    store(held, 1, whole(2, rows_of(2, Random(3), 9)))
    assert sorted(view.rows()[0]) == sorted(name.encode() for name in rows)


def test_the_stream_is_arrow_with_the_columns_that_are_promised() -> None:
    body = arrow.stream([b"/a#1", "/ü#2".encode()], np.array([[1, 2], [3, 4], [0, 1]]))
    read = pl.read_ipc_stream(body)
    assert read.schema == {
        "collection": pl.String,
        "files": pl.Int64,
        "bytes": pl.Int64,
        "files_of_unknown_size": pl.Int64,
    }
    assert read.rows() == [("/a#1", 1, 3, 0), ("/ü#2", 2, 4, 1)]
    assert pl.read_ipc_stream(arrow.stream([], np.zeros((3, 0), dtype=np.int64))).height == 0
