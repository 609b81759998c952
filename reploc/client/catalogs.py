"""Asks catalogs what a resolved lookup needs to know, all of them at once, within a deadline.

The rules are in `reploc/client/resolve.py`; client and index node carry them out with this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from reploc.client import resolve
from reploc.client.batches import ITEMS, cut
from reploc.client.concurrency import side_by_side
from reploc.client.lrc import LrcClient
from reploc.client.resolve import CatalogAnswer, CatalogAsk
from reploc.client.retry import Retrying
from reploc.client.transport import Transport
from reploc.errors import ReplocError


async def ask_catalogs(transport: Transport, asks: Sequence[CatalogAsk], until: float) -> list[CatalogAnswer]:
    """What every catalog says, by the moment `until` of the loop's clock; a slow one delays no other."""
    answers = await asyncio.gather(*(_ask_catalog(transport, ask, until) for ask in asks))
    return [answer for several in answers for answer in several]


async def _ask_catalog(transport: Transport, ask: CatalogAsk, until: float) -> list[CatalogAnswer]:
    """A catalog's answers, batch by batch. Once it failed it is not asked again."""
    broken: list[str] = []

    async def send(lfns: Sequence[str]) -> CatalogAnswer:
        part = CatalogAsk(ask.site, ask.lrc, list(lfns))
        if broken:
            return CatalogAnswer(part, broken[0])
        try:
            left = max(until - asyncio.get_running_loop().time(), 0.0)
            lrc = LrcClient(ask.lrc, request_s=left, transport=Retrying(transport))
            return CatalogAnswer(part, resolve.checked(await lrc.replicas(lfns), lfns, lrc.url))
        except ReplocError as wrong:
            broken.append(f"{wrong.code}: {wrong.detail}")
            return CatalogAnswer(part, broken[0])

    return await side_by_side(send, cut(ask.lfns, ITEMS))
