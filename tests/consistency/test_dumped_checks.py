"""Whole runs over a dump that the site made: what is planted is found, and what a dump cannot tell is not judged."""

import bz2
import gzip
import lzma
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import zstandard
from planted import DAY, NOW, UNDECODABLE, Planted, plant, planted

from consistency.dumped import DumpSettings
from consistency.limits import KindLimits, Limits
from consistency.settings import ConsistencySettings
from reploc.errors import ConfigInvalid

WIDE = KindLimits(files=10_000, fraction=1.0, files_per_week=10_000)
LIMITS = Limits(missing=WIDE, orphan=WIDE, damaged=WIDE, empty_directories=WIDE)
#: The checker's clock: long after all that the tests write and register.
LATER = NOW + DAY
PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Planted]:
    async with planted(tmp_path, limits=LIMITS) as made:
        yield made


def told(path: Path, **changes) -> DumpSettings:
    return DumpSettings(site="site", file=str(path), **({"made_within_s": 3_600.0} | changes))


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_planted_is_found_in_a_dump_as_in_a_listing(site: Planted, tmp_path: Path, seed: int):
    print("seed", seed)
    await plant(site, random.Random(seed), 200)
    # A dump of lines cannot hold a name with a line break or a tab in it.
    site.expected["orphan"] -= {path for path in site.expected["orphan"] if b"\n" in path or b"\t" in path}
    site.dump(tmp_path / "dump.tsv", LATER)
    outcome = await site.check(LATER, dump=told(tmp_path / "dump.tsv"))
    assert outcome.report.state == "done", outcome.report.reasons
    assert site.found(outcome.report.run) == site.expected
    assert any(name in path for path in site.expected["orphan"] for name in UNDECODABLE)
    assert outcome.report.listing.doors == {str(tmp_path / "dump.tsv"): 1}


async def test_what_changed_since_a_dump_was_begun_is_not_judged(site: Planted, tmp_path: Path):
    """Files come and go between the dump and the check, on storage and in the catalog."""
    await site.hold({"/a/stays": b"1", "/a/goes": b"2", "/b/other": b"3"})
    site.dump(tmp_path / "dump.tsv", time.time())
    await site.hold({"/a/comes": b"4"})
    site.remove(b"/a/goes")
    await site.unregister("/a/goes")
    outcome = await site.check(time.time(), dump=told(tmp_path / "dump.tsv", made_within_s=0.0), grace_age_s=0.0)
    assert (outcome.report.state, outcome.report.reasons) == ("done", [])
    assert site.found(outcome.report.run) == site.expected
    assert outcome.report.tally.kinds["in-flux"].files >= 2


