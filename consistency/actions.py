"""Acting on confirmed findings, each looked at once more just before: new copies, the trash, and empty directories.

*Missing and damaged*: first a durable order for a new copy where another site has one, then the mapping goes, so that
nobody is sent to a file that is not there. Where the file appeared meanwhile, or appears while its mapping goes, the
mapping stays or comes back. A file that no other site has goes to the list of lost files, and its mapping stays until a
person acknowledges the loss; where nobody can say whether another site has it, nothing is done.

*Orphans* are renamed into a trash area of the same storage, which no check enters, and removed from there after
`trash_s`. *Directories* that are empty and old are removed, the deepest first; one that is not empty any more stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from consistency.catalog import Paths
from consistency.check import Outcome
from consistency.doors import Opened
from consistency.history import History
from consistency.limits import Bounded
from consistency.report import ActionReport
from consistency.settings import ConsistencySettings
from reploc.client.lrc import LrcClient
from reploc.errors import ReplocError
from reploc.storage.faults import Absent, NotEmpty, StorageFault
from reploc.storage.mover import Stat
from reploc.wire import DeleteItem, LfnReplica, MappingItem

#: Failures that a report tells in words; all are counted as spared.
FAILURES_TOLD_MAX = 100


class OtherCopies(Protocol):
    """Who knows at which other sites a file is, and has it copied from there."""

    async def sites(self, lfn: str) -> list[str] | None:
        """The other sites that have the file; None where that cannot be said for certain."""
        ...

    async def order(self, file: LfnReplica, sources: Sequence[str]) -> None:
        """Has the file copied to this site, durably."""
        ...


@dataclass
class _Done:
    recopied: int = 0
    unregistered: int = 0
    lost: int = 0
    quarantined: int = 0
    removed_directories: int = 0
    emptied_from_trash: int = 0
    spared: int = 0
    failures: list[str] = field(default_factory=list)

    def failed(self, path: bytes, why: str) -> None:
        self.spared += 1
        if len(self.failures) < FAILURES_TOLD_MAX:
            self.failures.append(f"{path.decode(errors='backslashreplace')}: {why}")


class Actions:
    """Everything that a check does to one site. A failure of one file is told and leaves that file as it was."""

    def __init__(
        self,
        settings: ConsistencySettings,
        history: History,
        catalog: LrcClient,
        paths: Paths,
        door: Opened,
        others: OtherCopies | None,
        clock: Callable[[], float],
    ) -> None:
        """`others` is None where there are no file operations to ask for copies."""
        self._settings = settings
        self._history = history
        self._catalog = catalog
        self._paths = paths
        self._door = door
        self._others = others
        self._clock = clock
        self._done = _Done()

    async def act(self, outcome: Outcome) -> ActionReport:
        """Does what the settings allow about what is confirmed."""
        told, site = self._settings.actions, outcome.report.site
        for row in outcome.confirmed.to_dicts():
            path, kind = row["path"], row["kind"]
            if kind == "orphan" and told.orphans:
                await self._tried(path, partial(self._orphan, row, outcome.report.run, site))
            elif kind != "orphan" and told.missing:
                await self._tried(path, partial(self._lost, row, site))
        if told.empty_directories:
            for directory in outcome.empty:
                await self._tried(directory.path, partial(self._empty, directory.path, site))
        return self._report()

    async def empty_trash(self) -> ActionReport:
        """Removes for good what was moved to the trash `trash_s` ago or earlier."""
        trash = self._settings.actions.trash.encode()
        try:
            runs = await self._door.mover.listing(self._door.url(trash))
        except Absent:
            return self._report()
        for entry in runs:
            moved_at, _, _ = entry.name.partition("-")
            if moved_at.isdigit() and self._clock() - int(moved_at) >= self._settings.actions.trash_s:
                folder = trash + b"/" + entry.name.encode()
                await self._tried(folder, partial(self._remove_tree, folder))
        return self._report()

    async def forget(self, lfn: str, paths: Collection[bytes]) -> ActionReport:
        """Unregisters a file's mappings to paths where it is not any more."""
        file = await self._catalog.find(lfn)
        pfns = [pfn for pfn in file.pfns if self._paths.of(pfn) in paths] if file else []
        for path in [path for path in paths if await self._stat(path) is not None]:
            self._done.failed(path, "the file is there; its mapping stays")
            pfns = [pfn for pfn in pfns if self._paths.of(pfn) != path]
        if pfns:
            await self._catalog.delete([DeleteItem(lfn, pfn) for pfn in pfns])
            self._done.unregistered += len(pfns)
        return self._report()

    def _report(self) -> ActionReport:
        done = self._done
        return ActionReport(
            recopied=done.recopied,
            unregistered=done.unregistered,
            lost=done.lost,
            quarantined=done.quarantined,
            removed_directories=done.removed_directories,
            emptied_from_trash=done.emptied_from_trash,
            spared=done.spared,
            failures=done.failures,
        )

    async def _tried(self, path: bytes, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except StorageFault as wrong:
            self._done.failed(path, wrong.said)
        except ReplocError as wrong:
            self._done.failed(path, f"{wrong.code}: {wrong.detail}")

    def _count(self, site: str, kind: Bounded, path: bytes) -> None:
        self._history.note_done(site, kind, [path], self._clock())

    # ---- missing and damaged -----------------------------------------------------------------------------------------

    async def _lost(self, row: dict[str, object], site: str) -> None:
        path = row["path"]
        assert isinstance(path, bytes)
        lfn = row["lfn"].decode() if isinstance(row["lfn"], bytes) else ""
        file = await self._catalog.find(lfn) if lfn else None
        pfns = [pfn for pfn in file.pfns if self._paths.of(pfn) == path] if file else []
        if file is None or not pfns or await self._is_well(path, row, file):
            self._done.spared += 1
            return
        sources = await self._others.sites(lfn) if self._others else None
        if sources is None:
            self._done.failed(path, "nobody could say for certain which other sites have it")
        elif not sources:
            self._history.note_lost(site, path, lfn, file.size, self._clock())
            self._done.lost += 1
        else:
            await self._replace(path, file, pfns, sources, str(row["kind"]), site)

    async def _is_well(self, path: bytes, row: dict[str, object], file: LfnReplica) -> bool:
        """Whether the finding is no longer true: the file is there now, or the catalog says something else of it."""
        if file.size != row["size"]:
            return True
        now = await self._stat(path)
        if row["kind"] == "missing":
            return now is not None
        return now is not None and now.size != row["found_size"]

    async def _replace(
        self, path: bytes, file: LfnReplica, pfns: Sequence[str], sources: Sequence[str], kind: str, site: str
    ) -> None:
        assert self._others is not None
        await self._others.order(file, sources)
        self._done.recopied += 1
        await self._catalog.delete([DeleteItem(file.lfn, pfn) for pfn in pfns])
        self._done.unregistered += len(pfns)
        if kind == "missing" and await self._stat(path) is not None:
            # The new copy landed in between: its mapping was the one that went.
            again = [MappingItem(file.lfn, pfn, file.size, file.checksum, file.collection) for pfn in pfns]
            await self._catalog.put(again)
        self._count(site, "missing" if kind == "missing" else "damaged", path)

    async def _stat(self, path: bytes) -> Stat | None:
        try:
            return await self._door.mover.stat(self._door.url(path))
        except Absent:
            return None

    # ---- orphans and directories -------------------------------------------------------------------------------------

    async def _orphan(self, row: dict[str, object], run: int, site: str) -> None:
        path = row["path"]
        assert isinstance(path, bytes)
        now = await self._stat(path)
        if now is None or self._is_another(now, row) or await self._is_named(path):
            self._done.spared += 1
            return
        trash = self._settings.actions.trash.rstrip("/").encode()
        target = trash + b"/%d-%d" % (int(self._clock()), run) + path
        await self._door.mover.make_directory(self._door.url(target.rpartition(b"/")[0]))
        await self._door.mover.rename(self._door.url(path), self._door.url(target))
        self._done.quarantined += 1
        self._count(site, "orphan", path)

    def _is_another(self, now: Stat, row: dict[str, object]) -> bool:
        """Whether what is there now is not the file that was found, or too young to be judged."""
        young = now.modified_s is not None and now.modified_s > self._clock() - self._settings.grace_age_s
        return young or now.size != row["found_size"]

    async def _is_named(self, path: bytes) -> bool:
        """Whether the catalog has a mapping to a path after all, under any door's URL of it."""
        for pfn in self._paths.pfns(path):
            if (await self._catalog.lfns_page(pfn=pfn, limit=1)).lfns:
                return True
        return False

    async def _empty(self, path: bytes, site: str) -> None:
        try:
            await self._door.mover.remove_directory(self._door.url(path))
        except (Absent, NotEmpty):
            self._done.spared += 1
            return
        self._done.removed_directories += 1
        self._count(site, "empty-directories", path)

    async def _remove_tree(self, folder: bytes) -> None:
        for entry in await self._door.mover.listing(self._door.url(folder)):
            below = folder + b"/" + entry.name.encode(errors="surrogateescape")
            if entry.stat.directory:
                await self._remove_tree(below)
            else:
                await self._door.mover.remove(self._door.url(below))
                self._done.emptied_from_trash += 1
        await self._door.mover.remove_directory(self._door.url(folder))
