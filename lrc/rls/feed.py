"""Sends updates to index servers of the Globus RLS: a connection to each, and over it what `lrc/rls/owed.py` says.

What changed comes from the catalog's log of changes, so that nothing is kept for a server that is slow or dead, and a
catalog that starts again goes on where it stopped. The one filter that all servers of filters get is made when one of
them is owed it (`lrc/rls/filter.py`). The catalog never waits: a commit leaves a note in the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from msgspec import UNSET
from msgspec.structs import asdict, replace

from lrc.catalog import Catalog
from lrc.layout import StoredIndex
from lrc.rls import indexes as rls_indexes
from lrc.rls.filter import GrownFilter
from lrc.rls.indexes import Indexes
from lrc.rls.owed import Owed, Step
from lrc.settings import LrcSettings
from lrc.threads import Threads
from reploc import service, telemetry
from reploc.client.batches import cut
from reploc.errors import ChangesForgotten, ReplocError, RlsPortClosed
from reploc.rls import client as rls_client
from reploc.rls.client import RlsConnection, RlsSaidNo
from reploc.rls.feeding import IndexProgress, PaceBody, RlsFeedStatus
from reploc.rls.port import RlsPort
from reploc.rls.protocol import Code, host_and_port
from reploc.sender.news import News
from reploc.telemetry import Metrics

#: Names of one request: about as many as original servers send, whose receivers write each into a database.
BATCH_NAMES = 200
#: Names that are read at once for lists, and for the filter, which hashes them.
PAGE_NAMES = 1_000
FILTER_PAGE_NAMES = 10_000
#: How often the filter is built for one update: a catalog that is being filled outgrows one while it is built.
BUILDS_MAX = 3
#: Seconds between two notes in the store of how far the servers are; what was told since is told again after a crash.
SAVE_S = 10.0
#: Answers after which no update of this kind will be taken: not allowed, the wrong kind of server, unsupported.
NEVER = frozenset({Code.NOT_ALLOWED, Code.METHOD_UNKNOWN, Code.WRONG_ROLE, Code.UNSUPPORTED})


class _Link:
    """One index server: what it is owed, and the task that speaks to it."""

    def __init__(self, owed: Owed) -> None:
        self.owed = owed
        self.wake = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class RlsFeed:
    """All index servers of one catalog. Everything is to be called in the loop."""

    def __init__(self, catalog: Catalog, threads: Threads, settings: LrcSettings, metrics: Metrics) -> None:
        #: Where clients of the Globus RLS reach the catalog; its address is known while it listens.
        self.port: RlsPort | None = None
        self._catalog = catalog
        self._threads = threads
        self._settings = settings
        self._credentials = settings.shown
        self._pace = settings.rls.pace
        self._loop = asyncio.get_running_loop()
        self._indexes: Indexes = catalog.rls_indexes()
        self._links = {index.url: self._link(index) for index in self._indexes}
        self._feeds = False
        self._changing = asyncio.Lock()
        self._filter: GrownFilter | None = None
        self._filtering = asyncio.Lock()
        self._names = metrics.counter("reploc_rls_sent_names", "Names told to index servers of the Globus RLS", "index")
        self._filters = metrics.counter("reploc_rls_sent_filters", "Filters sent to such servers", "index")
        self._failures = metrics.counter("reploc_rls_failures", "Updates that such servers did not take", "index")
        metrics.watch_each(
            "reploc_rls_lag_seconds", "Age of the oldest change that such a server may not know", "index", self._lags_s
        )

    @asynccontextmanager
    async def feeding(self) -> AsyncIterator[None]:
        """Sends while the context lasts, which begins when the RLS port is open; in the end it is noted how far."""
        self._feeds = True
        for link in self._links.values():
            self._start(link)
        try:
            yield
        finally:
            self._feeds = False
            for link in self._links.values():
                await self._end(link)
            await self._save()

    async def run_once(self) -> float:
        """The duty: notes how far the servers are."""
        await self._save()
        return SAVE_S

    # ---- what is asked of it -----------------------------------------------------------------------------------------

    def changed(self, news: News) -> None:
        """Takes note of a commit; called in the writer's thread."""
        if self._indexes:
            self._loop.call_soon_threadsafe(self._note, len(news.added) + len(news.removed), news.position)

    async def add(self, url: str, *, filters: bool, pattern: str | None) -> None:
        """Sends to the server at a canonical address from now on, or of one more pattern. Raises what
        `rls_indexes.added` raises, and RlsPortClosed."""
        if not self.own_url:
            raise RlsPortClosed("whom the index server names as the catalog could not be asked by its clients")
        await self._become(
            partial(rls_indexes.added, url=url, filters=filters, pattern=pattern, position=self._catalog.position)
        )

    async def remove(self, url: str, pattern: str | None) -> None:
        """Sends to that server no more, or not of that pattern. Raises RlsIndexUnknown."""
        await self._become(partial(rls_indexes.removed, url=url, pattern=pattern))

    def pace(self, body: PaceBody) -> None:
        """Sends otherwise from now on, until the daemon starts anew."""
        given = {name: value for name, value in asdict(body).items() if value is not UNSET}
        self._pace = replace(self._pace, **given)
        for link in self._links.values():
            link.owed.paced(self._pace, service.now())
            link.wake.set()

    def push(self) -> None:
        """Makes a full update due for every server."""
        for link in self._links.values():
            link.owed.push(service.now())
            link.wake.set()

    @property
    def own_url(self) -> str:
        """Where clients of the Globus RLS reach the catalog."""
        return self._settings.rls.url or (self.port.url if self.port else "")

    def status(self) -> RlsFeedStatus:
        """All servers, and how far each is."""
        told = [self._progress(index) for index in self._indexes]
        return RlsFeedStatus(self.own_url, self._catalog.position, self._pace, told)

    def _progress(self, index: StoredIndex) -> IndexProgress:
        now, owed = service.now(), self._links[index.url].owed
        return IndexProgress(
            url=index.url,
            filters=index.filters,
            patterns=list(index.patterns),
            interval_s=owed.interval_s,
            told=owed.settled,
            lag_s=round(owed.lag_s(now), 3),
            contact_age_s=None if owed.contact_at is None else round(now - owed.contact_at, 3),
            trouble=owed.trouble,
        )

    def _lags_s(self) -> dict[str, float]:
        now = service.now()
        return {url: link.owed.lag_s(now) for url, link in self._links.items()}

    # ---- which servers there are -------------------------------------------------------------------------------------

    async def _become(self, change: Callable[[Indexes], Indexes]) -> None:
        """Other servers, durably; those that are another than before begin anew."""
        async with self._changing:
            before = {index.url: index for index in self._indexes}
            after = change(self._noted())
            await self._threads.run(partial(self._catalog.put_rls_indexes, after))
            self._indexes = after
            for index in after:
                old = before.pop(index.url, None)
                if old is None or old.patterns != index.patterns:
                    await self._end(self._links.get(index.url))
                    link = self._links[index.url] = self._link(index)
                    self._start(link)
            for url in before:
                await self._end(self._links.pop(url, None))

    def _link(self, index: StoredIndex) -> _Link:
        return _Link(Owed(index, self._pace, self._catalog.position, service.now()))

    def _start(self, link: _Link) -> None:
        if not self.own_url:
            link.owed.trouble = f"{RlsPortClosed.code}: {RlsPortClosed.hint}"
        elif self._feeds:
            link.task = asyncio.create_task(self._feed(link))

    @staticmethod
    async def _end(link: _Link | None) -> None:
        if link is not None and link.task is not None:
            link.task.cancel()
            await asyncio.gather(link.task, return_exceptions=True)

    async def _save(self) -> None:
        async with self._changing:
            noted = self._noted()
            if noted == self._indexes:
                return
            try:
                await self._threads.run(partial(self._catalog.put_rls_indexes, noted))
            except ReplocError as wrong:
                telemetry.event("rls-feed.not-noted", code=wrong.code, detail=wrong.detail)
                return
            self._indexes = noted

    def _noted(self) -> Indexes:
        """The servers as the store is to have them, with how far each is."""
        told = {url: link.owed.told for url, link in self._links.items()}
        return tuple(index if (at := told[index.url]) is None else replace(index, told=at) for index in self._indexes)

    def _note(self, names: int, position: int) -> None:
        now = service.now()
        for link in self._links.values():
            link.owed.changed(names, position, now)
            link.wake.set()

    # ---- one server --------------------------------------------------------------------------------------------------

    async def _feed(self, link: _Link) -> None:
        """Speaks to one server for as long as the catalog sends to it."""
        owed = link.owed
        while True:
            await self._pause(link)
            try:
                async with rls_client.connected(
                    owed.index.url, self._context(owed.index.url), self._settings.rls.timeout_s
                ) as connection:
                    await self._speak(link, connection)
            except (ReplocError, RlsSaidNo) as wrong:
                self._failed(owed, str(wrong))
            except Exception as wrong:
                telemetry.failure("rls-feed.broke", wrong, index=owed.index.url)
                self._failed(owed, repr(wrong))

    async def _pause(self, link: _Link) -> None:
        while (rest_s := link.owed.rests_for(service.now())) > 0:
            link.wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await link.wake.wait()

    def _failed(self, owed: Owed, why: str) -> None:
        self._failures.labels(owed.index.url).inc()
        telemetry.event("rls-feed.failed", index=owed.index.url, detail=why)
        owed.failed(why, service.now())

    def _context(self, url: str) -> Any:
        """How to connect: with TLS where the address is `rls://`."""
        host, port = host_and_port(url)
        return self._credentials.context(f"https://{host}:{port}") if url.startswith("rls:") else None

    async def _speak(self, link: _Link, connection: RlsConnection) -> None:
        """Sends what is due over one connection, until the server closes it."""
        owed = link.owed
        owed.connected(await self._is_listed(connection), service.now())
        while True:
            link.wake.clear()
            step = owed.step(service.now())
            if step is None:
                if await self._closed_meanwhile(link, connection):
                    owed.lost(service.now())
                    return
            elif not await self._taken(owed, step, connection):
                return

    async def _closed_meanwhile(self, link: _Link, connection: RlsConnection) -> bool:
        """Waits until something is due or happens; whether the server has closed the connection."""
        waits = [asyncio.ensure_future(connection.ended()), asyncio.ensure_future(link.wake.wait())]
        try:
            due_s = max(0.0, link.owed.due_in(service.now()))
            done, _ = await asyncio.wait(waits, timeout=min(due_s, SAVE_S * 360), return_when=asyncio.FIRST_COMPLETED)
            return waits[0] in done
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _taken(self, owed: Owed, step: Step, connection: RlsConnection) -> bool:
        """Makes one step; whether the connection is good for the next."""
        try:
            match step:
                case Step.PAGE:
                    await self._send_page(owed, connection)
                case Step.CHANGES:
                    await self._send_changes(owed, connection)
                case Step.FILTER:
                    await self._send_filter(owed, connection)
        except RlsSaidNo as wrong:
            why = f"{owed.index.url}: {wrong}"
            self._failures.labels(owed.index.url).inc()
            telemetry.event("rls-feed.refused", index=owed.index.url, detail=str(wrong))
            if wrong.code in NEVER:
                owed.refused(why, service.now())
            else:
                owed.failed(why, service.now())
            return False
        except ChangesForgotten:
            owed.forget(service.now())
        return True

    async def _is_listed(self, connection: RlsConnection) -> bool:
        """Whether the server has heard from this catalog; one that does not say so is believed to have."""
        try:
            return self.own_url in await connection.senders()
        except RlsSaidNo as wrong:
            return wrong.code not in (Code.RLI_UNKNOWN, Code.LRC_UNKNOWN)

    # ---- lists -------------------------------------------------------------------------------------------------------

    async def _send_page(self, owed: Owed, connection: RlsConnection) -> None:
        if not owed.walking:
            owed.begin_full(self._catalog.position)
        page = await self._threads.run(partial(self._catalog.lfns, "*", PAGE_NAMES, owed.behind))
        await self._tell(owed, connection, page.lfns, ())
        owed.paged(page.next, service.now())
        if page.next is None:
            owed.seen(await self._is_listed(connection))

    async def _send_changes(self, owed: Owed, connection: RlsConnection) -> None:
        assert owed.told is not None
        found = await self._threads.run(partial(self._catalog.changed_since, owed.told, PAGE_NAMES))
        await self._tell(owed, connection, found.came, found.went)
        owed.caught_up(found.reached, service.now(), last=found.last)

    async def _tell(self, owed: Owed, connection: RlsConnection, came: Sequence[str], went: Sequence[str]) -> None:
        told = [(name, True) for name in rls_indexes.wanted(owed.index, came)]
        told += [(name, False) for name in rls_indexes.wanted(owed.index, went)]
        for batch in cut(told, BATCH_NAMES):
            here, gone = [name for name, there in batch if there], [name for name, there in batch if not there]
            try:
                await connection.update(self.own_url, here, gone)
            except RlsSaidNo as wrong:
                again = wrong.code == Code.DATABASE_ERROR and not owed.poisoned()
                if again or wrong.code in NEVER:
                    raise
                # The rest of the batch was taken: it is applied up to its end whatever is wrong with one entry.
                self._failures.labels(owed.index.url).inc()
                telemetry.event("rls-feed.refused", index=owed.index.url, detail=str(wrong), names=len(batch))
            self._names.labels(owed.index.url).inc(len(batch))

    # ---- the filter --------------------------------------------------------------------------------------------------

    async def _send_filter(self, owed: Owed, connection: RlsConnection) -> None:
        made = await self._current_filter()
        position = made.position
        await connection.update_filter(
            self.own_url, made.bits, made.functions, max(1, int(owed.interval_s)), memoryview(made.data.data)
        )
        self._filters.labels(owed.index.url).inc()
        owed.filtered(position, service.now())
        owed.seen(await self._is_listed(connection))

    async def _current_filter(self) -> GrownFilter:
        """The filter of the catalog as it is now, or was a moment ago."""
        async with self._filtering:
            if self._filter is not None:
                with suppress(ChangesForgotten):
                    await self._catch_up(self._filter)
                    if not self._is_old(self._filter):
                        return self._filter
            for _ in range(BUILDS_MAX):
                self._filter = await self._built()
                if not self._filter.is_full(self._catalog.state().lfns):
                    break
            assert self._filter is not None
            return self._filter

    def _is_old(self, made: GrownFilter) -> bool:
        pace, names = self._pace, self._catalog.state().lfns
        return made.is_old(names, pace.filter_functions, pace.filter_bits, pace.filter_interval_s, service.now())

    async def _catch_up(self, made: GrownFilter) -> None:
        while True:
            found = await self._threads.run(partial(self._catalog.changed_since, made.position, PAGE_NAMES))
            made.turned_over(found.came, len(found.went), found.reached, service.now())
            if found.last:
                return

    async def _built(self) -> GrownFilter:
        state = self._catalog.state()
        made = GrownFilter(state.lfns, self._pace.filter_functions, self._pace.filter_bits, state.position)
        behind: str | None = None
        while True:
            behind = await self._threads.run(partial(self._add_page, made, behind))
            if behind is None:
                break
        await self._catch_up(made)
        return made

    def _add_page(self, made: GrownFilter, behind: str | None) -> str | None:
        page = self._catalog.lfns("*", FILTER_PAGE_NAMES, behind)
        made.add(page.lfns)
        return page.next
