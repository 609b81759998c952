"""Whole runs over real catalogs and real trees: what is planted is found, and nothing else is."""

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from planted import DAY, NOW, OLD, Planted, churn, plant, plant_protected, planted

from consistency.history import History
from consistency.limits import KindLimits, Limits
from consistency.listers.lister import Answer, Failed
from consistency.listers.posix import PosixLister
from consistency.listing import ListingSettings
from consistency.report import Report
from reploc.errors import SiteBusy, Unreachable

WIDE = KindLimits(files=10_000, fraction=1.0, files_per_week=10_000)
LIMITS = Limits(missing=WIDE, orphan=WIDE, damaged=WIDE, empty_directories=WIDE)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Planted]:
    async with planted(tmp_path, limits=LIMITS, listing=ListingSettings(pause_s=0.001)) as made:
        yield made


class Meddling(PosixLister):
    """A door at which something happens while a directory is listed."""

    def __init__(self, root: Path, when: bytes, what) -> None:
        super().__init__(root)
        self._when, self._what = when, what
        self.batch = 1

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        found = await super().look(directories)
        if directories[0] == self._when:
            spoilt = await self._what()
            found = [spoilt] if spoilt is not None else found
        return found


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_planted_is_found_and_nothing_else(site: Planted, seed: int):
    print("seed", seed)
    await plant(site, random.Random(seed), 400)
    outcome = await site.check()
    assert outcome.report.state == "done", outcome.report.reasons
    assert site.found(outcome.report.run) == site.expected
    counts = outcome.report.tally
    assert {kind: counts.kinds[kind].files for kind in site.expected} == {
        kind: len(paths) for kind, paths in site.expected.items()
    }
    assert counts.expected.files + counts.kinds["orphan"].files == sum(each.files for each in counts.kinds.values())
    assert outcome.confirmed.is_empty()


class Unruly(PosixLister):
    """A door that fails at `/bad`, and where files come and go behind its back."""

    def __init__(self, site: Planted, dies: bool) -> None:
        super().__init__(site.root)
        self.batch = 1
        self._site, self._dies = site, dies

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        if directories[0] == b"/bad":
            return [Failed("input/output error")]
        found = await super().look(directories)
        if directories[0] == b"/churn":
            await churn(self._site)
            if self._dies:
                await self._site.service.stop()
        return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("catalog_dies", [False, True])
async def test_every_kind_is_told_apart_while_files_come_and_go_and_a_directory_and_the_catalog_fail(
    site: Planted, seed: int, catalog_dies: bool
):
    print("seed", seed)
    await plant(site, random.Random(seed), 200)
    protected = await plant_protected(site)
    if catalog_dies:
        with pytest.raises(Unreachable):
            await site.check(listers=[Unruly(site, True)], excluded=["/scratch"])
        await site.service.start()
    lister = PosixLister(site.root) if catalog_dies else Unruly(site, False)
    outcome = await site.check(listers=[lister], excluded=["/scratch"])
    report = outcome.report
    assert report.state == "done", report.reasons
    assert site.found(report.run) == site.expected
    findings = {kind: len(paths) for kind, paths in site.expected.items()}
    counts = {kind: count.files for kind, count in report.tally.kinds.items()}
    assert {kind: count for kind, count in counts.items() if kind != "ok"} == findings | protected
    assert [each.path for each in outcome.empty] == [b"/void/deep", b"/void"]
    assert (report.listing.resumed > 0) == catalog_dies


async def test_a_consistent_site_has_no_findings(site: Planted):
    await site.hold({"/a/f": b"1", "/b/g": b"22"})
    outcome = await site.check()
    assert site.found(outcome.report.run) == site.expected
    assert (outcome.report.tally.kinds["ok"].files, outcome.report.tally.kinds["ok"].bytes) == (2, 3)


