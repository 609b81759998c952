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
from consistency.catalog import Paths, Read
from consistency.checkpoint import Begun
from consistency.compare import CHANGES, FINDINGS, NO_CHANGES, Rules, compared
from consistency.dumped import Dump, DumpSettings
from consistency.gather import EmptyDirectory
from consistency.history import History
from consistency.holder import me
from consistency.intervals import Intervals
from consistency.limits import BOUNDED, Bounded, breaches, unbelievable
from consistency.listers.lister import Lister
from consistency.listing import Progress, Summary
from consistency.parts import Parts, compact, parts_for
from consistency.records import CATALOG, STORAGE
from consistency.report import CatalogReport, ListingReport, Report, RunState
from consistency.settings import ConsistencySettings
from consistency.sight import Listing, Looked, Sight
from consistency.tally import Tally, tally
from consistency.verdict import VERDICTS, confirmed, judged
from consistency.workplace import CatalogRead, Workplace
from reploc.errors import DumpUnfit, SiteBusy, Unavailable
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

    async def changes(self, after: int, since: float | None) -> Changes | None:
        """What it changed after a position, or where a moment is told since then, by its clock; None where it cannot
        say."""
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
        dump: DumpSettings | None = None,
    ) -> None:
        """`busy` are paths that are being worked on; `clock` tells seconds since the epoch; a `dump` takes the place of
        a listing."""
        self._site = site
        self._settings = settings
        self._history = history
        self._catalog = catalog
        self._listers = listers
        self._clock = clock
        self._progress = progress
        self._busy = Intervals(busy)
        self._dump = dump
        self._within = Intervals(root.encode() for root in settings.roots)
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
            except DumpUnfit as wrong:
                outcome = Outcome(self._ended(run, "failed", began, wrong.detail), VERDICTS.to_frame(), [])
            except BaseException as wrong:
                self._ended(run, "broken", began, str(wrong) or type(wrong).__name__)
                raise
            self._place.end()
            return outcome

    def _ended(self, run: int, state: RunState, began: float, reason: str) -> Report:
        """Records a run that came to nothing."""
        report = Report(run, self._site.name, state, began, self._clock() - began, reasons=[reason])
        self._history.end(report, VERDICTS.to_frame(), counts=False)
        return report

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keeps other runs from the site, and says again and again that this one is alive."""
        holder, running = me(), asyncio.current_task()
        assert running is not None
        self._history.lock(self._site.name, holder, self._clock())

        async def alive() -> None:
            while True:
                await asyncio.sleep(ALIVE_S)
                try:
                    self._history.lock(self._site.name, holder, self._clock())
                except SiteBusy:
                    running.cancel()  # this run stood still for so long that another one has taken the site
                    raise
                except Unavailable:
                    continue  # others wait for a while before they take a site

        task = asyncio.create_task(alive())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._history.unlock(self._site.name, holder)

    async def _checked(self, run: int, began: float) -> Outcome:
        sight = self._sight(began)
        said, read, before = await self._first_reading(began)
        with Parts(self._place.folder / "storage", STORAGE, said.parts) as storage:
            looked = await sight.see(read, storage)
        changes, after = await self._since(said, sight)
        placed = await asyncio.to_thread(self._placed, changes, before, said.parts, sight)
        young_from = int(sight.began_at - self._settings.grace_age_s)
        rules = Rules(young_from, looked.gathered.unknown, self._excluded, self._busy, self._within)
        results = await asyncio.to_thread(
            self._compared, said.parts, before, storage, after, placed, rules, sight.began_at
        )
        catalog = CatalogReport(
            position=said.position,
            mappings=read.mappings,
            foreign=read.foreign,
            first_foreign=read.first_foreign,
            changes=len(placed),
            read_twice=after is not None,
        )
        return self._judged(run, began, catalog, looked, *results)

    def _sight(self, began: float) -> Sight:
        """How the storage is seen. Raises DumpUnfit."""
        if self._dump is not None:
            return Dump(self._dump, self._settings.roots, began, self._progress)
        begun = Begun(self._site.name, [root.encode() for root in self._settings.roots], began)
        return Listing(
            self._listers, self._settings.listing, self._place.journal, begun, self._excluded, self._progress
        )

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

    async def _since(self, said: CatalogRead, sight: Sight) -> tuple[Changes | None, Parts | None]:
        """What the catalog changed since it was read or the storage was first looked at, whichever came first; or where
        it cannot say so what it holds now. Raises DumpUnfit: what it holds now says nothing of the time of a dump."""
        of_before = sight.began_at < said.began_at
        since = sight.began_at - self._settings.clock_skew_s if of_before else None
        changes = await self._catalog.changes(said.position, since)
        if changes is not None:
            return changes, None
        if of_before:
            age = said.began_at - sight.began_at
            raise DumpUnfit(f"the catalog's log of changes does not reach back to the dump, begun {age:.0f} s before")
        with Parts(self._place.folder / "after", CATALOG, said.parts) as after:
            await catalogs.read(self._catalog.files(), self._paths, after)
        return None, after

    def _placed(self, changes: Changes | None, before: Parts, parts: int, sight: Sight) -> pl.DataFrame:
        """Changes by path, with whether they came after the path was looked at, in the columns of CHANGES."""
        if changes is None or not changes.moments:
            return NO_CHANGES
        moments = pl.DataFrame({"lfn": list(changes.moments), "at": list(changes.moments.values())})
        was = pl.concat([before.part(number).join(moments, on="lfn", how="semi") for number in range(parts)])
        gone = pl.concat([was.select("path", "lfn"), self._expected(changes.moments)]).unique("path", keep="first")
        gone = gone.join(changes.now, on="path", how="anti").with_columns(present=pl.lit(False))
        rows = pl.concat([changes.now.with_columns(present=pl.lit(True)), gone], how="diagonal").join(moments, on="lfn")
        listed = sight.moments(rows["path"].to_list())
        seen_at = pl.Series([listed.get(path) for path in rows["path"]], dtype=pl.Float64)
        return rows.with_columns(
            in_flux=(rows["at"] >= seen_at - self._settings.clock_skew_s).fill_null(True),
            young=rows["at"] >= sight.began_at - self._settings.grace_age_s,
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
        catalog: CatalogReport,
        looked: Looked,
        total: Tally,
        verdicts: pl.DataFrame,
    ) -> Outcome:
        limits, site = self._settings.limits, self._site.name
        listed, found = looked.summary, looked.gathered
        sure = confirmed(verdicts, self._settings.confirmation)
        old = [each for each in found.empty if self._is_old(each, began)]
        counts: dict[Bounded, int] = {kind: total.kinds[kind].files for kind in FINDINGS if kind in BOUNDED}
        counts["empty-directories"] = len(old)
        reasons = [f"the root {root.decode()} is not there" for root in listed.absent_roots]
        reasons += [f"the root {root.decode()} could not be listed" for root in listed.failed_roots]
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
        self._history.end(report, verdicts, counts=state == "done", held=old if state == "held" else ())
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
