"""A deletion: the witness is asked, PFNs are journalled, then unregistered, then files go, then empty directories.

No catalog ever points at a file that was removed here: first the names go, then the bytes. A file whose PFN another LFN
still stands for stays. Where the witness, the site whose copy must survive, does not vouch for its copy any more,
nothing goes, and the whole order is held. That a witness is asked stands in the journal before it is, so that two
deletions which are each other's witness do not both go on: the one that comes second waits, and then finds no witness.
"""

from __future__ import annotations

from contextlib import suppress

from fileops.carrying import Carrier, Done, parent
from fileops.lane import Claimed
from reploc.errors import NameInvalid
from reploc.sites import Door
from reploc.storage.faults import Absent, StorageFault
from reploc.storage.mover import Mover
from reploc.wire import Replica


class WitnessGone(StorageFault):
    """The copy that must survive is not there any more."""


class Deleting:
    """Carries out one deletion."""

    def __init__(self, carrier: Carrier, operation: Claimed) -> None:
        self._carrier = carrier
        self._operation = operation
        self._site = carrier.site(operation.lane.site)
        self._catalog = carrier.catalogs.of(operation.lane.site)

    async def run(self) -> Done:
        """Raises StorageFault, WitnessGone, LeaseLost or CancelAsked."""
        operation = self._operation
        known = await self._catalog.find(operation.lfn)
        if operation.lane.witness and (operation.step != "removing" or known is not None):
            await self._carrier.still_ours(operation, "asking", operation.pfns)
            await self._ask_witness()
        pfns = self._pfns(known)
        doors = {pfn: self._door(pfn) for pfn in pfns}
        await self._carrier.still_ours(operation, "removing", pfns)
        position = await self._catalog.unregister(operation.lfn)
        await self._carrier.still_ours(operation)
        removed = [await self._remove(pfn, *doors[pfn]) for pfn in pfns]
        words = "removed" if any(removed) else "there was no file"
        return Done(f"unregistered, {words}", position)

    async def _ask_witness(self) -> None:
        witness, lfn = self._operation.lane.witness, self._operation.lfn
        if witness == self._site.name:
            raise WitnessGone("permanent", f"{witness} cannot be the witness of a deletion at itself")
        known = await self._carrier.catalogs.of(witness).find(lfn)
        if known is None or not known.pfns:
            raise WitnessGone("permanent", f"the witness {witness} does not hold {lfn} any more")

    def _pfns(self, known: Replica | None) -> list[str]:
        """All PFNs of the LFN at the site: those that the catalog has, those of an attempt before this one, and where
        there are none, that which the site's rules give."""
        found = list(dict.fromkeys([*self._operation.pfns, *(known.pfns if known else ())]))
        if found:
            return found
        try:
            return [each.names.pfn(self._operation.lfn) for each in self._carrier.doors.of(self._site.name)][:1]
        except NameInvalid:
            return []

    def _door(self, pfn: str) -> tuple[Door, str]:
        found = self._carrier.doors.behind(self._site.name, pfn)
        if found is None:
            raise StorageFault("permanent", f"{pfn} is behind no door of {self._site.name} that has a mover here")
        return found

    async def _remove(self, pfn: str, door: Door, path: str) -> bool:
        """Removes one file, and the directories that are empty then; whether it was there."""
        if names := await self._catalog.names_of(pfn):
            raise StorageFault("permanent", f"{pfn} is kept: {names[0]} stands for it too")
        mover = self._carrier.mover(door)
        try:
            await self._carrier.ask(mover.remove(pfn), f"removing {pfn}")
        except Absent:
            return False
        await self._remove_empty(mover, pfn, path.count("/") - 1)
        return True

    async def _remove_empty(self, mover: Mover, pfn: str, levels: int) -> None:
        """Removes empty directories above a file, at most so many, so that the door's own stays."""
        directory = pfn
        with suppress(StorageFault):  # one that is not empty, or cannot be removed, stays, and those above it
            for _ in range(levels):
                directory = parent(directory)
                await self._carrier.ask(mover.remove_directory(directory), f"removing {directory}")
