"""What goes wrong with storage, catalogs and runners: nothing is lost or done twice with effect, every state true."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from carried import Storage, adler32, world
from databases import empty_postgres
from grid import until

from fileops import journal, records, submissions
from fileops.carrying import TransferSettings
from fileops.journal import Claim, Hold
from fileops.lane import Claimed, Ended, Standing, Wish
from fileops.ledger import Ledger
from fileops.links import Links
from fileops.messages import DrainBody, DrainSaid, IdsBody, OperationItem, OutcomesSaid, Suspects
from fileops.operation import Event
from loadtests.postgres import Postgres
from reploc.errors import OperationUnready, Unavailable
from reploc.storage.posix import PosixMover
from reploc.wire import MappingItem

DATA = os.urandom(300_000)


def copy(lfn: str, to: str = "b", *sources: str, **changes: Any) -> OperationItem:
    return OperationItem("copy", to, lfn, sources or ("a",), **changes)


# ---- sources and destinations ----------------------------------------------------------------------------------------


async def test_a_corrupted_source_is_passed_over_noted_and_nothing_bad_is_registered(tmp_path: Path) -> None:
    one, two, three = (Storage(name, tmp_path) for name in "abc")
    async with world(tmp_path, two, three, one) as grid:
        await one.hold({"/f": DATA})
        await three.hold({"/f": DATA})
        one.write("/f", DATA[:-1] + bytes([DATA[-1] ^ 1]))
        await grid.start()
        # Without this c would be the first that is tried now and then, by chance, and nobody would see that a is bad.
        await grid.ask("POST", "/v1/drain", DrainSaid, DrainBody("c"))
        (number,) = await grid.submit(copy("/f", "b", "a", "c"))

        async def suspects() -> list[tuple[str, str]]:
            said: Suspects = await grid.ask("GET", "/v1/suspects", Suspects)
            return [(each.site, each.lfn) for each in said.suspects]

        await until(suspects, lambda found: found == [("a", "/f")], "the corrupted copy is noted")
        assert not two.debris() and not two.path("/f").exists() and await two.find("/f") is None
        await grid.ask("POST", "/v1/drain", DrainSaid, DrainBody("c", undo=True))
        (said,) = await grid.ended([number])
        assert said.source == "c" and two.path("/f").read_bytes() == DATA
        assert await suspects() == [("a", "/f")]
        one.write("/f", DATA)


async def test_when_all_sources_failed_the_copy_is_held_with_each_reason(tmp_path: Path) -> None:
    one, two, three = (Storage(name, tmp_path) for name in "abc")
    async with world(tmp_path, two) as grid:
        grid.sites |= {"a": one, "c": three}
        three.write("/f", DATA[:100])
        await grid.start()
        (number,) = await grid.submit(copy("/f", "b", "c", "a", size=len(DATA), checksum=adler32(DATA), collection="x"))
        (said,) = await grid.ended([number], "held")
        assert "a: " in said.reason and "No such file" in said.reason
        assert "c: " in said.reason and "100 bytes instead of 300,000" in said.reason
        assert not two.debris() and await two.find("/f") is None
        three.write("/f", DATA)
        await grid.ask("POST", "/v1/operations/release", OutcomesSaid, IdsBody([number]))
        await grid.ended([number])


async def test_a_destination_that_refuses_is_tried_again_and_then_held(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/d/f": DATA})
        two.path("/d").write_bytes(b"a file where a directory must be")
        await grid.start()
        (number,) = await grid.submit(copy("/d/f"))
        await grid.ended([number], "held")
        assert await two.find("/d/f") is None
        two.path("/d").unlink()
        await grid.ask("POST", "/v1/operations/release", OutcomesSaid, IdsBody([number]))
        await grid.ended([number])
        assert two.path("/d/f").read_bytes() == DATA


async def test_a_file_that_is_there_already_is_adopted_and_a_wrong_one_replaced_or_held(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/right": DATA, "/wrong": DATA})
        two.write("/right", DATA)
        two.write("/wrong", DATA[::-1])
        inode = two.path("/right").stat().st_ino
        await grid.start(transfers=TransferSettings(overwrite="hold"))
        right, wrong = await grid.submit(copy("/right"), copy("/wrong"))
        (said,) = await grid.ended([right])
        assert said.moved == 0 and two.path("/right").stat().st_ino == inode
        (said,) = await grid.ended([wrong], "held")
        assert "another file stands" in said.reason and two.path("/wrong").read_bytes() == DATA[::-1]
        await grid.stop()
        await grid.start()
        await grid.ask("POST", "/v1/operations/release", OutcomesSaid, IdsBody([wrong]))
        await grid.ended([wrong])
        assert two.path("/wrong").read_bytes() == DATA


async def test_a_catalog_that_says_otherwise_is_believed_before_anything_moves(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        await two.hold({"/f": b"an older version"})
        await grid.start()
        (number,) = await grid.submit(copy("/f"))
        (said,) = await grid.ended([number], "held")
        assert "the catalog of b has size 16" in said.reason
        assert two.path("/f").read_bytes() == b"an older version"


async def test_a_file_that_another_lfn_stands_for_is_not_removed(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, two) as grid:
        grid.sites["a"] = one
        await one.service.start()
        try:
            await one.hold({"/f": DATA})
            await one.register([MappingItem("/alias", one.pfn("/f"))])
            await grid.start()
            (number,) = await grid.submit(OperationItem("delete", "a", "/f", last_copy=True))
            (said,) = await grid.ended([number], "held")
            assert "/alias stands for it too" in said.reason
            assert one.path("/f").read_bytes() == DATA and await one.find("/f") is None
        finally:
            await one.service.stop()


async def test_a_catalog_that_is_away_delays_and_loses_nothing(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        await grid.start(retries=grid.settings().retries.__class__(attempts_max=50, pause_s=0.05, pause_s_max=0.1))
        await two.service.stop()
        (number,) = await grid.submit(copy("/f"))
        (said,) = await grid.ended([number], "waiting")
        assert "the catalog of b" in said.reason and not two.debris()
        await two.service.start()
        await grid.ended([number])


# ---- opposites, cancelling -------------------------------------------------------------------------------------------


async def test_what_was_wanted_last_holds(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        await two.hold({"/f": DATA})
        await grid.start(parts=["fom"])
        (gone,) = await grid.submit(OperationItem("delete", "b", "/f", witness="a"))
        (kept,) = await grid.submit(copy("/f"))
        (again,) = await grid.submit(copy("/f"))
        assert again == kept
        await grid.stop()
        await grid.start()
        (said,) = await grid.ended([gone], "cancelled")
        assert said.reason == "the opposite was asked for"
        await grid.ended([kept])
        assert two.path("/f").exists()
        with pytest.raises(AssertionError, match="done already"):
            outcome: OutcomesSaid = await grid.ask("POST", "/v1/operations/cancel", OutcomesSaid, IdsBody([kept]))
            assert not outcome.outcomes[0].code, outcome.outcomes[0].message


class SlowMover(PosixMover):
    """Copies that wait until they are let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def copy(self, transfer: Any, progress: Any) -> None:
        await super().copy(transfer, progress)
        self.begun.set()
        await self.go.wait()


