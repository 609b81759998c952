"""Consistency's chapter: a file removed behind the catalog's back and a planted one are found, and both mended."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any

from reploc.commands.terminal import say, shown_age
from reploc.demo import datasets
from reploc.demo.datasets import DatasetFile
from reploc.demo.grid import NODES, SITES
from reploc.demo.processes import finished
from reploc.demo.story import Act, Story, until

SITE = SITES[1]
PLANTED = "planted-by-hand.txt"
PLANTED_AGE_S = 3_600.0
#: A real site is looked at over days before anything is done; a story is told in seconds.
_SETTINGS = """
grace_age_s = 0.0
clock_skew_s = 0.0

[confirmation]
missing_runs = 1
orphan_runs = 1
min_run_spacing_s = 0.0

[limits.missing]
fraction = 0.1

[limits.orphan]
fraction = 0.1

[actions]
missing = true
orphans = true
"""


@dataclass
class Consistency:
    """The chapter: the story that it goes on with, and the files of its datasets."""

    story: Story
    files: list[DatasetFile]

    @property
    def acts(self) -> list[Act]:
        """What happens, in order."""
        return [("Consistency: a file is removed behind the catalog's back, another one planted", self._mended)]

    async def _mended(self) -> None:
        grid = self.story.grid
        storage = grid.storage[SITE]
        self._configure()
        lost = next(file for file in self.files if {SITE} < self.story.truth[file.lfn].pfns.keys())
        lost.path(storage).unlink()
        planted = storage / PLANTED
        planted.write_bytes(b"Nobody registered this.\n")
        # A file of the second in which a check begins is too young to be judged, whatever the grace.
        os.utime(planted, (time.time() - PLANTED_AGE_S,) * 2)
        say(f"   at {SITE}, {lost.lfn} is gone and {PLANTED} was planted; the catalog knows nothing of either")
        began = time.monotonic()
        report = await self._checked()
        self.story.claim(_found(report) == (1, 1, 0), "the check found one missing file, one orphan, nothing damaged")

        async def copied() -> bool:
            async with grid.lrc(SITE) as catalog:
                return lost.path(storage).is_file() and await catalog.find(lost.lfn) is not None

        await until(copied, f"{lost.lfn} to be copied to {SITE} again")
        say(f"   both were mended {shown_age(time.monotonic() - began)} after the check began")
        self.story.claim(
            lost.path(storage).read_bytes() == lost.data, "the missing file is on the disk again, as it was"
        )
        in_trash = [path for path in (storage / ".reploc-trash").rglob("*") if path.name.endswith(PLANTED)]
        self.story.claim(not planted.exists() and len(in_trash) == 1, "the planted file lies in the trash")
        report = await self._checked()
        nothing = _found(report) == (0, 0, 0) and report["state"] == "done"
        self.story.claim(nothing, f"a last check of {SITE} says that everything is consistent")
        await grid.settled()
        await self.story.check_all()

    def _configure(self) -> None:
        grid = self.story.grid
        home = grid.directory / "consistency"
        home.mkdir()
        nodes = ", ".join(f'"{grid.urls[node]}"' for node in NODES)
        (home / "consistency.toml").write_text(
            f'state = "{home / "state"}"\ndatabase = "sqlite:///{home / "runs.db"}"\n'
            f'fileops = "{grid.urls["fileops"]}"\nindex = [{nodes}]\n{_SETTINGS}{datasets.site_table(grid, SITE)}'
        )

    async def _checked(self) -> dict[str, Any]:
        """One run of the checker: its report."""
        grid = self.story.grid
        settings = grid.directory / "consistency" / "consistency.toml"
        said = await finished(["consistency", "check", SITE, "--config", str(settings), "--json"], grid.variables)
        report: dict[str, Any] = json.loads(said)
        return report


def _found(report: dict[str, Any]) -> tuple[int, ...]:
    """How many files a report has as missing, orphan and damaged."""
    kinds = report.get("tally", {}).get("kinds", {})
    return tuple(_files(kinds, kind) for kind in ("missing", "orphan", "damaged"))


def _files(kinds: dict[str, Any], kind: str) -> int:
    count: int = kinds.get(kind, {}).get("files", 0)
    return count
