"""Real processes and servers that die in the middle of a check: what was read is used again, nothing is made up."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import xrootd
from grid import until
from planted import NOW, Planted, planted
from xrootd import XrootdServer

from consistency import doors
from consistency.limits import KindLimits, Limits
from consistency.listers.lister import Answer, Lister
from consistency.listing import ListingSettings
from reploc.sites import Door, Site
from reploc.storage import shelf

WIDE = KindLimits(files=10_000, fraction=1.0, files_per_week=10_000)
LIMITS = Limits(missing=WIDE, orphan=WIDE, damaged=WIDE, empty_directories=WIDE)
DIRECTORIES = 12_000


async def test_a_check_that_is_killed_goes_on_where_it_was(tmp_path: Path):
    async with planted(tmp_path, limits=LIMITS) as site:
        await site.hold({f"/d{number:05d}/f": b"1" for number in range(DIRECTORIES)})
        await site.lose({"/d00001/lost": b"1", "/d11999/lost": b"1"})
        command = [*_command(site, tmp_path), "--json"]
        journal = tmp_path / "state" / "site" / "journal"
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:

            async def listed() -> int:
                assert running.poll() is None, "the check ended before it was killed"
                return journal.stat().st_size if journal.exists() else 0

            await until(listed, lambda size: size > 10_000, "some directories are in the journal")
            running.send_signal(signal.SIGKILL)
        again = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        report = json.loads(again.stdout)
        assert report["listing"]["resumed"] > 0
        assert site.found(report["run"]) == site.expected
        assert not journal.exists()


def _command(site: Planted, folder: Path) -> list[str]:
    config = folder / "settings.toml"
    config.write_text(
        f"""