async def test_a_copy_that_is_cancelled_on_its_way_leaves_nothing(
    tmp_path: Path,
) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        slow = SlowMover()
        await grid.start({"posix": slow})
        (number,) = await grid.submit(copy("/f"))
        await slow.begun.wait()
        await grid.ask("POST", "/v1/operations/cancel", OutcomesSaid, IdsBody([number]))
        await grid.ended([number], "cancelled")
        assert not two.debris() and not two.path("/f").exists() and await two.find("/f") is None


async def test_a_copy_that_hangs_is_given_up_after_the_stall(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        slow = SlowMover()
        await grid.start({"posix": slow}, transfers=TransferSettings(stall_s=0.2))
        (number,) = await grid.submit(copy("/f"))
        await until(lambda: grid.operation(number), lambda said: said.operation.attempts > 1, "tried again")
        assert any("nothing arrived for 0.2 s" in line.words for line in (await grid.operation(number)).story)
        slow.go.set()
        await grid.ended([number], "done", "held")
        assert not two.debris()


async def test_a_runner_that_is_stopped_gives_back_what_it_had(tmp_path: Path) -> None:
    one, two = Storage("a", tmp_path), Storage("b", tmp_path)
    async with world(tmp_path, one, two) as grid:
        await one.hold({"/f": DATA})
        slow = SlowMover()
        await grid.start({"posix": slow})
        (number,) = await grid.submit(copy("/f"))
        await slow.begun.wait()
        await grid.stop()
        assert not two.debris()
        slow.go.set()
        await grid.start()
        await grid.ended([number])


# ---- runners, leases and fencing, on both databases ------------------------------------------------------------------


@asynccontextmanager
async def ledgers(url: str, *runners: str, clock: Callable[[], float]) -> AsyncIterator[list[Ledger]]:
    made = [Ledger(url, runner, 10.0, clock) for runner in runners]
    try:
        yield made
    finally:
        for ledger in made:
            await ledger.close()


async def submitted(ledger: Ledger, *wishes: Wish) -> list[int]:
    return await ledger.do(submissions.submit, list(wishes), ledger.now())


async def claims(ledger: Ledger, count: int = 100) -> list[Claimed]:
    lanes = await ledger.do(submissions.ready_lanes, ledger.now())
    got = await ledger.claim([Claim(lane, lane.sources[0] if lane.sources else "", count) for lane in lanes])
    return [operation for each in got for operation in each]


async def test_two_runners_share_the_work_and_never_an_operation(database: str) -> None:
    async with ledgers(database, "one", "two", clock=lambda: 100.0) as (one, two):
        ids = await submitted(one, *(Wish("copy", "b", f"/f{number}", sources=("a",)) for number in range(200)))
        taken: list[int] = []
        while got := [*await asyncio.gather(claims(one, 7), claims(two, 7))]:
            if not any(got):
                break
            taken += [operation.id for each in got for operation in each]
        assert sorted(taken) == sorted(ids)


async def test_a_copy_and_a_deletion_of_one_file_are_never_active_together(database: str) -> None:
    async with ledgers(database, "one", "two", clock=lambda: 100.0) as (one, two):
        await submitted(one, Wish("copy", "b", "/f", sources=("a",)))
        (copying,) = await claims(one)
        await submitted(one, Wish("delete", "b", "/f", witness="a"))
        assert await claims(two) == []
        assert await one.hold(copying) is Standing.CANCELLED  # the opposite was asked for: it is to be cancelled
        assert await one.end(Ended(copying, Event.CANCELLED, "cancelled"))
        (deleting,) = await claims(two)
        assert deleting.lane.kind == "delete" and deleting.fence > copying.fence


async def test_a_runner_paused_beyond_its_lease_can_do_nothing_any_more(database: str) -> None:
    now = [100.0]
    async with ledgers(database, "paused", "other", clock=lambda: now[0]) as (paused, other):
        (number,) = await submitted(paused, Wish("copy", "b", "/f", sources=("a",)))
        (before,) = await claims(paused)
        now[0] += 11
        assert await other.expire() == 1
        (behind,) = await claims(other)
        assert behind.id == number and behind.fence > before.fence
        assert await paused.hold(before, "placing") is Standing.LOST
        assert await paused.renew({number}) == frozenset()
        assert not await paused.end(Ended(before, Event.SUCCEEDED, "late"))
        assert await other.hold(behind, "placing") is Standing.OURS
        assert await other.end(Ended(behind, Event.SUCCEEDED, "copied"))


async def test_runners_count_their_copies_together_and_note_suspects_at_one_moment(database: str) -> None:
    async with ledgers(database, "one", "two", clock=lambda: 100.0) as both:
        for ledger in both:
            known = Links()
            for succeeded in (True, True, False):
                known.add("a", "b", succeeded=succeeded, moved=10, seconds=1.0, now=100.0)
            await ledger.do(records.keep_links, known.changed())
            known.add("a", "b", succeeded=True, moved=10, seconds=1.0, now=100.0)
            await ledger.do(records.keep_links, known.changed())
        (link,) = await both[0].read(records.known_links)
        assert (link.copies, link.failures, link.bytes) == (6, 2, 60)
        lfns = [f"/f{number}" for number in range(60)]
        await submitted(both[0], *(Wish("copy", site, lfn, sources=("a", "c")) for site in "bd" for lfn in lfns))
        lanes = {lane.site: lane for lane in await both[0].do(submissions.ready_lanes, 100.0)}
        taken = [
            (await ledger.claim([Claim(lanes[site], "a", 100)]))[0] for ledger, site in zip(both, "bd", strict=True)
        ]
        failed = [
            ledger.end(Ended(each, Event.DELAYED, "bad", failures={"a": "bad"}))
            for ledger, some in zip(both, taken, strict=True)
            for each in some
        ]
        assert await asyncio.gather(*failed) == [True] * 120
        assert [each.lfn for each in await both[0].read(records.suspected, 100)] == sorted(lfns)


async def test_a_lease_that_is_renewed_lasts(database: str) -> None:
    now = [100.0]
    async with ledgers(database, "one", "two", clock=lambda: now[0]) as (one, two):
        await submitted(one, Wish("copy", "b", "/f", sources=("a",)))
        (claimed,) = await claims(one)
        for _ in range(5):
            now[0] += 8
            await one.renew({claimed.id})
            assert await two.expire() == 0
        assert await one.hold(claimed) is Standing.OURS


async def test_what_a_runner_does_not_know_that_it_has_is_given_back_though_it_lives(database: str) -> None:
    """The answer to its claim was lost, or the end of the operation could not be written."""
    now = [100.0]
    async with ledgers(database, "one", clock=lambda: now[0]) as (one,):
        await submitted(one, *(Wish("copy", "b", f"/f{number}", sources=("a",)) for number in range(2)))
        known, unknown = await claims(one)
        for _ in range(2):
            now[0] += 8
            await one.renew({known.id})
        assert await one.expire() == 1
        assert await one.hold(known) is Standing.OURS and await one.hold(unknown) is Standing.LOST
        (again,) = await claims(one)
        assert again.id == unknown.id


async def test_a_copy_waits_for_a_deletion_that_has_begun_to_remove(database: str) -> None:
    async with ledgers(database, "one", clock=lambda: 100.0) as (one,):
        (gone,) = await submitted(one, Wish("delete", "b", "/f", witness="a"))
        (deleting,) = await claims(one)
        assert await one.hold(deleting, "removing", ["file:///f"]) is Standing.OURS
        await one.end(Ended(deleting, Event.DELAYED, "storage is away", due_s=200.0))
        await submitted(one, Wish("copy", "b", "/f", sources=("a",)))
        assert await claims(one) == []
        with pytest.raises(OperationUnready, match="unregistered its file already"):
            await one.do(submissions.cancel, gone, "by hand", 100.0)


async def test_two_runners_never_begin_deletions_together_that_are_each_others_witness(database: str) -> None:
    async with ledgers(database, "one", "two", clock=lambda: 100.0) as (one, two):
        taken: dict[str, list[Claimed]] = {}
        for ledger, site, witness in ((one, "a", "b"), (two, "b", "a")):
            await submitted(ledger, *(Wish("delete", site, f"/f{number}", witness=witness) for number in range(100)))
            taken[site] = await claims(ledger)
        asked = [each for pair in zip(taken["a"], taken["b"], strict=True) for each in ((one, pair[0]), (two, pair[1]))]
        begun = await asyncio.gather(*(ledger.hold(each, "asking") for ledger, each in asked))
        pairs = list(zip(begun[::2], begun[1::2], strict=True))
        assert all({*pair} == {Standing.OURS, Standing.OPPOSED} for pair in pairs)
        for (ledger, each), standing in zip(asked, begun, strict=True):
            if standing is Standing.OURS:
                assert await ledger.end(Ended(each, Event.HELD, "the witness is gone"))
        again = await asyncio.gather(*(ledger.hold(each, "asking") for ledger, each in asked))
        assert {*zip(begun, again, strict=True)} == {
            (Standing.OURS, Standing.LOST),
            (Standing.OPPOSED, Standing.OURS),
        }


async def test_a_runner_paused_in_mid_transaction_holds_up_the_others_no_longer_than_its_lease(
    postgres_server: Postgres,
) -> None:
    """It has the last fence locked, which every claim needs."""
    url = empty_postgres(postgres_server)
    paused, other = Ledger(url, "paused", 1.0), Ledger(url, "other", 1.0)
    begun, go = threading.Event(), threading.Event()
    try:
        await submitted(other, *(Wish("copy", "b", f"/f{number}", sources=("a",)) for number in range(4)))
        (lane,) = await other.do(submissions.ready_lanes, other.now())

        def stopped(connection: Any) -> None:
            assert journal.claim(connection, [Claim(lane, "a", 2)], "paused", paused.now(), 1.0)
            begun.set()
            go.wait(60)

        standing = asyncio.create_task(paused.do(stopped))
        assert await asyncio.to_thread(begun.wait, 60)
        claimed: list[Claimed] = []

        async def more() -> int:
            claimed.extend(await claims(other))
            return len(claimed)

        await until(more, lambda count: count == 4, "the other goes on with what is left, and with what was given back")
        assert not standing.done()
        go.set()
        with pytest.raises(Unavailable):
            await standing
        assert [await other.end(Ended(each, Event.SUCCEEDED, "copied")) for each in claimed] == [True] * 4
    finally:
        go.set()
        await paused.close()
        await other.close()


async def test_a_claim_and_what_follows_are_one_step_or_none(database: str) -> None:
    """A transaction that fails half-way leaves no lease, no number and no story behind."""
    async with ledgers(database, "one", clock=lambda: 100.0) as (one,):
        await submitted(one, Wish("copy", "b", "/f", sources=("a",)))
        (lane,) = await one.do(submissions.ready_lanes, 100.0)

        def broken(connection: Any) -> None:
            journal.claim(connection, [Claim(lane, "a", 1)], "one", 100.0, 10.0)
            raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            await one.do(broken)
        (claimed,) = await claims(one)
        assert claimed.attempts == 1
        assert await one.do(journal.hold, [Hold(claimed)]) == [Standing.OURS]
