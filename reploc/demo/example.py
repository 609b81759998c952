"""An index as a settings file describes it, on this machine: filled with real files, and every lookup checked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from reploc.client.resolve import Lookup
from reploc.commands.terminal import say
from reploc.demo.grid import REST_S, SITES, Grid
from reploc.demo.story import BATCH, DEADLINE_S, SHOWN_MAX, heading
from reploc.demo.truth import Expected, Opened, Verdict, judged
from reploc.errors import ReplocError


@dataclass
class Shown:
    """One showing: the grid, the account of the truth, and how a PFN is looked at."""

    grid: Grid
    truth: dict[str, Expected]
    look: Opened
    verdict: Verdict = field(default_factory=Verdict)

    async def told(self) -> None:
        """All acts after the files are registered."""
        collections = await self._collections() if self.grid.settings.compression == "collection" else {}
        heading(2, "Every file is looked up, and every copy checked" + (", by its collection" if collections else ""))
        await self._check(collections)
        asked = self.grid.parents if self.grid.parents.nodes else self.grid.settings
        if asked.redundancy > 1:
            heading(3, f"An index node is killed (SIGKILL); R = {asked.redundancy}")
            self.grid.processes[self.grid.asked[0]].kill()
            await self._check(collections)

    async def _collections(self) -> dict[str, str]:
        """The collection of each LFN, as the catalogs have it."""
        found: dict[str, str] = {}
        for site in SITES:
            async with self.grid.lrc(site) as catalog:
                async for totals in catalog.collections():
                    async for file in catalog.collection_files(totals.name):
                        found[file.lfn] = totals.name
        return found

    async def _check(self, collections: Mapping[str, str]) -> None:
        """Looks all names up until every answer is right, or time is up, and says how it went."""
        began = time.monotonic()
        verdict = await self._judged(collections)
        while verdict.wrong and time.monotonic() < began + REST_S:
            verdict = await self._judged(collections)
        self.verdict.add(verdict)
        mark = "✓" if not verdict.wrong else "✗"
        took = time.monotonic() - began
        say(f"   {mark} {verdict.right:,} of {len(self.truth):,} lookups right, {took:.1f} s after the first question")
        for wrong in verdict.wrong[:SHOWN_MAX]:
            say(f"     wrong: {wrong}")

    async def _judged(self, collections: Mapping[str, str]) -> Verdict:
        verdict = Verdict()
        of: dict[str | None, list[str]] = {}
        for lfn in self.truth:
            of.setdefault(collections.get(lfn), []).append(lfn)
        async with self.grid.index() as index:
            for collection, lfns in of.items():
                for start in range(0, len(lfns), BATCH):
                    asked = lfns[start : start + BATCH]
                    try:
                        found = await index.lookup(asked, DEADLINE_S, collection=collection)
                    except ReplocError:
                        found = Lookup({lfn: [] for lfn in asked}, asked, [], {}, {})
                    verdict.add(judged(self.truth, found, frozenset(), self.look))
        return verdict