state = "{site.settings.state}"
database = "{site.settings.database}"
grace_age_s = 0
[limits.missing]
fraction = 1.0
[listing]
per_door = 1
[[sites]]
name = "site"
lrc = "{site.site.lrc}"
[[sites.doors]]
protocol = "posix"
url = "{site.root.as_uri()}"
"""
    )
    return [sys.executable, "-m", "reploc", "consistency", "check", "site", "--config", str(config)]


class Meddled:
    """A lister at which something happens before its second call."""

    batch = 1

    def __init__(self, lister: Lister, happens) -> None:
        self.door = lister.door
        self._lister = lister
        self._happens = happens
        self._calls = 0

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        self._calls += 1
        if self._calls == 2:
            self._happens()
        return await self._lister.look(directories)

    async def close(self) -> None:
        await self._lister.close()


@asynccontextmanager
async def behind(
    folder: Path, servers: Sequence[XrootdServer], listing: ListingSettings, directories: int
) -> AsyncIterator[tuple[Planted, list[Lister]]]:
    """A site whose storage is behind XRootD servers, with one file a directory and one that is lost; its listers."""
    async with planted(folder, limits=LIMITS, listing=listing) as site:
        site.root = servers[0].data
        told = [Door(protocol="xrootd", url=f"{server.root}/") for server in servers]
        site.site = Site(name="site", lrc=site.site.lrc, doors=told)
        await site.hold({f"/d{number}/f": b"1" for number in range(directories)})
        movers = shelf.made()
        yield site, list(doors.listers(site.site, movers))
        await shelf.closed(movers)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_server_that_dies_during_its_listing_makes_nothing_missing(tmp_path: Path, comes_back: bool):
    listing = ListingSettings(per_door=1, attempts=10 if comes_back else 4, pause_s=0.3, timeout_s=20)
    with xrootd.running() as (server,):
        async with behind(tmp_path, [server], listing, 4) as (site, (lister,)):

            def dies() -> None:
                server.stop()
                if comes_back:
                    asyncio.get_running_loop().call_later(0.5, server.start)

            outcome = await site.check(NOW, [Meddled(lister, dies)])
            assert site.found(outcome.report.run) == site.expected
            assert outcome.report.state == ("done" if comes_back else "failed")
            assert outcome.report.listing.retries > 0


@pytest.mark.parametrize("recovers", [True, False])
async def test_a_server_that_hangs_during_its_listing_is_given_up_after_its_time_and_asked_again(
    tmp_path: Path, recovers: bool
):
    """It takes connections and says nothing, as one does whose disks hang."""
    listing = ListingSettings(per_door=2, attempts=12 if recovers else 2, pause_s=0.2, timeout_s=3)
    with xrootd.running() as (server,):
        async with behind(tmp_path, [server], listing, 3) as (site, (lister,)):
            await site.lose({"/d0/lost": b"1"})

            def hangs() -> None:
                server.signal(signal.SIGSTOP)
                if recovers:
                    asyncio.get_running_loop().call_later(4, server.signal, signal.SIGCONT)

            outcome = await site.check(NOW, [Meddled(lister, hangs)])
            report = outcome.report
            assert report.listing.retries > 0
            if recovers:
                assert (report.state, report.listing.failed) == ("done", 0)
                assert site.found(report.run) == site.expected
            else:
                assert (report.state, report.listing.failed) == ("failed", 3)
                assert any("could not be listed" in reason for reason in report.reasons)
                assert report.tally.unchecked.files == report.tally.expected.files == 4
                assert site.found(report.run)["missing"] == set()


async def test_a_server_that_is_slow_all_the_time_is_waited_for(tmp_path: Path):
    """It works for a moment, and stands still for a longer one, over and over."""
    listing = ListingSettings(per_door=2, attempts=12, pause_s=0.2, timeout_s=20)
    with xrootd.running() as (server,):
        async with behind(tmp_path, [server], listing, 6) as (site, listers):
            await site.lose({"/d0/lost": b"1"})

            async def drags() -> None:
                while True:
                    server.signal(signal.SIGSTOP)
                    await asyncio.sleep(0.3)
                    server.signal(signal.SIGCONT)
                    await asyncio.sleep(0.05)

            dragging = asyncio.create_task(drags())
            outcome = await site.check(NOW, listers)
            dragging.cancel()
            assert (outcome.report.state, outcome.report.listing.failed) == ("done", 0)
            assert site.found(outcome.report.run) == site.expected


async def test_where_one_server_hangs_the_directories_are_asked_through_another(tmp_path: Path):
    listing = ListingSettings(per_door=1, attempts=6, pause_s=0.1, timeout_s=3)
    with xrootd.running(2) as servers:
        async with behind(tmp_path, servers, listing, 6) as (site, listers):
            shutil.copytree(servers[0].data, servers[1].data, dirs_exist_ok=True)
            await site.lose({"/d0/lost": b"1"})
            listers[0] = Meddled(listers[0], lambda: servers[0].signal(signal.SIGSTOP))
            outcome = await site.check(NOW, listers)
            assert (outcome.report.state, outcome.report.listing.failed) == ("done", 0)
            assert site.found(outcome.report.run) == site.expected
            assert outcome.report.listing.doors[listers[1].door] > outcome.report.listing.doors[listers[0].door]


async def test_names_that_a_server_cuts_are_neither_missing_nor_orphans(tmp_path: Path):
    listing = ListingSettings(attempts=2, pause_s=0.01)
    with xrootd.running() as (server,):
        async with behind(tmp_path, [server], listing, 30) as (site, listers):
            names = (f"/d0/{'n' * 255}", f"/d1/{'m' * 254}", "/d2/ both ", "/d2/a%20b,+")
            await site.hold(dict.fromkeys(names, b"1"))
            await site.lose({f"/d1/{'l' * 255}": b"1"})
            site.orphan(b"/d2/trail ")
            outcome = await site.check(NOW, listers)
            assert (outcome.report.state, outcome.report.listing.partial) == ("done", 1)
            assert site.found(outcome.report.run) == site.expected
            assert outcome.report.tally.kinds["unknown"].files == 1
