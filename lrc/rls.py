"""What a catalog answers at its RLS port: the methods of the Globus RLS, and those about the server itself.

The list of index nodes stands in the settings: requests that would change it are `unsupported`, in words.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from lrc.catalog import Catalog
from lrc.rls_attributes import Attributes
from lrc.rls_reads import Reads
from lrc.rls_writes import Writes
from lrc.settings import LrcSettings
from lrc.threads import Threads
from lrc.updater import Updater
from lrc.writer import Writer
from reploc import __version__, service
from reploc.rls_port import Methods, administer, require_admin
from reploc.rls_protocol import Code, Refused, Request, StatsFlag, listing, values
from reploc.wire import NodeProgress


class LrcMethods:
    """The methods about the server, and the table of all."""

    def __init__(
        self, catalog: Catalog, threads: Threads, writer: Writer, updater: Updater, settings: LrcSettings
    ) -> None:
        self._catalog = catalog
        self._updater = updater
        self._settings = settings
        self._reads = Reads(catalog, threads)
        self._writes = Writes(catalog, threads, writer)
        self._attributes = Attributes(catalog, threads, writer)
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
                b"lrc_rli_list": self._nodes,
                b"lrc_rli_info": self._node,
                b"lrc_rli_get_part": self._partitions,
                b"lrc_rli_add": _unsupported("index nodes stand in the settings"),
                b"lrc_rli_delete": _unsupported("index nodes stand in the settings"),
                b"admin": self._admin,
                b"stats": self._stats,
                b"get_configuration": self._configuration,
                b"set_configuration": _unsupported("settings stand in the file of the daemon"),
                **self._attributes.methods(),
            },
            other_role="not RLI server",
        )

    async def _clear(self, request: Request) -> bytes:
        require_admin(self._settings.rls)
        return await self._writes.clear(request)

    async def _admin(self, request: Request) -> bytes:
        return administer(request, self._settings.rls, self._updater.push)

    async def _stats(self, _: Request) -> bytes:
        """`stats`: the twelve values of later versions. A PFN counts once for each LFN that it stands under."""
        state, every_s = self._catalog.state(), int(self._settings.index.full_interval_s)
        flags = StatsFlag.LRC | StatsFlag.LRC_SENDS_FILTERS
        uptime_s = int(service.now() - self._started)
        counts = (state.lfns, state.mappings, state.mappings)
        return values([__version__, uptime_s, flags.value, every_s, every_s, *counts, 0, 0, 0, 0])

    async def _configuration(self, request: Request) -> bytes:
        """`get_configuration` option, or all: what the original's options are here."""
        told = self._settings
        options = {
            "lrc_server": "true",
            "rli_server": "false",
            "authentication": "false",
            "myurl": self._updater.url,
            "maxconnections": str(told.rls.connections_max),
            "idletimeout": str(int(told.rls.idle_s)),
            "update_bf_int": str(int(told.index.full_interval_s)),
            "update_immediate": "true",
            "update_buftime": str(int(told.index.increment_interval_s)),
        }
        asked = request.parameters[0].decode(errors="replace")
        if not asked:
            return listing(options.items())
        return listing([(asked, options.get(asked, "unknown option"))])

    # ---- the index nodes ---------------------------------------------------------------------------------------------

    async def _nodes(self, _: Request) -> bytes:
        """`lrc_rli_list`: url, seconds between full updates, flags, Unix time of the last contact."""
        return self._listed(self._updater.status().nodes, "Not updating any RLI servers")

    async def _node(self, request: Request) -> bytes:
        """`lrc_rli_info` url: the same of one node, without an end of list."""
        url = request.parameters[0].decode(errors="replace")
        for node in self._updater.status().nodes:
            if node.url == url:
                return values(self._described(node))
        raise Refused(Code.RLI_UNKNOWN, url)

    async def _partitions(self, request: Request) -> bytes:
        """`lrc_rli_get_part` url or empty, pattern or empty: every node gets filters over all names, of no pattern."""
        url, pattern = (token.decode(errors="replace") for token in request.parameters)
        nodes = [node.url for node in self._updater.status().nodes if not pattern and url in ("", node.url)]
        if not nodes:
            raise Refused(Code.RLI_UNKNOWN, f"{url or 'NULL'},{pattern or 'NULL'}")
        return listing((node, "") for node in nodes)

    def _listed(self, nodes: list[NodeProgress], nobody: str) -> bytes:
        if not nodes:
            raise Refused(Code.RLI_UNKNOWN, nobody)
        return listing([str(value) for value in self._described(node)] for node in nodes)

    def _described(self, node: NodeProgress) -> list[str | int]:
        last = 0 if node.contact_age_s is None else int(time.time() - node.contact_age_s)
        return [node.url, int(self._settings.index.full_interval_s), 1, last]


def _unsupported(why: str) -> Callable[[Request], Awaitable[bytes]]:
    async def refuse(_: Request) -> bytes:
        raise Refused(Code.UNSUPPORTED, why)

    return refuse
