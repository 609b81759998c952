"""One run at one site: read the catalog, list the storage, see what changed, compare, and judge.

What is read first is the catalog: so a file that is written while the storage is listed is an orphan at most, which its
age and the catalog's changes protect, and never missing. After the listing the catalog tells what it changed since; one
that cannot is read a second time. Everything lies on disk in parts (`consistency/parts.py`), and a run that was killed
goes on with the catalog that it read and the directories that it listed (`consistency/workplace.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from consistency import catalog as catalogs
from consistency import gather
from consistency.catalog import Paths, Read
from consistency.checkpoint import Begun, Checkpoint
from consistency.compare import CHANGES, FINDINGS, NO_CHANGES, Rules, compared
from consistency.gather import EmptyDirectory, Gathered
from consistency.history import History
from consistency.holder import me
from consistency.intervals import Intervals
from consistency.limits import BOUNDED, Bounded, breaches, unbelievable
from consistency.listers.lister import Lister
from consistency.listing import Progress, Summary, Walk
from consistency.parts import Parts, compact, parts_for
from consistency.records import CATALOG, STORAGE
from consistency.report import CatalogReport, ListingReport, Report, RunState
from consistency.settings import ConsistencySettings
from consistency.tally import Tally, tally
from consistency.verdict import VERDICTS, confirmed, judged
from consistency.workplace import CatalogRead, Workplace
from reploc.sites import Site
from reploc.wire import LfnReplica

#: Seconds between two signs of life of a run.
ALIVE_S = 30.0


@dataclass(frozen=True)
class Changes:
    """What a catalog changed: each LFN with the moment of its last change (seconds since the epoch), and what the
    catalog says now of those that it still holds, in the columns of CATALOG."""

    moments: dict[bytes, float]
    now: pl.DataFrame


@dataclass(frozen=True)
class CatalogState:
    """Where a catalog is: its position, and how many mappings it holds."""

    position: int
    mappings: int


class Catalog(Protocol):
    """A site's catalog, as a run asks it."""

    async def state(self) -> CatalogState:
        """Its position and size."""
        ...

    def files(self) -> AsyncIterator[LfnReplica]:
        """All that it holds."""
        ...

    async def changes(self, since: int) -> Changes | None:
        """What it changed since a position; None where it cannot say."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its report, what it found, what is confirmed, and which directories are empty."""

    report: Report
    confirmed: pl.DataFrame
    empty: list[EmptyDirectory]


