"""Real processes and servers that die in the middle of a check: what was read is used again, nothing is made up."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import xrootd
from grid import until
from planted import NOW, Planted, planted

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


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_server_that_dies_during_its_listing_makes_nothing_missing(tmp_path: Path, comes_back: bool):
    listing = ListingSettings(per_door=1, attempts=6, pause_s=0.3, timeout_s=20)
    with xrootd.running() as (server,):
        async with planted(tmp_path, limits=LIMITS, listing=listing) as site:
            site.root = server.data
            site.site = Site(name="site", lrc=site.site.lrc, doors=[Door(protocol="xrootd", url=f"{server.root}/")])
            await site.hold({f"/d{number}/f": b"1" for number in range(4)})

            def dies() -> None:
                server.stop()
                if comes_back:
                    asyncio.get_running_loop().call_later(0.5, server.start)

            movers = shelf.made()
            (lister,) = doors.listers(site.site, movers)
            outcome = await site.check(NOW, [Meddled(lister, dies)])
            await shelf.closed(movers)
            assert site.found(outcome.report.run) == site.expected
            assert outcome.report.state == ("done" if comes_back else "failed")
            assert outcome.report.listing.retries > 0
