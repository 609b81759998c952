"""The sites' catalogs as operations ask and tell them: one client per site, and what many ask at once in one request.

Whatever a catalog answers badly leaves here as a fault of the destination that is tried again, but for what it refuses
about the file itself, which only a person can mend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fileops.gathered import Gathered
from reploc.client.lrc import LrcClient
from reploc.client.transport import Transport
from reploc.errors import DefinitionUnknown, ReplocError
from reploc.sites import Site
from reploc.storage.faults import Blame, StorageFault
from reploc.wire import DeleteItem, ItemError, MappingItem, Replica, Written

T = TypeVar("T")

#: Files in one request to a catalog.
ITEMS_MAX = 1_000


@dataclass(frozen=True)
class _Told:
    """What one item of a write came to: its error, or none, and the catalog's position."""

    position: int
    error: ItemError | None


class Catalog:
    """One site's catalog."""

    def __init__(self, site: Site, transport: Transport) -> None:
        self.site = site.name
        self.client = LrcClient(site.lrc, transport=transport, site=site.name)
        self._puts: Gathered[MappingItem, _Told] = Gathered(self._put, ITEMS_MAX)
        self._deletes: Gathered[str, _Told] = Gathered(self._delete, ITEMS_MAX)
        self._finds: Gathered[str, Replica | None] = Gathered(self._find, ITEMS_MAX)

    async def register(self, item: MappingItem) -> int:
        """Registers a copy; the catalog's position since then."""
        told = await self._asked(self._puts.ask(item))
        if told.error is not None:
            raise StorageFault("permanent", f"the catalog of {self.site}: {told.error.code}: {told.error.message}")
        return told.position

    async def unregister(self, lfn: str) -> int:
        """Removes all mappings of an LFN, which may be gone already; the catalog's position since then."""
        told = await self._asked(self._deletes.ask(lfn))
        if told.error is not None and told.error.code != "lfn-unknown":
            raise StorageFault("permanent", f"the catalog of {self.site}: {told.error.code}: {told.error.message}")
        return told.position

    async def find(self, lfn: str) -> Replica | None:
        """What the catalog holds of an LFN."""
        return await self._asked(self._finds.ask(lfn))

    async def names_of(self, pfn: str) -> list[str]:
        """The LFNs that a PFN stands under."""
        return (await self._asked(self.client.lfns_page(pfn=pfn, limit=1))).lfns

    async def _asked(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except ReplocError as wrong:
            blame: Blame = "transient" if wrong.retryable or wrong.status >= 500 else "permanent"
            raise StorageFault(blame, f"the catalog of {self.site}: {wrong.detail}") from wrong

    async def _put(self, items: list[MappingItem]) -> list[_Told]:
        return _told(await self.client.put(items), len(items))

    async def _delete(self, lfns: list[str]) -> list[_Told]:
        return _told(await self.client.delete([DeleteItem(lfn) for lfn in lfns]), len(lfns))

    async def _find(self, lfns: list[str]) -> list[Replica | None]:
        found = (await self.client.replicas(lfns)).replicas
        return [found.get(lfn) for lfn in lfns]


def _told(written: Written, count: int) -> list[_Told]:
    errors = {error.index: error for error in written.errors}
    return [_Told(written.position, errors.get(index)) for index in range(count)]


class Catalogs:
    """The catalogs of all sites."""

    def __init__(self, sites: Mapping[str, Site], transport: Transport) -> None:
        self._of = {name: Catalog(site, transport) for name, site in sites.items()}

    def of(self, site: str) -> Catalog:
        """The catalog of a site. Raises StorageFault: nobody knows the site."""
        catalog = self._of.get(site)
        if catalog is None:
            raise StorageFault("permanent", f"site {site} is not defined here")
        return catalog

    def client(self, site: str) -> LrcClient:
        """The client of a site's catalog, which raises errors of the tree. Raises DefinitionUnknown."""
        catalog = self._of.get(site)
        if catalog is None:
            raise DefinitionUnknown(f"site {site} is not defined here")
        return catalog.client
