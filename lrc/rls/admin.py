"""What the RLS port is told of index servers and of how they are sent updates: the methods of `globus-rls-admin`.

`lrc_rli_list` and its kin tell the nodes of our own index too, which have no patterns, and which these methods cannot
change: they stand in the settings, or in a registry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from lrc.rls.feed import RlsFeed
from lrc.settings import LrcSettings
from lrc.updater import Updater
from reploc.errors import RlsIndexExists, RlsIndexUnknown
from reploc.rls.feeding import PaceBody
from reploc.rls.port import SlowAnswer, code_of, require_admin
from reploc.rls.protocol import DONE, Code, Refused, Request, canonical, listing, name, number, values

#: An option of `set_configuration` → the field of the pace, and how its text is read.
PACED: dict[str, tuple[str, Callable[[str], object]]] = {
    "update_ll_int": ("list_interval_s", float),
    "update_bf_int": ("filter_interval_s", float),
    "update_immediate": ("immediate", {"true": True, "false": False}.__getitem__),
    "update_buftime": ("buffer_s", float),
    "update_factor": ("factor", int),
    "update_retry": ("retry_s", float),
    "lrc_bloomfilter_numhash": ("filter_functions", int),
    "lrc_bloomfilter_ratio": ("filter_bits", int),
}
#: The names that the options had in the first versions.
OLD_NAMES = {
    "lrc_update_ll": "update_ll_int",
    "lrc_update_bf": "update_bf_int",
    "lrc_update_immediate": "update_immediate",
    "lrc_buffer_time": "update_buftime",
    "lrc_update_factor": "update_factor",
    "lrc_update_retry": "update_retry",
}


class Administration:
    """Those methods."""

    def __init__(self, feed: RlsFeed, updater: Updater, settings: LrcSettings) -> None:
        self._feed = feed
        self._updater = updater
        self._settings = settings

    def methods(self) -> dict[bytes, SlowAnswer]:
        """The table of them."""
        return {
            b"lrc_rli_add": self._add,
            b"lrc_rli_delete": self._delete,
            b"lrc_rli_list": self._list,
            b"lrc_rli_info": self._info,
            b"lrc_rli_get_part": self._parts,
            b"get_configuration": self._configuration,
            b"set_configuration": self._configure,
        }

    # ---- index servers -----------------------------------------------------------------------------------------------

    async def _add(self, request: Request) -> bytes:
        """`lrc_rli_add` url, flags, pattern or empty: flag 1 is a filter of all names, 0 are lists."""
        require_admin(self._settings.rls)
        if not request.parameters[1]:
            raise Refused(Code.BAD_ARGUMENT, "flags are absent")
        url, flags = canonical(request.parameters[0]), number(request.parameters[1], "flags")
        pattern = _pattern(request.parameters[2])
        if flags not in (0, 1):
            raise Refused(Code.BAD_ARGUMENT, f"flags {flags}: expected 0 or 1")
        with _about(url):
            await self._feed.add(url, filters=flags == 1, pattern=pattern)
        return DONE

    async def _delete(self, request: Request) -> bytes:
        """`lrc_rli_delete` url, pattern or empty."""
        require_admin(self._settings.rls)
        url = canonical(request.parameters[0])
        with _about(url):
            await self._feed.remove(url, _pattern(request.parameters[1]))
        return DONE

    async def _list(self, _: Request) -> bytes:
        """`lrc_rli_list`: url, seconds between full updates, flags, Unix time of the last contact."""
        return listing(list(self._described()) or _nobody("Not updating any RLI servers"))

    async def _info(self, request: Request) -> bytes:
        """`lrc_rli_info` url: the same of one server, without an end of list."""
        asked = request.parameters[0].decode(errors="replace")
        for one in self._described():
            if one[0] in (asked, _canonical_or(asked)):
                return values(one)
        raise Refused(Code.RLI_UNKNOWN, asked)

    async def _parts(self, request: Request) -> bytes:
        """`lrc_rli_get_part` url or empty, pattern or empty: each pattern of each server, one of none as empty."""
        url, pattern = (token.decode(errors="replace") for token in request.parameters)
        pairs = [(one.url, part) for one in self._feed.status().indexes for part in (one.patterns or [""])] + [
            (node.url, "") for node in self._updater.status().nodes
        ]
        found = [
            pair for pair in pairs if url in ("", pair[0]) or pair[0] == _canonical_or(url) if pattern in ("", pair[1])
        ]
        return listing(found or _nobody(f"{url or 'NULL'},{pattern or 'NULL'}"))

    def _described(self) -> Iterator[list[str]]:
        wall = time.time()
        for one in self._feed.status().indexes:
            yield _row(one.url, one.interval_s, int(one.filters), one.contact_age_s, wall)
        every_s = self._settings.index.full_interval_s
        for node in self._updater.status().nodes:
            yield _row(node.url, every_s, 1, node.contact_age_s, wall)

    # ---- options -----------------------------------------------------------------------------------------------------

    async def _configuration(self, request: Request) -> bytes:
        """`get_configuration` option, or all: what the original's options are here."""
        told, pace = self._settings, self._feed.status().pace
        options = {
            "lrc_server": "true",
            "rli_server": "false",
            "authentication": "false",
            "myurl": self._feed.own_url or self._updater.url,
            "maxconnections": str(told.rls.connections_max),
            "idletimeout": str(int(told.rls.idle_s)),
            "timeout": str(int(told.rls.timeout_s)),
            **{option: _shown(getattr(pace, field)) for option, (field, _) in PACED.items()},
        }
        asked = request.parameters[0].decode(errors="replace")
        if not asked:
            return listing(options.items())
        return listing([(asked, options.get(OLD_NAMES.get(asked, asked), "unknown option"))])

    async def _configure(self, request: Request) -> bytes:
        """`set_configuration` option, value: how updates are sent, until the daemon starts anew."""
        require_admin(self._settings.rls)
        option, value = (token.decode(errors="replace") for token in request.parameters)
        if not option or not value:
            raise Refused(Code.BAD_ARGUMENT, "NULL")
        field, read = PACED.get(OLD_NAMES.get(option, option), ("", str))
        if not field:
            raise Refused(Code.BAD_ARGUMENT, f"{option}: other settings stand in the file of the daemon")
        try:
            body = msgspec.convert({field: read(value)}, PaceBody)
        except (ValueError, KeyError, OverflowError, msgspec.ValidationError) as wrong:
            raise Refused(Code.BAD_ARGUMENT, f"{option} {value[:40]}: {wrong}") from None
        self._feed.pace(body)
        return DONE


@contextmanager
def _about(url: str) -> Iterator[None]:
    """Turns an error of ours into a refusal whose detail is the address, as the original's is."""
    try:
        yield
    except (RlsIndexExists, RlsIndexUnknown) as wrong:
        raise Refused(code_of(wrong.code), url) from wrong


def _row(url: str, interval_s: float, flags: int, age_s: float | None, wall: float) -> list[str]:
    return [url, str(int(interval_s)), str(flags), str(0 if age_s is None else int(wall - age_s))]


def _nobody(words: str) -> list[list[str]]:
    raise Refused(Code.RLI_UNKNOWN, words)


def _pattern(token: bytes) -> str | None:
    return name(token, "pattern") if token else None


def _canonical_or(url: str) -> str:
    """An address as servers are kept, or as it stands where it is none."""
    try:
        return canonical(url.encode())
    except Refused:
        return url


def _shown(value: object) -> str:
    """A value as the original writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
