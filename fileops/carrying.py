"""What carrying out an operation needs: sites, movers, catalogs, journal, settings; and what may stop it on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from msgspec import Meta

from fileops.catalogs import Catalogs
from fileops.doors import Doors
from fileops.lane import Claimed, Standing
from fileops.ledger import Ledger
from fileops.operation import Step
from reploc import digest
from reploc.config import Settings
from reploc.sites import Door, Site
from reploc.storage.faults import Side, StorageFault
from reploc.storage.mover import Copier, Mover

T = TypeVar("T")

#: Seconds that tidying up after a copy that failed may take; what is left then is swept later.
TIDY_S = 30.0


class TransferSettings(Settings, frozen=True):
    """How long storage may take, and what is done about a file that is in the way."""

    storage_s: Annotated[
        float, Meta(description="Seconds that one question to a storage may take: stat, rename, remove.", gt=0)
    ] = 60.0
    stall_s: Annotated[float, Meta(description="A copy of which nothing arrived for so long has failed.", gt=0)] = 120.0
    rate_min: Annotated[
        float, Meta(description="A copy that comes to fewer bytes a second in all has failed.", gt=0)
    ] = 1e5
    checksum_rate_min: Annotated[
        float, Meta(description="Bytes a second that computing a checksum comes to at least.", gt=0)
    ] = 1e7
    stage_s: Annotated[float, Meta(description="Seconds that bringing a file online from tape may take.", gt=0)] = (
        86_400.0
    )
    sweep_s: Annotated[
        float,
        Meta(description="What a copy may have left is looked for again after so long; the pause doubles.", gt=0),
    ] = 10.0
    late_s: Annotated[
        float,
        Meta(description="A copy that was given up may leave something for so long: the longest life of a job.", gt=0),
    ] = 86_400.0
    overwrite: Annotated[
        Literal["replace", "hold"],
        Meta(description="What is done about another file that stands where a copy is to be."),
    ] = "replace"
    checksum: Annotated[
        Literal["adler32", "crc32", "md5", "sha1", "sha256", "sha512"],
        Meta(description="The checksum that both ends are asked for when none is known."),
    ] = "adler32"


class LeaseLost(Exception):
    """Somebody else has the operation: this one must not touch anything any more."""


class CancelAsked(Exception):
    """The operation is to be cancelled, and nothing was done yet that cannot be undone."""


@dataclass(frozen=True)
class Done:
    """An operation that came to its end: how, what travelled, and the catalog's position since then; `undone` is one
    that was cancelled and of which nothing is left."""

    words: str
    position: int = 0
    moved: int = 0
    seconds: float = 0.0
    undone: bool = False


@dataclass(frozen=True)
class Carrier:
    """What carries operations out."""

    sites: Mapping[str, Site]
    movers: Mapping[str, Mover]
    catalogs: Catalogs
    ledger: Ledger
    settings: TransferSettings
    doors: Doors
    copier: Copier | None = None

    def site(self, name: str) -> Site:
        """A site by name. Raises StorageFault: nobody knows it."""
        site = self.sites.get(name)
        if site is None:
            raise StorageFault("permanent", f"site {name} is not defined here")
        return site

    def mover(self, door: Door) -> Mover:
        """The mover of a door."""
        return self.movers[door.protocol]

    async def still_ours(self, operation: Claimed, step: Step = "", pfns: Sequence[str] = ()) -> None:
        """Just before what cannot be undone. Raises LeaseLost, CancelAsked, or StorageFault: not beside another one."""
        standing = await self.ledger.hold(operation, step, pfns)
        if standing is Standing.CANCELLED:
            raise CancelAsked
        if standing is Standing.LOST:
            raise LeaseLost
        if standing is Standing.OPPOSED:
            said = f"another deletion of {operation.lfn} goes on, at {operation.lane.witness} or with this site's copy"
            raise StorageFault("transient", f"{said} as its witness")

    async def ask(self, asked: Awaitable[T], what: str, side: Side = "destination", seconds: float | None = None) -> T:
        """What a storage answers, in time; its faults are those of one end. Raises StorageFault."""
        patience = self.settings.storage_s if seconds is None else seconds
        try:
            async with asyncio.timeout(patience):
                return await asked
        except StorageFault as fault:
            if fault.at(side) is fault:
                raise
            raise fault.at(side) from fault
        except TimeoutError as wrong:
            raise StorageFault("transient", f"{what}: no answer within {patience:g} s") from wrong


def temporary(pfn: str, fence: int, lfn: str) -> str:
    """The name of a copy that is not whole yet: beside the file, hidden, with the fencing number of its operation.

    The digest of the LFN keeps files of one claim apart, and journals that know nothing of each other, and the name
    short where the file's own is as long as can be.
    """
    return f"{parent(pfn)}/.reploc-{fence}-{int(digest.of([lfn])[0, 0]):016x}"


def parent(url: str) -> str:
    """The directory of a file."""
    return url.rpartition("/")[0]