async def test_two_runs_a_day_apart_confirm_what_is_missing_and_three_an_orphan(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    site.orphan(b"/a/orphan")
    confirmed = [(await site.check(NOW + day * DAY)).confirmed["path"].to_list() for day in range(3)]
    assert confirmed == [[], [b"/a/lost"], [b"/a/lost", b"/a/orphan"]]


async def test_young_files_busy_paths_and_excluded_prefixes_are_not_reported(site: Planted):
    await site.hold({"/a/f": b"1"})
    site.write(b"/a/young", b"1", mtime=int(NOW))
    site.write(b"/scratch/x", b"1")
    site.write(b"/a/arriving", b"1")
    site.write(b"/scratchy/x", b"1")
    site.expected["orphan"].add(b"/scratchy/x")
    site.busy.append(b"/a/arriving")
    outcome = await site.check(excluded=["/scratch"])
    assert site.found(outcome.report.run) == site.expected
    assert {kind: outcome.report.tally.kinds[kind].files for kind in ("young", "busy")} == {"young": 1, "busy": 1}


async def test_what_the_catalog_changes_during_the_listing_is_in_flux(site: Planted):
    """Files come and go behind the lister's back, on storage and in the catalog."""
    await site.hold({"/a/f": b"1", "/b/goes": b"2"})

    async def happens() -> None:
        await site.hold({"/a/comes": b"3"})
        site.remove(b"/b/goes")
        await site.unregister("/b/goes")

    now = time.time()
    outcome = await site.check(now, [Meddling(site.root, b"/a", happens)], grace_age_s=0.0)
    assert site.found(outcome.report.run) == site.expected
    assert outcome.report.catalog.changes == 2
    assert outcome.report.tally.kinds["in-flux"].files >= 1


async def test_a_catalog_whose_log_does_not_reach_back_is_read_twice(site: Planted, monkeypatch: pytest.MonkeyPatch):
    await site.hold({"/a/f": b"1", "/b/goes": b"2"})
    monkeypatch.setattr("lrc.change_log.NAMES_MAX", 1)
    monkeypatch.setattr("lrc.change_log.append.__defaults__", (1,))

    async def happens() -> None:
        await site.hold({"/a/comes": b"3"})
        await site.unregister("/b/goes")
        await site.hold({"/c/too": b"3"})

    outcome = await site.check(time.time(), [Meddling(site.root, b"/a", happens)], grace_age_s=0.0)
    assert outcome.report.catalog.read_twice
    assert site.found(outcome.report.run) == site.expected


async def test_below_a_directory_that_cannot_be_listed_nothing_is_reported(site: Planted):
    await site.hold({f"/good/{number}": b"1" for number in range(40)})
    await site.lose({"/good/lost": b"1"})
    await site.register({"/bad/hidden": b"1"})
    site.write(b"/bad/other", b"1")

    async def fails() -> Failed:
        return Failed("input/output error", retryable=False)

    outcome = await site.check(listers=[Meddling(site.root, b"/bad", fails)])
    assert outcome.report.state == "done"
    assert site.found(outcome.report.run) == site.expected
    assert outcome.report.tally.unchecked.files == 1


async def test_too_much_that_could_not_be_seen_makes_a_run_that_does_not_count(site: Planted):
    await site.hold({"/a/f": b"1", "/b/g": b"1"})

    async def fails() -> Failed:
        return Failed("input/output error", retryable=False)

    first = await site.check(listers=[Meddling(site.root, b"/b", fails)])
    assert (first.report.state, len(first.report.reasons)) == ("failed", 1)
    for path in (b"/a/f", b"/b/g"):
        site.remove(path)
    second = await site.check(NOW + DAY)
    assert second.report.state == "failed"
    assert "found no file" in second.report.reasons[0]


async def test_a_root_that_cannot_be_listed_fails_the_run_even_where_the_catalog_holds_nothing_there(site: Planted):
    async def fails() -> Failed:
        return Failed("forbidden", retryable=False)

    outcome = await site.check(listers=[Meddling(site.root, b"/", fails)])
    assert (outcome.report.state, outcome.report.reasons) == ("failed", ["the root / could not be listed"])


async def test_a_root_that_is_not_there_fails_the_run(site: Planted):
    await site.hold({"/a/f": b"1"})
    outcome = await site.check(roots=["/a", "/z"])
    assert (outcome.report.state, outcome.report.reasons) == ("failed", ["the root /z is not there"])


async def test_a_run_beyond_its_limits_is_held_and_counts_when_it_is_released(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    tight = Limits(missing=KindLimits(files=0, fraction=1.0))
    held = await site.check(limits=tight)
    assert (held.report.state, held.report.breaches[0].bound) == ("held", "files")
    again = await site.check(NOW + DAY)
    assert again.confirmed.is_empty()  # what is held does not count


async def test_empty_directories_are_found_when_they_are_old(site: Planted):
    await site.hold({"/a/f": b"1"})
    for path in ("/void/deep", "/fresh"):
        os.makedirs(f"{site.root}{path}")
    for path in ("/void/deep", "/void"):
        os.utime(f"{site.root}{path}", (OLD, OLD))
    os.utime(f"{site.root}/fresh", (NOW, NOW))
    outcome = await site.check()
    assert [each.path for each in outcome.empty] == [b"/void/deep", b"/void"]
    assert outcome.report.empty_directories == 3


async def test_two_runs_never_work_on_one_site(site: Planted):
    await site.hold({"/a/f": b"1"})

    async def meanwhile() -> None:
        with pytest.raises(SiteBusy):
            await site.check()

    assert (await site.check(listers=[Meddling(site.root, b"/a", meanwhile)])).report.state == "done"


async def test_a_run_whose_site_was_taken_over_ends(site: Planted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("consistency.check.ALIVE_S", 0.05)
    await site.hold({"/a/f": b"1"})
    history = History(site.settings.database)

    async def stands_still() -> None:
        """As if the machine had slept, and another one had found nobody alive."""
        history.lock("site", "elsewhere/1/x", NOW + DAY)
        await asyncio.Event().wait()

    with pytest.raises(SiteBusy, match="elsewhere"):
        await site.check(listers=[Meddling(site.root, b"/a", stands_still)])
    assert [report.state for report in history.reports("site", 10)] == ["broken"]
    history.close()


@pytest.mark.parametrize("left", [None, "elsewhere/1/x"])
def test_of_many_runs_at_once_one_has_the_site(database: str, left: str | None):
    """Whether nobody had it, or one that was heard of too long ago."""
    histories = [History(database) for _ in range(6)]
    if left is not None:
        histories[0].lock("site", left, NOW - DAY)
    together = threading.Barrier(len(histories))

    def takes(number: int) -> bool:
        together.wait()
        try:
            histories[number].lock("site", f"here/{number}/x", NOW)
        except SiteBusy:
            return False
        return True

    with ThreadPoolExecutor(len(histories)) as threads:
        assert sum(threads.map(takes, range(len(histories)))) == 1
    for history in histories:
        history.close()


async def test_a_run_that_broke_goes_on_with_what_it_had_read(site: Planted):
    await plant(site, random.Random(1), 60)

    async def breaks() -> None:
        raise RuntimeError("as if killed")

    with pytest.raises(BaseException, match="unhandled errors"):
        await site.check(listers=[Meddling(site.root, b"/store", breaks)])
    outcome = await site.check()
    assert outcome.report.listing.resumed > 0
    assert site.found(outcome.report.run) == site.expected


async def test_a_report_is_the_same_for_the_same_findings(site: Planted):
    await plant(site, random.Random(2), 60)
    one, other = (await site.check()).report, (await site.check()).report
    assert one.run != other.run
    assert untimed(one) == untimed(other)
    assert listed(site, one.run) == listed(site, other.run)


def untimed(report: Report) -> bytes:
    """The bytes of a report without what tells two runs with the same findings apart: number, moment and durations."""
    listing, catalog = replace(report.listing, seconds=0.0), replace(report.catalog, seconds=0.0)
    return msgspec.json.encode(replace(report, run=0, began_at=0.0, seconds=0.0, listing=listing, catalog=catalog))


def listed(site: Planted, run: int) -> list[tuple[object, ...]]:
    """The findings of a run as they are listed, in order, without the run's number."""
    history = History(site.settings.database)
    try:
        return history.findings(run).select("path", "kind", "seen").rows()
    finally:
        history.close()


async def test_only_what_lies_below_the_roots_is_judged(site: Planted):
    await site.hold({"/a/f": b"1"})
    await site.register({"/b/elsewhere": b"1"})
    outcome = await site.check(roots=["/a"])
    assert site.found(outcome.report.run) == site.expected
    assert outcome.report.tally.expected.files == 1
