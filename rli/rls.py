"""What an index node answers at its RLS port: where names are, who told it, and the updates of catalogs of that kind.

One answer from all: the catalogs of reploc that may hold a name, and those that speak the protocol of the Globus RLS. A
name that nothing is known of is `LFN_UNKNOWN` only where the node is complete for it; otherwise the other owners are
asked, and where these cannot tell either, that is said: a client of this protocol takes "unknown" for the truth.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from reploc import __version__, service
from reploc.client.listing import Listed
from reploc.errors import NotIndexed
from reploc.names import glob_of_like, like
from reploc.rls.bloom import BITS_MAX, SHIFTS, RlsFilter
from reploc.rls.port import Methods, RlsSettings, administer
from reploc.rls.protocol import (
    DONE,
    Code,
    ObjectType,
    Refused,
    Request,
    StatsFlag,
    canonical,
    cut,
    listing,
    name,
    number,
    object_type,
    values,
)
from reploc.wire import Locations
from rli.foreign import ForeignCatalogs
from rli.index import Index

#: Names and addresses of one answer.
RESULTS_MAX = 100_000
#: What the first byte of an entry of `rli_update` says of the name behind it.
CAME, WENT = b"A"[0], b"D"[0]

#: What this node and the other owners of their slots know of some names.
Locate = Callable[[Sequence[str]], Awaitable[Locations]]
#: Up to so many LFNs that match a glob pattern, as all nodes know them.
Everywhere = Callable[[str, int], Awaitable[Listed]]


class RliMethods:
    """The table of an index node, and what it does."""

    def __init__(
        self,
        index: Index,
        foreign: ForeignCatalogs,
        locate: Locate,
        everywhere: Everywhere,
        settings: RlsSettings,
    ) -> None:
        self._index = index
        self._settings = settings
        self._foreign = foreign
        self._locate = locate
        self._everywhere = everywhere
        self._started = service.now()

    def methods(self) -> Methods:
        """Every method of an index node."""
        return Methods(
            instant={b"rli_get_lrc": self._catalogs_at_once},
            slow={
                b"rli_get_lrc": self._catalogs,
                b"rli_get_lrc_bulk": self._catalogs_of_many,
                b"rli_get_lrc_wc": self._matching,
                b"rli_exists": self._exists,
                b"rli_exists_bulk": self._exist,
                b"rli_mapping_exists": self._mapping_exists,
                b"rli_lrc_list": self._senders,
                b"rli_sender_list": self._senders,
                b"rli_rli_list": self._parents,
                b"rli_update": self._update,
                b"rli_updatebf": self._update_filter,
                b"admin": self._admin,
                b"stats": self._stats,
                b"get_configuration": self._configuration,
                b"set_configuration": self._set_configuration,
            },
            other_role="not LRC server",
        )

    # ---- where names are ---------------------------------------------------------------------------------------------

    def _catalogs_at_once(self, requests: Sequence[Request]) -> list[bytes | Refused | None]:
        """`rli_get_lrc` lfn, offset, limit: from what the node itself holds, where that is enough."""
        lfns = [name(request.parameters[0], "lfn") for request in requests]
        found = self._index.each_held(lfns, service.now())
        foreign = self._foreign.holders(lfns)
        answers: list[bytes | Refused | None] = []
        for request, lfn, held, others in zip(requests, lfns, found, foreign, strict=True):
            urls = [self._index.lrc_of(number) for number in held.sites] + others
            settled = (urls or held.complete) and not self._index.names_nodes(held.sites)
            answers.append(_listed(request, lfn, urls) if settled else None)
        return answers

    async def _catalogs(self, request: Request) -> bytes:
        """The same, asking the other owners too."""
        lfn = name(request.parameters[0], "lfn")
        [urls] = await self._urls([lfn])
        listed = _listed(request, lfn, urls)
        if isinstance(listed, Refused):
            raise listed
        return listed

    async def _catalogs_of_many(self, request: Request) -> bytes:
        """`rli_get_lrc_bulk`: for each LFN its catalogs, or one entry that it is unknown."""
        lfns = [name(key, "lfn") for (key,) in request.items]
        entries: list[Sequence[str]] = []
        for lfn, urls in zip(lfns, await self._urls(lfns), strict=True):
            entries += [("0", lfn, url) for url in urls] or [(str(Code.LFN_UNKNOWN.value), lfn)]
        return listing(entries)

    async def _matching(self, request: Request) -> bytes:
        """`rli_get_lrc_wc` pattern of SQL, offset, limit: over lists of names; filters cannot be asked."""
        text = name(request.parameters[0], "pattern")
        if self._foreign.filtered or not self._lists_alone:
            raise Refused(Code.UNSUPPORTED, "Wildcard searches with Bloom filters enabled")
        try:
            listed = await self._everywhere(glob_of_like(text), RESULTS_MAX + 1) if self._tells_names else Listed()
        except NotIndexed as wrong:
            raise Refused(Code.UNSUPPORTED, f"below this node: {wrong.detail}") from wrong
        found = self._foreign.matching(like(text), RESULTS_MAX + 1)
        found += [(lfn, listed.sites[site].lrc) for lfn, sites in listed.locations.items() for site in sites]
        if len(found) > RESULTS_MAX:
            raise Refused(Code.BAD_ARGUMENT, f"more than {RESULTS_MAX} results; narrow the pattern")
        pairs = cut(request, sorted(found, key=lambda pair: pair[0], reverse=True))
        if not found and self._tells_names and not listed.complete:
            raise Refused(Code.DATABASE_ERROR, f"not heard from {', '.join(listed.missing[:5]) or 'all senders'} yet")
        if not pairs:
            raise Refused(Code.LFN_UNKNOWN, text)
        return listing(pairs)

    @property
    def _tells_names(self) -> bool:
        """Whether our own catalogs tell whole names, or index nodes below may have heard them."""
        return self._index.settings.compression == "none" or self._index.registry.has_children

    @property
    def _lists_alone(self) -> bool:
        """Whether nothing is known of our own catalogs but whole names."""
        return self._tells_names or not self._index.registry.members(service.now())

    async def _exists(self, request: Request) -> bytes:
        """`rli_exists` key, object type: 2 is an LFN, 3 a catalog."""
        key, kind = name(request.parameters[0], "name"), _object_type(request.parameters[1])
        if not (await self._known([key], kind))[0]:
            raise Refused(_unknown(kind), f"{key},{kind:d}")
        return DONE

    async def _exist(self, request: Request) -> bytes:
        """`rli_exists_bulk` object type: for each key whether it is known."""
        kind = _object_type(request.parameters[0])
        keys = [name(key, "name") for (key,) in request.items]
        known = await self._known(keys, kind)
        codes = ["0" if there else str(_unknown(kind).value) for there in known]
        return listing(zip(codes, keys, strict=True))

    async def _mapping_exists(self, request: Request) -> bytes:
        """`rli_mapping_exists` lfn, address of a catalog."""
        lfn, url = name(request.parameters[0], "lfn"), name(request.parameters[1], "url")
        [urls] = await self._urls([lfn])
        if url not in urls:
            raise Refused(Code.MAPPING_UNKNOWN, f"{lfn},{url}")
        return DONE

    async def _known(self, keys: Sequence[str], kind: ObjectType) -> list[bool]:
        if kind is ObjectType.RLI_LFN:
            return [bool(urls) for urls in await self._urls(keys)]
        heard = {url for url, _ in self._heard()}
        return [key in heard for key in keys]

    async def _urls(self, lfns: Sequence[str]) -> list[list[str]]:
        """The addresses of the catalogs that may hold each LFN. Refused: nobody can say of one whether any does."""
        said = await self._locate(lfns)
        incomplete = set(said.incomplete)
        found = []
        for lfn, others in zip(lfns, self._foreign.holders(lfns), strict=True):
            urls = [said.sites[site].lrc for site in said.locations[lfn]] + others
            if not urls and lfn in incomplete:
                raise Refused(Code.DATABASE_ERROR, f"not heard from {', '.join(said.missing[:5]) or 'all senders'} yet")
            found.append(urls)
        return found

    # ---- updates -----------------------------------------------------------------------------------------------------

    async def _update(self, request: Request) -> bytes:
        """`rli_update` address: names that came or went; whether they are all or some of them nothing says."""
        url = canonical(request.parameters[0])
        came = [name(entry[1:], "lfn") for (entry,) in request.items if entry[0] == CAME]
        went = [name(entry[1:], "lfn") for (entry,) in request.items if entry[0] == WENT]
        self._foreign.listed(url, came, went, service.now())
        if wrong := [entry[0] for (entry,) in request.items if entry[0] not in (CAME, WENT)]:
            raise Refused(Code.BAD_ARGUMENT, f"rli_update: Invalid command: {wrong[0]}")
        return DONE

    async def _update_filter(self, request: Request) -> bytes:
        """`rli_updatebf` address, bits, hash functions, interval: a filter of all that the catalog holds."""
        url = canonical(request.parameters[0])
        bits = number(request.parameters[1], "bits")
        functions = number(request.parameters[2], "hash functions")
        interval_s = number(request.parameters[3], "interval")
        if not 1 <= bits <= BITS_MAX or not 1 <= functions <= len(SHIFTS):
            raise Refused(Code.BAD_ARGUMENT, f"{bits} bits, {functions} hash functions: expected 1 or more, 1 to 8")
        received = RlsFilter(bits, functions, np.frombuffer(request.raw, dtype=np.uint8))
        self._foreign.summarised(url, received, interval_s, service.now())
        return DONE

    # ---- about the node ----------------------------------------------------------------------------------------------

    async def _senders(self, _: Request) -> bytes:
        """`rli_lrc_list`: each catalog with the Unix time of its last word."""
        heard = self._heard()
        if not heard:
            raise Refused(Code.RLI_UNKNOWN, "Not updated by any LRC servers")
        return listing((url, str(moment)) for url, moment in heard)

    def _heard(self) -> list[tuple[str, int]]:
        now, wall = service.now(), time.time()
        members = [(one.url, wall - (one.age_s or 0.0)) for one in self._index.registry.members(now)]
        foreign = [(url, wall - (now - at)) for url, at in self._foreign.heard().items()]
        return [(url, int(moment)) for url, moment in members + foreign]

    async def _parents(self, _: Request) -> bytes:
        """`rli_rli_list`: a node that reports to none."""
        raise Refused(Code.RLI_UNKNOWN, "Not updating any RLI servers")

    async def _admin(self, request: Request) -> bytes:
        return administer(request, self._settings)

    async def _stats(self, _: Request) -> bytes:
        """`stats`: the twelve values of later versions; names that filters stand for cannot be counted."""
        flags = StatsFlag.RLI | StatsFlag.RLI_TAKES_LISTS | StatsFlag.RLI_TAKES_FILTERS
        every_s = int(self._index.settings.full_interval_s)
        uptime_s, senders, names = int(service.now() - self._started), len(self._heard()), self._foreign.names
        return values([__version__, uptime_s, flags.value, every_s, every_s, 0, 0, 0, names, senders, senders, names])

    async def _configuration(self, request: Request) -> bytes:
        """`get_configuration` option, or all: what the original's options are here."""
        options = {
            "lrc_server": "false",
            "rli_server": "true",
            "authentication": "false",
            "rli_expire_stale": str(int(self._index.settings.expiry_s)),
        }
        asked = request.parameters[0].decode(errors="replace")
        return listing(options.items() if not asked else [(asked, options.get(asked, "unknown option"))])

    async def _set_configuration(self, _: Request) -> bytes:
        raise Refused(Code.UNSUPPORTED, "settings stand in the file of the daemon")


def _listed(request: Request, lfn: str, urls: Sequence[str]) -> bytes | Refused:
    chosen = cut(request, urls)
    return listing((lfn, url) for url in chosen) if chosen else Refused(Code.LFN_UNKNOWN, lfn)


def _object_type(token: bytes) -> ObjectType:
    return object_type(token, ObjectType.RLI_LFN, ObjectType.RLI_LRC)


def _unknown(kind: ObjectType) -> Code:
    return Code.LFN_UNKNOWN if kind is ObjectType.RLI_LFN else Code.LRC_UNKNOWN