class Check:
    """One run; `run` it once."""

    def __init__(
        self,
        site: Site,
        settings: ConsistencySettings,
        history: History,
        catalog: Catalog,
        listers: Sequence[Lister],
        clock: Callable[[], float],
        progress: Progress,
        busy: Sequence[bytes] = (),
    ) -> None:
        """`busy` are paths that are being worked on; `clock` tells seconds since the epoch."""
        self._site = site
        self._settings = settings
        self._history = history
        self._catalog = catalog
        self._listers = listers
        self._clock = clock
        self._progress = progress
        self._busy = Intervals(busy)
        self._paths = Paths(site)
        self._place = Workplace(Path(settings.state), site.name)
        excluded = [*settings.excluded, settings.actions.trash]
        self._excluded = Intervals(path.encode() for path in excluded)

    async def run(self) -> Outcome:
        """The whole run, recorded. Raises SiteBusy; any other error leaves a `broken` run, to be gone on with."""
        began = self._clock()
        async with self._alone():
            run = self._history.begin(self._site.name, began)
            try:
                outcome = await self._checked(run, began)
            except BaseException as wrong:
                said = str(wrong) or type(wrong).__name__
                report = Report(run, self._site.name, "broken", began, self._clock() - began, reasons=[said])
                self._history.end(report, VERDICTS.to_frame(), counts=False)
                raise
            self._place.end()
            return outcome

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keeps other runs from the site, and says again and again that this one is alive."""
        holder = me()
        self._history.lock(self._site.name, holder, self._clock())

        async def alive() -> None:
            while True:
                await asyncio.sleep(ALIVE_S)
                self._history.lock(self._site.name, holder, self._clock())

        task = asyncio.create_task(alive())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._history.unlock(self._site.name, holder)

    async def _checked(self, run: int, began: float) -> Outcome:
        said, read, before = await self._first_reading(began)
        listed = await self._listed(began, read)
        changes, after = await self._since(said)
        with Parts(self._place.folder / "storage", STORAGE, said.parts) as storage:
            found = await asyncio.to_thread(gather.gather, self._place.journal, storage)
        placed = await asyncio.to_thread(self._placed, changes, before, said.parts, began)
        rules = Rules(int(began - self._settings.grace_age_s), found.unknown, self._excluded, self._busy)
        results = await asyncio.to_thread(self._compared, said.parts, before, storage, after, placed, rules, began)
        catalog = CatalogReport(
            position=said.position,
            mappings=read.mappings,
            foreign=read.foreign,
            first_foreign=read.first_foreign,
            changes=len(placed),
            read_twice=after is not None,
        )
        return self._judged(run, began, listed, catalog, found, *results)

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def _first_reading(self, now: float) -> tuple[CatalogRead, Read, Parts]:
        """The catalog as it was before the listing: read now, or by the run that was killed."""
        roots = self._settings.roots
        if (kept := self._place.begin(roots, now)) is not None:
            said, read = kept
            return said, read, self._place.catalog(said.parts)
        state = await self._catalog.state()
        parts = parts_for(state.mappings)
        with self._place.catalog(parts) as before:
            read = await catalogs.read(self._catalog.files(), self._paths, before)
        said = CatalogRead(
            now, state.position, parts, before.rows, read.mappings, read.foreign, read.first_foreign, roots
        )
        self._place.keep(said, read)
        return said, read, before

    async def _listed(self, now: float, read: Read) -> Summary:
        roots = [root.encode() for root in self._settings.roots]
        with Checkpoint(self._place.journal, Begun(self._site.name, roots, now)) as journal:
            walk = Walk(self._listers, self._settings.listing, journal, read.filled, self._excluded, self._progress)
            return await walk.run()

    async def _since(self, said: CatalogRead) -> tuple[Changes | None, Parts | None]:
        """What the catalog changed since it was read, or where it cannot say so what it holds now."""
        changes = await self._catalog.changes(said.position)
        if changes is not None:
            return changes, None
        with Parts(self._place.folder / "after", CATALOG, said.parts) as after:
            await catalogs.read(self._catalog.files(), self._paths, after)
        return None, after

    def _placed(self, changes: Changes | None, before: Parts, parts: int, began: float) -> pl.DataFrame:
        """Changes by path, with whether they came after the path's directory was listed, in the columns of CHANGES."""
        if changes is None or not changes.moments:
            return NO_CHANGES
        moments = pl.DataFrame({"lfn": list(changes.moments), "at": list(changes.moments.values())})
        was = pl.concat([before.part(number).join(moments, on="lfn", how="semi") for number in range(parts)])
        gone = pl.concat([was.select("path", "lfn"), self._expected(changes.moments)]).unique("path", keep="first")
        gone = gone.join(changes.now, on="path", how="anti").with_columns(present=pl.lit(False))
        rows = pl.concat([changes.now.with_columns(present=pl.lit(True)), gone], how="diagonal").join(moments, on="lfn")
        listed = gather.listed_at(self._place.journal, rows["path"])
        seen_at = pl.Series([listed.get(path) for path in rows["path"]], dtype=pl.Float64)
        return rows.with_columns(
            in_flux=(rows["at"] >= seen_at - self._settings.clock_skew_s).fill_null(True),
            young=rows["at"] >= began - self._settings.grace_age_s,
        ).select(CHANGES.names())

    def _expected(self, lfns: Iterable[bytes]) -> pl.DataFrame:
        """Where the site's rules put LFNs: of one that came and went since the catalog was read nothing else tells."""
        found = [(path, lfn) for lfn in lfns if (path := self._paths.expected(lfn.decode())) is not None]
        return pl.DataFrame(found, schema={"path": pl.Binary, "lfn": pl.Binary}, orient="row")

    # ---- judging -----------------------------------------------------------------------------------------------------

    def _compared(
        self,
        parts: int,
        before: Parts,
        storage: Parts,
        after: Parts | None,
        changes: pl.DataFrame,
        rules: Rules,
        now: float,
    ) -> tuple[Tally, pl.DataFrame]:
        """The tally, and what is known from now on, by path."""
        with Parts(self._place.folder / "changes", CHANGES, parts) as changed:
            changed.add(changes)
        with Parts(self._place.folder / "known", VERDICTS, parts) as known:
            known.add(self._history.verdicts(self._site.name))
        total, verdicts = Tally(), []
        for number in range(parts):
            later = after.part(number) if after is not None else None
            rows = compared(before.part(number), storage.part(number), later, changed.part(number), rules)
            total += tally(rows)
            verdicts.append(compact(judged(rows, known.part(number), now, self._settings.confirmation)))
        return total, pl.concat(verdicts).sort("path")

    def _judged(
        self,
        run: int,
        began: float,
        listed: Summary,
        catalog: CatalogReport,
        found: Gathered,
        total: Tally,
        verdicts: pl.DataFrame,
    ) -> Outcome:
        limits, site = self._settings.limits, self._site.name
        sure = confirmed(verdicts, self._settings.confirmation)
        old = [each for each in found.empty if self._is_old(each, began)]
        counts: dict[Bounded, int] = {kind: total.kinds[kind].files for kind in FINDINGS if kind in BOUNDED}
        counts["empty-directories"] = len(old)
        reasons = [f"the root {root.decode()} is not there" for root in listed.absent_roots]
        reasons += unbelievable(total, len(found.unseen), limits)
        crossed = breaches(counts, total, listed.directories, self._history.done_this_week(site, began), limits)
        state: RunState = "failed" if reasons else "held" if crossed else "done"
        report = Report(
            run=run,
            site=site,
            state=state,
            began_at=began,
            seconds=round(self._clock() - began, 3),
            tally=total,
            listing=_listing(listed),
            catalog=catalog,
            empty_directories=len(found.empty),
            confirmed=dict(sorted(sure.group_by("kind").len().cast({"kind": pl.String}).iter_rows())),
            breaches=crossed,
            reasons=reasons or [str(each) for each in crossed],
        )
        self._history.end(report, verdicts, counts=state == "done")
        return Outcome(report, sure if state == "done" else sure.clear(), old if state == "done" else [])

    def _is_old(self, directory: EmptyDirectory, now: float) -> bool:
        """Whether an empty directory may go: old enough, no root, and not left out."""
        roots = {root.rstrip("/").encode() for root in self._settings.roots}
        young = directory.mtime is None or directory.mtime > now - self._settings.actions.empty_age_s
        return not young and directory.path not in roots and not self._excluded.covers(directory.path)


def _listing(listed: Summary) -> ListingReport:
    return ListingReport(
        directories=listed.directories,
        files=listed.files,
        others=listed.others,
        failed=listed.failed,
        partial=listed.partial,
        retries=listed.retries,
        resumed=listed.resumed,
        seconds=round(listed.seconds, 3),
        doors=dict(sorted(listed.doors.items())),
    )
