"""Asks catalogs what an answer needs to know, all of them side by side, within a deadline.

The rules are in `reploc/client/resolve.py` and `reploc/client/demands.py`; client and index node carry them out with
this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from reploc.client import resolve
from reploc.client.batches import ITEMS, cut
from reploc.client.concurrency import side_by_side
from reploc.client.demands import ExistenceAnswer
from reploc.client.lrc import LrcClient
from reploc.client.resolve import CatalogAnswer, CatalogAsk
from reploc.client.retry import Retrying
from reploc.client.round_trips import RoundTrips
from reploc.client.transport import Transport
from reploc.errors import AnswerInvalid, ReplocError
from reploc.wire import Replicas

S = TypeVar("S")

#: Catalogs that one answer asks at one time: what a client's connections allow (`reploc/client/transport.py`).
CATALOGS = 256


async def ask_catalogs(
    transport: Transport, asks: Sequence[CatalogAsk], until: float, trips: RoundTrips
) -> list[CatalogAnswer]:
    """The copies that every catalog names, by the moment `until` of the loop's clock; a slow one delays no other.

    `trips` takes how long each took.
    """
    time = asyncio.get_running_loop().time

    async def replicas(lrc: LrcClient, lfns: Sequence[str]) -> Replicas:
        began = time()
        said = resolve.checked(await lrc.replicas(lfns), lfns, lrc.url)
        trips.measured(lrc.site, time() - began, len(lfns))
        return said

    return [CatalogAnswer(part, said) for part, said in await _ask_all(transport, asks, until, replicas)]


async def ask_existence(transport: Transport, asks: Sequence[CatalogAsk], until: float) -> list[ExistenceAnswer]:
    """Which of the LFNs every catalog holds: the same without the copies."""

    async def known(lrc: LrcClient, lfns: Sequence[str]) -> frozenset[str]:
        said = await lrc.exists(lfns)
        if lacking := set(lfns).difference(said.known, said.unknown):
            raise AnswerInvalid(f"{lrc.url}: answered for {len(lfns) - len(lacking)} of {len(lfns)} LFNs")
        return frozenset(said.known)

    return [ExistenceAnswer(part, said) for part, said in await _ask_all(transport, asks, until, known)]


async def _ask_all(
    transport: Transport,
    asks: Sequence[CatalogAsk],
    until: float,
    question: Callable[[LrcClient, Sequence[str]], Awaitable[S]],
) -> list[tuple[CatalogAsk, S | str]]:
    """What each catalog says about each batch of its LFNs, or why it said nothing."""

    async def ask(one: CatalogAsk) -> list[tuple[CatalogAsk, S | str]]:
        return await _ask_catalog(transport, one, until, question)

    return [part for parts in await side_by_side(ask, asks, CATALOGS) for part in parts]


async def _ask_catalog(
    transport: Transport,
    ask: CatalogAsk,
    until: float,
    question: Callable[[LrcClient, Sequence[str]], Awaitable[S]],
) -> list[tuple[CatalogAsk, S | str]]:
    """A catalog's answers, batch by batch. Once it failed it is not asked again."""
    broken: list[str] = []

    async def send(lfns: Sequence[str]) -> tuple[CatalogAsk, S | str]:
        part = CatalogAsk(ask.site, ask.lrc, list(lfns))
        if broken:
            return part, broken[0]
        try:
            left = max(until - asyncio.get_running_loop().time(), 0.0)
            lrc = LrcClient(ask.lrc, request_s=left, transport=Retrying(transport), site=ask.site)
            return part, await question(lrc, lfns)
        except ReplocError as wrong:
            broken.append(f"{wrong.code}: {wrong.detail}")
            return part, broken[0]

    return await side_by_side(send, cut(ask.lfns, ITEMS))
