"""Placement's chapter: detox brings an over-full site below its watermark, and the dealer copies what is read much.

A placement service and file operations are started beside the grid. What they decide is not known beforehand; whether
it is right is judged by the files on the disk alone, and then by lookups.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from reploc.client.calls import Calls
from reploc.commands.terminal import Exit, say, shown_age
from reploc.demo import datasets
from reploc.demo.datasets import HELD, POPULAR, DatasetFile
from reploc.demo.grid import SITES
from reploc.demo.processes import ended, finished
from reploc.demo.story import Act, Story, until
from reploc.errors import Internal
from reploc.wire import Answer

PARTITION = "Physics"
#: The over-full site, as a share of its quota, and the two watermarks.
FULL, ABOVE, BELOW = 0.95, 0.90, 0.70
#: How often the popular dataset was just read: for a third of it each the dealer wants a copy, three in all.
ACCESSES = 9
#: The other sites' quotas in that of the over-full one: a dataset is less than the share of it that may be on its way.
ROOMY = 20
_POLICY = f"""\
Partition {PARTITION}

On site.storage_type == DISK
When site.occupancy > {ABOVE:.0%}
Until site.occupancy < {BELOW:.0%}

Protect replica.is_last_copy
Dismiss replica.full
Protect

Order decreasing replica.size
"""


class _Pending(Answer, frozen=True):
    """What the chapter asks of placement's status: orders whose end has not been observed."""

    pending_orders: int


class _Service(Calls):
    """The placement service, as far as the chapter asks it."""

    async def pending(self) -> int:
        return (await self._get("/v1/status", _Pending)).pending_orders


@dataclass
class Placement:
    """The chapter: the story that it goes on with, and the files of its datasets."""

    story: Story
    files: list[DatasetFile]

    @property
    def acts(self) -> list[Act]:
        """What happens, in order."""
        return [
            (f"Detox: {SITES[0]} is above its watermark", self._detox),
            ("Dealer: a popular dataset gets more copies", self._dealer),
        ]

    async def _detox(self) -> None:
        grid = self.story.grid
        await datasets.laid_out(grid, self.files)
        self.story.truth = datasets.on_disk(grid, self.files)
        await grid.settled()
        quota = int(self._bytes_at(SITES[0]) / FULL)
        await self._start(quota)
        say(f"   {len(HELD)} datasets, {len(self.files)} files; {SITES[0]} holds all: {FULL:.0%} of its quota")
        began = time.monotonic()
        await until(self._ordered, "detox to have news of every site, and to order")
        await self._carried_out()
        self.story.truth = datasets.on_disk(grid, self.files)
        gone = [dataset for dataset, sites in self._whole().items() if SITES[0] not in sites]
        say(f"   detox took {', '.join(gone) or 'nothing'} from {SITES[0]}, in {shown_age(time.monotonic() - began)}")
        share = self._bytes_at(SITES[0]) / quota
        self.story.claim(share < BELOW, f"{SITES[0]} is at {share:.0%} of its quota on the disk, below {BELOW:.0%}")
        self._claim_kept()
        await self.story.check_all()

    async def _dealer(self) -> None:
        grid = self.story.grid
        began = time.monotonic()
        before = self._whole()
        await until(self._dealt, "the dealer to have news of every site, and to order")
        await self._carried_out()
        self.story.truth = datasets.on_disk(grid, self.files)
        more = {dataset: sites - before[dataset] for dataset, sites in self._whole().items()}
        said = "; ".join(f"{dataset} to {', '.join(sorted(sites))}" for dataset, sites in more.items() if sites)
        say(f"   the dealer copied {said or 'nothing'}, in {shown_age(time.monotonic() - began)}")
        self.story.claim(self._whole()[POPULAR] == set(SITES), f"{POPULAR} lies on the disks of all three sites, whole")
        unread = [dataset for dataset in more if dataset != POPULAR and more[dataset]]
        self.story.claim(not unread, "nothing was copied that nobody reads")
        self._claim_kept()
        await self.story.check_all()

    # ---- services ------------------------------------------------------------------------------------------------

    async def _start(self, quota: int) -> None:
        """Starts the two services, and tells placement of the sites, the partition and the quota."""
        grid = self.story.grid
        home = grid.directory
        (home / "policy.txt").write_text(_POLICY)
        (home / "accesses.csv").write_text(f"dataset,at,accesses\n{POPULAR},{int(time.time())},{ACCESSES}\n")
        told = {
            "partitions": [{"name": PARTITION, "condition": f"dataset.name == {datasets.FOLDER}*"}],
            "quotas": [
                {"site": site, "partition": PARTITION, "quota": quota if site == SITES[0] else ROOMY * quota}
                for site in SITES
            ],
        }
        (home / "quotas.json").write_text(json.dumps(told))
        await grid.add(
            "placement",
            f'database = "sqlite:///{home / "placement" / "placement.db"}"\n'
            "pull_interval_s = 0.2\nsave_interval_s = 0.3\n"
            f'[attributes.popularity]\nrecords = "{home / "accesses.csv"}"\n'
            "[detox]\nmax_fraction_of_site = 0.9\n"
            f'[dealer]\npartition = "{PARTITION}"\n[dealer.plugins.popularity]\nthreshold = {ACCESSES / len(SITES)}\n'
            f"{grid.described}",
        )
        await grid.add(
            "fileops",
            f'journal = "sqlite:///{home / "fileops" / "journal.db"}"\nplacement = "{grid.urls["placement"]}"\n'
            f"poll_s = 0.2\n{''.join(datasets.site_table(grid, site) for site in SITES)}",
        )
        await self._asked(["sites", "import", str(home / "fileops" / "fileops.toml")])
        await self._asked(["inject", str(home / "quotas.json")])

    async def _asked(self, command: list[str]) -> None:
        """Runs a command of placement against the service."""
        grid = self.story.grid
        await finished(["placement", *command, "--placement", grid.urls["placement"]], grid.variables)

    async def _ordered(self) -> bool:
        """Runs detox; whether it could."""
        return await self._ran(["detox", "run", "--policy", str(self.story.grid.directory / "policy.txt")])

    async def _dealt(self) -> bool:
        """Runs the dealer; whether it could."""
        return await self._ran(["dealer", "run", "--seed", "1"])

    async def _ran(self, words: list[str]) -> bool:
        """Runs a cycle; whether it could: it could not while the service has no fresh news of every site."""
        settings = self.story.grid.directory / "placement" / "placement.toml"
        command = ["placement", *words, "--config", str(settings)]
        status, _, said = await ended(command)
        if status not in (Exit.DONE, Exit.FAILED):
            raise Internal(f"reploc {' '.join(command)} ended with status {status}: {said[-300:]}")
        return status == Exit.DONE

    async def _carried_out(self) -> None:
        async with _Service(self.story.grid.urls["placement"]) as service:

            async def observed() -> bool:
                return await service.pending() == 0

            await until(observed, "all orders to be carried out and observed")
        await self.story.grid.settled()

    # ---- the truth, from the disk --------------------------------------------------------------------------------

    def _bytes_at(self, site: str) -> int:
        truth = self.story.truth
        return sum(len(file.data) for file in self.files if site in truth[file.lfn].pfns)

    def _whole(self) -> dict[str, set[str]]:
        """The sites that hold all files of each dataset."""
        found = {dataset: set(SITES) for dataset in HELD}
        for file in self.files:
            found[file.dataset] &= self.story.truth[file.lfn].pfns.keys()
        return found

    def _claim_kept(self) -> None:
        whole = self._whole()
        self.story.claim(all(whole.values()), f"each of the {len(whole)} datasets has a whole copy on some disk")
