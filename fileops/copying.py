"""A copy: transferred to a temporary name, verified there, renamed, and only then registered.

No catalog ever names a file that is not whole: what is registered was read back at the destination, by size and by
checksum. The fencing number is checked just before the file gets its name and just before it gets into the catalog.
Once it may have its name it is registered or removed, whatever happens: the step `placing` is in the journal before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from fileops import remains
from fileops.carrying import TIDY_S, Carrier, Done, parent, temporary
from fileops.doors import Way
from fileops.lane import Claimed
from fileops.remains import Remain
from reploc.errors import NameInvalid
from reploc.sites import Site
from reploc.storage.faults import Absent, StorageFault
from reploc.storage.mover import Copier, Mover, Progress, Stat, Transfer, streamed
from reploc.wire import MappingItem

#: How often a directory that vanished under a copy, because a deletion emptied it, is made again at once.
DIRECTORY_TRIES = 3


@dataclass(frozen=True)
class _Ends:
    """The two ends of a copy."""

    way: Way
    source: str
    target: str
    reader: Mover
    writer: Mover

    @property
    def through_us(self) -> bool:
        return not self.way.direct


class Copying:
    """Carries out one copy."""

    def __init__(self, carrier: Carrier, operation: Claimed) -> None:
        self._carrier = carrier
        self._operation = operation
        self._catalog = carrier.catalogs.of(operation.lane.site)
        self._size = operation.size
        self._checksum = operation.checksum
        self._arrived = 0
        #: Whether somebody else may go on with a transfer that was given up.
        self._late = False

    async def run(self) -> Done:
        """Raises StorageFault, LeaseLost or CancelAsked."""
        carrier, operation = self._carrier, self._operation
        source, target = carrier.site(operation.source), carrier.site(operation.lane.site)
        ends = self._ends(source, target)
        await self._require_agreement()
        if source.storage == "mss" and self._delegated(ends) is None:
            staged = ends.reader.bring_online(ends.source)
            await carrier.ask(staged, f"staging {ends.source}", "source", carrier.settings.stage_s)
        if self._size is None or self._checksum is None:
            await self._learn(ends)
        there = await self._there(ends)
        return await self._copied(ends) if there is None else there

    async def undo(self) -> Done:
        """Ends a copy that was cancelled when its file may have had its name: one that a catalog names stays, any other
        is removed."""
        operation, carrier = self._operation, self._carrier
        known = await self._catalog.find(operation.lfn)
        kept = known is not None and any(pfn in known.pfns for pfn in operation.pfns)
        await carrier.still_ours(operation)
        for pfn in operation.pfns:
            found = carrier.doors.behind(operation.lane.site, pfn)
            if found is None:
                raise StorageFault("permanent", f"{pfn} is behind no door of {operation.lane.site} any more")
            mover = carrier.mover(found[0])
            kept = kept or bool(await self._catalog.names_of(pfn))
            if not kept:
                with suppress(Absent):
                    await carrier.ask(mover.remove(pfn), f"removing {pfn}")
        if kept:
            return Done("cancelled when the catalog had it already: the copy stays")
        return Done("cancelled before it was registered: the file was removed", undone=True)

    # ---- before ------------------------------------------------------------------------------------------------------

    def _ends(self, source: Site, target: Site) -> _Ends:
        carrier, lfn = self._carrier, self._operation.lfn
        chosen = carrier.doors.way(source.name, target.name, self._operation.attempts)
        if chosen is None:
            raise StorageFault("permanent", f"no door of {source.name} and {target.name} has a mover here")
        try:
            pfns = chosen.source.names.pfn(lfn), chosen.target.names.pfn(lfn)
        except NameInvalid as wrong:
            raise StorageFault("permanent", wrong.detail) from wrong
        return _Ends(chosen, *pfns, carrier.mover(chosen.source.door), carrier.mover(chosen.target.door))

    async def _require_agreement(self) -> None:
        """What the destination's catalog says of the LFN already must be what is to be copied."""
        known = await self._catalog.find(self._operation.lfn)
        if known is None:
            return
        for what, ours, theirs in (
            ("size", self._size, known.size),
            ("checksum", self._checksum, known.checksum),
        ):
            if ours is not None and theirs is not None and ours != theirs and _comparable(ours, theirs):
                said = f"the catalog of {self._catalog.site} has {what} {theirs} of it; the order says {ours}"
                raise StorageFault("permanent", said)

    async def _there(self, ends: _Ends) -> Done | None:
        """The end of the copy where its file stands there already; None where it does not."""
        found = await self._stat(ends)
        if found is None:
            return None
        wrong = await self._fault(ends.writer, ends.target, found)
        if wrong is None:
            return await self._registered(ends, "the file was there already", placed=False)
        if self._carrier.settings.overwrite == "hold":
            raise StorageFault("permanent", f"another file stands at {ends.target}: {wrong}")
        return None

    async def _stat(self, ends: _Ends) -> Stat | None:
        try:
            return await self._carrier.ask(ends.writer.stat(ends.target), f"looking for {ends.target}")
        except Absent:
            return None

    # ---- the transfer ------------------------------------------------------------------------------------------------

    async def _copied(self, ends: _Ends) -> Done:
        operation = self._operation
        whole = ends.writer.appears_whole(ends.target)
        arriving = ends.target if whole else temporary(ends.target, operation.fence, operation.lfn)
        loop = asyncio.get_running_loop()
        began = loop.time()
        if whole:
            await self._carrier.still_ours(operation, "placing", self._named(ends.target))
        try:
            await self._transfer(ends, arriving)
            seconds = loop.time() - began
            await self._verify(ends, arriving)
            if not whole:
                await self._place(ends, arriving)
        except BaseException:
            await asyncio.shield(self._give_up(ends, arriving))
            raise
        done = await self._registered(ends, f"copied from {operation.source}", placed=True)
        return Done(done.words, done.position, self._size or self._arrived, seconds)

    async def _transfer(self, ends: _Ends, arriving: str) -> None:
        """Copies the bytes, in a directory that may vanish under it when a deletion empties it."""
        for attempt in range(DIRECTORY_TRIES):
            made = ends.writer.make_directory(parent(arriving))
            await self._carrier.ask(made, f"making the directory of {ends.target}")
            try:
                await self._moved(ends, arriving)
            except Absent as fault:
                if fault.blame == "source" or attempt + 1 == DIRECTORY_TRIES:
                    raise
            else:
                return

    async def _moved(self, ends: _Ends, arriving: str) -> None:
        """Copies the bytes, as long as they come: within a time for the whole, and between two signs of progress."""
        settings, operation = self._carrier.settings, self._operation
        staging = self._delegated(ends) is not None and self._carrier.site(operation.source).storage == "mss"
        stage_s = settings.stage_s if staging else 0.0
        key = f"{operation.id}.{operation.fence}"
        transfer = Transfer(ends.source, arriving, self._size, self._checksum, key, stage_s)
        patience = settings.stall_s + (self._size or 0) / settings.rate_min + stage_s
        now = asyncio.get_running_loop().time
        end = now() + patience
        stall_s = settings.stall_s if self._tells(ends) else patience

        def progress(arrived: int) -> None:
            if arrived != self._arrived and not limit.expired():
                self._arrived = arrived
                limit.reschedule(min(end, now() + stall_s))

        try:
            async with asyncio.timeout(min(stall_s, patience)) as limit:
                await self._copy(ends, transfer, progress)
        except TimeoutError as wrong:
            if not limit.expired():
                raise
            what = f"not done within {patience:g} s" if now() >= end else f"nothing arrived for {stall_s:g} s"
            raise StorageFault("transient", f"{ends.source} → {ends.target}: {what}") from wrong

    async def _copy(self, ends: _Ends, transfer: Transfer, progress: Progress) -> None:
        """By a service that copies are delegated to, else from storage to storage, else through this machine."""
        copier = self._delegated(ends)
        try:
            if ends.through_us:
                await streamed(ends.reader, ends.writer, transfer, progress)
            elif copier is not None:
                await copier.copy(transfer, progress)
            else:
                await ends.writer.copy(transfer, progress)
        except BaseException as wrong:
            given_up = isinstance(wrong, asyncio.CancelledError)
            self._late = not ends.through_us and (given_up or copier is not None)
            raise

    def _delegated(self, ends: _Ends) -> Copier | None:
        copier, protocol = self._carrier.copier, ends.way.target.door.protocol
        return copier if copier is not None and ends.way.direct and protocol in copier.protocols else None

    def _tells(self, ends: _Ends) -> bool:
        """Whether a copy tells how many bytes have arrived while it is under way."""
        return ends.through_us or (ends.writer.tells_progress and self._delegated(ends) is None)

    # ---- after -------------------------------------------------------------------------------------------------------

    async def _verify(self, ends: _Ends, arriving: str) -> None:
        """Raises StorageFault where what arrived is not what was to be copied; the source's where it is wrong there."""
        found = await self._carrier.ask(ends.writer.stat(arriving), f"looking at {arriving}")
        wrong = await self._fault(ends.writer, arriving, found)
        if wrong is None:
            return
        there = await self._carrier.ask(ends.reader.stat(ends.source), f"looking at {ends.source}", "source")
        at_source = await self._fault(ends.reader, ends.source, there)
        if at_source is not None:
            raise StorageFault("source", f"{ends.source} is not what it should be: {at_source}")
        raise StorageFault("transient", f"{ends.source} arrived damaged: {wrong}")

    async def _learn(self, ends: _Ends) -> None:
        """What nobody said of the file, the source says."""
        carrier = self._carrier
        if self._size is None:
            there = await carrier.ask(ends.reader.stat(ends.source), f"looking at {ends.source}", "source")
            self._size = there.size
        if self._checksum is None:
            asked = ends.reader.checksum(ends.source, carrier.settings.checksum)
            self._checksum = await carrier.ask(asked, f"checksum of {ends.source}", "source", self._checksum_s)

    async def _fault(self, mover: Mover, url: str, found: Stat) -> str | None:
        """What is wrong with a file, None where it is as it should be."""
        if found.directory:
            raise StorageFault("permanent", f"{url} is a directory")
        if self._size is not None and found.size != self._size:
            return f"it has {found.size:,} bytes instead of {self._size:,}"
        if self._checksum is None:
            return None
        asked = mover.checksum(url, self._checksum.partition(":")[0])
        checksum = await self._carrier.ask(asked, f"checksum of {url}", seconds=self._checksum_s)
        return None if checksum == self._checksum else f"it has {checksum} instead of {self._checksum}"

    @property
    def _checksum_s(self) -> float:
        settings = self._carrier.settings
        return settings.storage_s + (self._size or 0) / settings.checksum_rate_min

    async def _place(self, ends: _Ends, arriving: str) -> None:
        """Gives the file its name, unless another one appeared there meanwhile that must not be replaced."""
        await self._require_none_meanwhile(ends)
        await self._carrier.still_ours(self._operation, "placing", self._named(ends.target))
        await self._carrier.ask(ends.writer.rename(arriving, ends.target), f"renaming to {ends.target}")

    async def _require_none_meanwhile(self, ends: _Ends) -> None:
        """Raises StorageFault where a file appeared at the target that must not be replaced: one that the catalog now
        says something else of, or any other where files are not replaced."""
        found = await self._stat(ends)
        if found is None:
            return
        await self._require_agreement()
        if self._carrier.settings.overwrite == "replace":
            return
        if wrong := await self._fault(ends.writer, ends.target, found):
            raise StorageFault("permanent", f"another file appeared at {ends.target}: {wrong}")

    def _named(self, pfn: str) -> list[str]:
        """The PFNs that files of this operation may stand under: attempts may have gone through other doors."""
        return list(dict.fromkeys([*self._operation.pfns, pfn]))

    async def _registered(self, ends: _Ends, words: str, *, placed: bool) -> Done:
        operation = self._operation
        await self._carrier.still_ours(operation, "placing", self._named(ends.target))
        item = MappingItem(operation.lfn, ends.target, self._size, self._checksum, operation.collection)
        try:
            position = await self._catalog.register(item)
        except StorageFault as fault:
            if fault.blame == "permanent" and placed and not await self._catalog.names_of(ends.target):
                await self._tidy(ends.writer, ends.target)  # what no catalog will name must not stay
            raise
        return Done(words, position)

    async def _give_up(self, ends: _Ends, arriving: str) -> None:
        """Removes what is left of a transfer; what cannot be removed now, or may come later, is swept. Raises LeaseLost
        where it has its last name already, which is somebody else's by now."""
        operation, ledger = self._operation, self._carrier.ledger
        if arriving == ends.target:
            await self._carrier.still_ours(operation)
        gone = await self._tidy(ends.writer, arriving)
        if arriving != ends.target and (self._late or not gone):
            left = Remain(operation.id, operation.fence, operation.lane.site, operation.lfn, ledger.now())
            await ledger.do(remains.note, [left])

    async def _tidy(self, mover: Mover, url: str) -> bool:
        """Removes a file, as well as can be; whether it is gone."""
        try:
            async with asyncio.timeout(TIDY_S):
                await mover.remove(url)
        except Absent:
            return True
        except (StorageFault, TimeoutError):
            return False
        return True


def _comparable(one: object, other: object) -> bool:
    """Whether two sizes, or two checksums of the same algorithm, can be told apart."""
    return str(one).partition(":")[0] == str(other).partition(":")[0] or not isinstance(one, str)
