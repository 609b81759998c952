"""Asks the index what sites hold: who has news, and then only what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
import polars as pl

from placement import observations
from placement.keeper import Keeper
from placement.messages import Pulled
from placement.observations import News, Part
from reploc import digest, telemetry
from reploc.client.concurrency import side_by_side
from reploc.client.transport import HttpTransport, Request
from reploc.errors import AnswerInvalid, ReplocError, Unreachable
from reploc.holdings import ARROW, COLUMNS, Holdings

#: Sites whose news is under way at once: the next one comes while one is taken over.
AT_ONCE = 2
#: Seconds in which a node must say of whom it has news, and in which it must tell of one site: a hundred megabytes.
ASK_S = 10.0
FETCH_S = 60.0


class Pull:
    """Brings the keeper's observations up to what the index says; `urls` are its nodes' by name, and may change."""

    def __init__(self, keeper: Keeper, urls: Mapping[str, str], transport: HttpTransport) -> None:
        self._keeper = keeper
        self.urls = urls
        self._transport = transport

    async def run_once(self) -> Pulled:
        """Asks every node and takes over what changed. Raises Unreachable: no node answers.

        A site whose news cannot be had keeps what was heard of it before, which grows old.
        """
        began = asyncio.get_running_loop().time()
        told: dict[str, Holdings] = {}
        await side_by_side(lambda node: self._holdings(node, told), list(self.urls))
        if not told:
            raise Unreachable(f"none of the index nodes {', '.join(self.urls) or '(there are none)'} answers")
        heard = observations.news(list(told.values()))
        changed = [news for news in heard.values() if news.versions != self._keeper.observation(news.site).versions]
        for news in heard.values():
            if news not in changed and self._keeper.observation(news.site).news_at is not None:
                await asyncio.to_thread(self._keeper.renew, news)
        done = await side_by_side(self._take, changed, AT_ONCE)
        taken = [news.site for news, well in zip(changed, done, strict=True) if well]
        await asyncio.to_thread(self._keeper.settle)
        missing = observations.missing(list(told.values()), heard)
        return Pulled(sorted(taken), missing, round(asyncio.get_running_loop().time() - began, 3))

    async def _holdings(self, node: str, told: dict[str, Holdings]) -> None:
        until = asyncio.get_running_loop().time() + ASK_S
        try:
            said = await self._transport.ask(Request("GET", self.urls[node], "/v1/collections/sites", Holdings), until)
        except ReplocError as wrong:
            telemetry.event("pull.failed", node=node, code=wrong.code, detail=wrong.detail)
            return
        told[node] = said

    async def _take(self, news: News) -> bool:
        """Takes over the news of one site; whether that went well."""
        try:
            parts = [await self._part(news, part) for part in news.parts]
        except ReplocError as wrong:
            telemetry.event("pull.failed", site=news.site, code=wrong.code, detail=wrong.detail)
            return False
        await asyncio.to_thread(self._keeper.observe, news, pl.concat(parts))
        return True

    async def _part(self, news: News, part: Part) -> pl.DataFrame:
        url = self.urls.get(part.node)
        if url is None:
            raise AnswerInvalid(f"a node calls itself {part.node!r}; expected one of {', '.join(self.urls)}")
        request = Request("GET", url, "/v1/collections/arrow", bytes, {"site": news.site})
        until = asyncio.get_running_loop().time() + FETCH_S
        answer = await self._transport.fetch(request, ARROW, until)
        return await asyncio.to_thread(_columns, answer.body, part, news.slot_count, str(request))


def _columns(body: bytes, part: Part, slot_count: int, what: str) -> pl.DataFrame:
    """The rows of the slots that are wanted of an answer. Raises AnswerInvalid: it is no such table."""
    try:
        told = pl.read_ipc_stream(BytesIO(body)).select(COLUMNS[:3])
        rows = told.cast({"collection": pl.String, "files": pl.Int64, "bytes": pl.Int64})
    except pl.exceptions.PolarsError as wrong:
        raise AnswerInvalid(f"{what}: {str(wrong).splitlines()[0]}") from wrong
    if part.slots is None:
        return rows
    return rows.filter(pl.Series(part.slots[_slots(rows["collection"].to_list(), slot_count)]))


def _slots(collections: Sequence[str], slot_count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return digest.slots_of(digest.of(collections), slot_count)
