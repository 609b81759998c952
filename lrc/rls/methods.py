"""What a catalog answers at its RLS port: the methods of the Globus RLS, and those about the server itself."""

from __future__ import annotations

from lrc.catalog import Catalog
from lrc.rls.admin import Administration
from lrc.rls.attributes import Attributes
from lrc.rls.feed import RlsFeed
from lrc.rls.reads import Reads
from lrc.rls.writes import Writes
from lrc.settings import LrcSettings
from lrc.threads import Threads
from lrc.updater import Updater
from lrc.writer import Writer
from reploc import __version__, service
from reploc.rls.port import Methods, administer, require_admin
from reploc.rls.protocol import Request, StatsFlag, values


class LrcMethods:
    """The methods about the server, and the table of all."""

    def __init__(
        self,
        catalog: Catalog,
        threads: Threads,
        writer: Writer,
        updater: Updater,
        feed: RlsFeed,
        settings: LrcSettings,
    ) -> None:
        self._catalog = catalog
        self._updater = updater
        self._settings = settings
        self._reads = Reads(catalog, threads)
        self._writes = Writes(catalog, threads, writer)
        self._attributes = Attributes(catalog, threads, writer)
        self._feed = feed
        self._administration = Administration(feed, updater, settings)
        self._started = service.now()

    def methods(self) -> Methods:
        """The table of an LRC."""
        reads, writes = self._reads, self._writes
        return Methods(
            instant={
                b"lrc_get_pfn": reads.get_pfn,
                b"lrc_exists": reads.exists,
                b"lrc_mapping_exists": reads.mapping_exists,
            },
            slow={
                b"lrc_get_lfn": reads.get_lfn,
                b"lrc_get_pfn_wc": reads.get_pfn_wc,
                b"lrc_get_lfn_wc": reads.get_lfn_wc,
                b"lrc_get_pfn_bulk": reads.get_pfn_bulk,
                b"lrc_get_lfn_bulk": reads.get_lfn_bulk,
                b"lrc_exists_bulk": reads.exists_bulk,
                b"lrc_create": writes.create,
                b"lrc_add": writes.add,
                b"lrc_delete": writes.delete,
                b"lrc_renamelfn": writes.rename_lfn,
                b"lrc_renamepfn": writes.rename_pfn,
                b"lrc_create_bulk": writes.create_bulk,
                b"lrc_add_bulk": writes.add_bulk,
                b"lrc_delete_bulk": writes.delete_bulk,
                b"lrc_renamelfn_bulk": writes.rename_lfn_bulk,
                b"lrc_renamepfn_bulk": writes.rename_pfn_bulk,
                b"lrc_clear": self._clear,
                b"admin": self._admin,
                b"stats": self._stats,
                **self._attributes.methods(),
                **self._administration.methods(),
            },
            other_role="not RLI server",
        )

    async def _clear(self, request: Request) -> bytes:
        require_admin(self._settings.rls)
        return await self._writes.clear(request)

    async def _admin(self, request: Request) -> bytes:
        return administer(request, self._settings.rls, self._push)

    def _push(self) -> None:
        self._updater.push()
        self._feed.push()

    async def _stats(self, _: Request) -> bytes:
        """`stats`: the twelve values of later versions. A PFN counts once for each LFN that it stands under."""
        state, fed = self._catalog.state(), self._feed.status()
        flags = StatsFlag.LRC | StatsFlag.LRC_SENDS_FILTERS
        if not all(one.filters for one in fed.indexes):
            flags |= StatsFlag.LRC_SENDS_LISTS
        intervals = (int(fed.pace.filter_interval_s), int(fed.pace.list_interval_s))
        uptime_s = int(service.now() - self._started)
        counts = (state.lfns, state.mappings, state.mappings)
        return values([__version__, uptime_s, flags.value, *intervals, *counts, 0, 0, 0, 0])
