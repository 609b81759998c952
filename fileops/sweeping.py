"""Removes what copies left behind under temporary names, in the end: whoever made them is gone, or goes on elsewhere.

Each attempt that `fileops/remains.py` has is looked for behind every door of its site, since nobody knows which one it
took. What is found goes. One look is not enough: a server may go on with a copy that we gave up, and an FTS3 server
may begin it hours later. So looks go on, ever more rarely, until the attempt is `late_s` old, and beyond that until
the storage has answered. A site that is not ready, or does not answer, is left alone until the next look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby

from fileops import remains, submissions
from fileops.carrying import Carrier, temporary
from fileops.remains import Remain
from reploc import telemetry
from reploc.errors import NameInvalid
from reploc.storage.faults import Absent, StorageFault
from reploc.telemetry import Metrics


class Sweeping:
    """The duty of a runner to remove what attempts left."""

    def __init__(self, carrier: Carrier, metrics: Metrics) -> None:
        self._carrier = carrier
        self._ledger = carrier.ledger
        self._removed = metrics.counter("reploc_remains_removed", "Files of copies that were given up, removed later")

    async def run_once(self) -> float:
        """Looks after what is due; sites side by side, each file by file."""
        settings = self._carrier.settings
        now = self._ledger.now()
        due = await self._ledger.do(remains.take, now, settings.sweep_s)
        drained = await self._ledger.read(submissions.drained) if due else frozenset()
        by_site = groupby(sorted(due, key=lambda each: each.site), key=lambda each: each.site)
        sites = [(name, list(group)) for name, group in by_site if not drained & {name, ""}]
        clean = await asyncio.gather(*(self._sweep(*each) for each in sites))
        over = [each for some in clean for each in some if now - each.since_s >= settings.late_s]
        if over:
            await self._ledger.do(remains.forget, over)
        return 0.0 if len(due) == remains.TURN_MAX else settings.sweep_s

    async def _sweep(self, site: str, attempts: Sequence[Remain]) -> list[Remain]:
        """The attempts that nothing is left of, or whose site nobody knows any more; none from the first on that the
        site gave no answer about."""
        known = self._carrier.sites.get(site)
        if known is None:
            telemetry.event("remains.unreachable", site=site, attempts=len(attempts))
            return list(attempts)
        clean: list[Remain] = []
        if known.status != "ready":
            return clean
        for each in attempts:
            try:
                await self._remove(each)
            except StorageFault as fault:
                telemetry.event("remains.unswept", site=site, lfn=each.lfn, detail=fault.said)
                break
            clean.append(each)
        return clean

    async def _remove(self, attempt: Remain) -> None:
        """Removes what an attempt left, behind whichever door. Raises StorageFault: it cannot be told or done."""
        for door in self._carrier.doors.of(attempt.site):
            mover = self._carrier.mover(door.door)
            try:
                url = temporary(door.names.pfn(attempt.lfn), attempt.fence, attempt.lfn)
                if mover.appears_whole(url):
                    continue
                await self._carrier.ask(mover.remove(url), f"removing {url}")
            except (NameInvalid, Absent):
                continue
            self._removed.inc()
            telemetry.event("remains.removed", operation=attempt.operation, url=url)