async def test_a_dump_that_the_log_of_changes_does_not_reach_back_to_is_not_believed(
    site: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lrc.change_log.append.__defaults__", (1,))
    await site.hold({"/a/f": b"1"})
    await site.hold({"/a/g": b"1"})
    site.dump(tmp_path / "dump.tsv", time.time())
    outcome = await site.check(time.time(), dump=told(tmp_path / "dump.tsv", made_within_s=DAY))
    assert outcome.report.state == "failed"
    assert "does not reach back to the dump" in outcome.report.reasons[0]


async def test_one_dump_confirms_nothing_twice_and_a_newer_one_does(site: Planted, tmp_path: Path):
    await site.hold({"/a/f": b"1"})
    await site.lose({"/a/lost": b"1"})
    site.dump(tmp_path / "dump-1.tsv", LATER)
    dump = told(tmp_path / "dump-*.tsv")
    runs = [await site.check(LATER + day * DAY, dump=dump) for day in range(3)]
    assert [run.confirmed.height for run in runs] == [0, 0, 0]
    site.dump(tmp_path / "dump-2.tsv", LATER + 3 * DAY)
    last = await site.check(LATER + 3 * DAY, dump=dump)
    assert last.confirmed["path"].to_list() == [b"/a/lost"]


@pytest.mark.parametrize("ending", PACKED)
async def test_a_compressed_dump_that_was_cut_short_is_not_believed(site: Planted, tmp_path: Path, ending: str):
    await site.hold({f"/a/{number}": b"1" for number in range(200)})
    path = tmp_path / f"dump.tsv{ending}"
    site.dump(path, LATER, PACKED[ending])
    assert (await site.check(LATER, dump=told(path))).report.state == "done"
    path.write_bytes(path.read_bytes()[:-9])
    os.utime(path, (LATER, LATER))
    outcome = await site.check(LATER, dump=told(path))
    assert (outcome.report.state, site.found(outcome.report.run)) == ("failed", site.expected)
    assert str(path) in outcome.report.reasons[0]


@pytest.mark.parametrize("ending", PACKED)
async def test_a_dump_whose_writer_was_killed_is_not_believed_however_well_it_is_packed(
    site: Planted, tmp_path: Path, ending: str
):
    await site.hold({"/a/f": b"1", "/a/g": b"12"})
    path = tmp_path / f"dump.tsv{ending}"
    path.write_bytes(PACKED[ending](b"/a/f\t1\t\t1\n/a/g\t2\t\t1"))
    os.utime(path, (LATER, LATER))
    outcome = await site.check(LATER, dump=told(path))
    assert outcome.report.state == "failed"
    assert "its last line does not end" in outcome.report.reasons[0]


@pytest.mark.parametrize(
    ("content", "moment", "changes", "reason"),
    [
        (b"/a/f\t1\t\t1\n/a/g\t1", LATER, {}, "its last line does not end"),
        (b"/a/f\tone\t\t1\n", LATER, {}, "dump.tsv"),
        (b"/a//f\t1\t\t1\n", LATER, {}, "another spelling"),
        (b"/a/../a/f\t1\t\t1\n", LATER, {}, "another spelling"),
        (b"a/f\t1\t\t1\n", LATER, {}, "does not begin with '/'"),
        (b"/data/a/f\t1\t\t1\n/other/g\t1\t\t1\n", LATER, {"prefix": "/data"}, "does not begin with b'/data'"),
        (b"/a/f\t1\t\t1\n", LATER - 8 * DAY, {}, "at most 604800 s are allowed"),
        (b"/a/f\t1\t\t1\n", LATER + DAY, {}, "in the future"),
        (b"", LATER, {}, "dump.tsv"),
        (None, LATER, {}, "there is no such dump"),
    ],
)
async def test_a_dump_that_cannot_be_right_fails_the_run_in_words(
    site: Planted, tmp_path: Path, content: bytes | None, moment: float, changes: dict, reason: str
):
    await site.hold({"/a/f": b"1"})
    path = tmp_path / "dump.tsv"
    if content is not None:
        path.write_bytes(content)
        os.utime(path, (moment, moment))
    outcome = await site.check(LATER, dump=told(path, **changes))
    assert outcome.report.state == "failed"
    assert reason in outcome.report.reasons[0]
    assert site.found(outcome.report.run) == site.expected


async def test_a_dump_of_another_site_counts_for_nothing(site: Planted, tmp_path: Path):
    await site.hold({f"/a/{number}": b"1" for number in range(5)})
    path = tmp_path / "dump.tsv"
    path.write_bytes(b"/b/g\t1\t\t1\n")
    os.utime(path, (LATER, LATER))
    outcome = await site.check(LATER, dump=told(path))
    assert outcome.report.state == "failed"
    assert "no file in common" in outcome.report.reasons[0]


async def test_only_what_lies_below_the_roots_is_looked_at_and_a_root_without_files_fails_the_run(
    site: Planted, tmp_path: Path
):
    await site.hold({"/a/f": b"1"})
    site.write(b"/b/orphan", b"1")
    site.dump(tmp_path / "dump.tsv", LATER)
    outcome = await site.check(LATER, dump=told(tmp_path / "dump.tsv"), roots=["/a"])
    assert site.found(outcome.report.run) == site.expected
    outcome = await site.check(LATER, dump=told(tmp_path / "dump.tsv"), roots=["/a", "/z"])
    assert outcome.report.reasons == ["the root /z is not there"]


def test_settings_name_the_dump_of_a_site_once_and_a_command_may_name_another(site: Planted):
    dump = DumpSettings(site="site", file="/dumps/*.tsv", prefix="/data")
    made = msgspec.structs.replace(site.settings, dumps=[dump])
    assert made.with_dump("site", "/x.tsv").dump("site") == msgspec.structs.replace(dump, file="/x.tsv")
    assert site.settings.with_dump("site", "/x.tsv").dump("site") == DumpSettings(site="site", file="/x.tsv")
    with pytest.raises(ConfigInvalid, match="'other' is not in the settings"):
        site.settings.with_dump("other", "/x.tsv")
    for wrong in ([dump, dump], [DumpSettings(site="other", file="/x")]):
        with pytest.raises(ValueError, match="once at the most"):
            ConsistencySettings(sites=made.sites, dumps=wrong)
    with pytest.raises(ValueError, match="holds no path"):
        DumpSettings(site="site", file="/x", fields=("size",))
