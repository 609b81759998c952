"""The client of the whole index: routes LFNs to the owners of their slots, and resolves them at the catalogs.

The list of members comes from any node that answers, and is believed for a minute or until a node fails. Each LFN goes
to an owner of its slot; where that one fails, or is not complete for the LFN, to the next; where no owner answers, to
other nodes, which may reach the owners where the client does not. Where none is complete the ring may have changed: the
list is fetched anew, and the owners before the change are asked too, which catalogs go on telling their news for
`expiry_s`. Nodes that are named in place of sites are followed down (`reploc/client/descent.py`). The rules are in
`reploc/client/locations.py` and `reploc/client/resolve.py`; here they are carried out, within a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from reploc import names
from reploc.client import demands, listing, locations, resolve
from reploc.client.catalogs import ask_catalogs
from reploc.client.concurrency import REQUESTS, side_by_side
from reploc.client.descent import Descent
from reploc.client.listing import LFNS_LISTED, Listed
from reploc.client.locations import Located, Part, View
from reploc.client.nearness import Nearness
from reploc.client.node import HOP_HEADER, RING_HEADER, RliNodeClient
from reploc.client.resolve import Lookup
from reploc.client.retry import Retrying
from reploc.client.shares import ask_shares
from reploc.client.transport import Carried, HttpTransport, Transport
from reploc.errors import AnswerInvalid, DeadlineExceeded, HierarchyLoop, ReplocError, Unreachable
from reploc.hierarchy import LEVELS_MAX
from reploc.listed import ListedLfns
from reploc.questions import Demand
from reploc.wire import DEADLINE_S, Existence, Locations

#: Seconds that a list of members is believed: the list changes when an operator changes it.
MEMBERS_S = 60.0
#: Seconds between two looks for a changed ring because an answer was not complete: a site that is silent for days makes
#: every answer so.
RECHECK_S = 1.0
#: Seconds after a failure in which a node is asked last: a restart takes about as long.
AILING_S = 10.0
#: Seconds that one node may take while another one could be asked instead.
ATTEMPT_S = 5.0
#: Nodes that own nothing of a slot and are asked about it where no owner answers: they forward the question.
OTHERS_MAX = 2
#: The part of a resolved lookup's time that the index may take; the catalogs have the rest.
INDEX_SHARE = 0.5
#: Requests that one call keeps under way over all index nodes.
PARTS = 4 * REQUESTS


#: Who asks a node for its own share alone.
ASKER = "client"


@dataclass(frozen=True)
class Question:
    """What LFNs are asked with: how good the answer must be, and the collection of all of them where it is known."""

    demand: Demand
    collection: str | None = None


#: What some owners say of LFNs, and which of these at least one of them spoke about.
Said: TypeAlias = tuple[Locations, frozenset[str]]


class RliClient(Carried):
    """The index that the nodes at `urls` belong to; close it, or use it as an async context.

    One address that answers is enough, more are for the days when it does not. A `transport` that is given is its
    giver's to close.
    """

    def __init__(self, urls: Sequence[str], *, transport: Transport | None = None) -> None:
        if not urls:
            raise Unreachable("no index node is known", hint="name one with --rli, REPLOC_RLI or a settings file")
        self.urls = tuple(names.require_url(url) for url in urls)
        super().__init__(transport, HttpTransport)
        self._view: View | None = None
        self._view_until = 0.0
        self._looked_at = -RECHECK_S
        #: The view before the one that is in use, and until when its owners are told of what they lost.
        self._former: View | None = None
        self._former_until = 0.0
        self._ailing_until: dict[str, float] = {}
        self._nearness = Nearness()
        self._fetching = asyncio.Lock()

    async def view(self, deadline_s: float = DEADLINE_S) -> View:
        """Who owns which slot, fetched unless it is known. Raises Unreachable: no node could say."""
        return await self._current_view(_time() + deadline_s)

    async def locate(
        self,
        lfns: Sequence[str],
        deadline_s: float = DEADLINE_S,
        *,
        max_age_s: float | None = None,
        verify: bool = False,
        collection: str | None = None,
    ) -> Located:
        """Which sites may hold each of the LFNs, within `deadline_s` seconds.

        No site is judged by news older than `max_age_s` seconds, and with `verify` only sites are listed whose catalogs
        hold the LFN; the index asks them. `collection` is that of all the LFNs, which an index that is parted by
        collections, or told of them alone, needs to know. What is lacking is named in the answer. Raises NameInvalid,
        and where not one LFN could be asked about Unreachable or DeadlineExceeded.
        """
        return await self._locate(lfns, _time() + deadline_s, Question(Demand(max_age_s, verify), collection))

    async def exists(
        self,
        lfns: Sequence[str],
        deadline_s: float = DEADLINE_S,
        *,
        max_age_s: float | None = None,
        verify: bool = False,
        collection: str | None = None,
    ) -> Existence:
        """Which of the LFNs some site may hold, which none does, and which nobody can say; else as `locate`."""
        located = await self._locate(lfns, _time() + deadline_s, Question(Demand(max_age_s, verify), collection))
        return demands.existence(located.said)

    async def lookup(
        self,
        lfns: Sequence[str],
        deadline_s: float = DEADLINE_S,
        *,
        max_age_s: float | None = None,
        client_site: str | None = None,
        nearness: Nearness | None = None,
        collection: str | None = None,
    ) -> Lookup:
        """Verified copies of each of the LFNs, within `deadline_s` seconds; raises what `locate` raises.

        A catalog that does not answer in time is named in the answer, and so is one whose news is older than
        `max_age_s` seconds and which could not be asked instead. Copies are ordered for a client at `client_site` by
        the distances of `nearness`, and by the round trips that it remembers, this lookup's included.
        """
        now, near = _time(), nearness or self._nearness
        located = await self._locate(lfns, now + deadline_s * INDEX_SHARE, Question(Demand(max_age_s), collection))
        answers = await ask_catalogs(self._transport, resolve.asks(located.said), now + deadline_s, near.trips)
        found = replace(resolve.lookup(located.said, answers), nodes=located.nodes)
        return near.nearest_first(found, client_site)

    async def matching(self, pattern: str, limit: int = LFNS_LISTED, deadline_s: float = DEADLINE_S) -> Listed:
        """All LFNs that match a glob pattern, with their sites, or the first `limit`; each request takes `deadline_s`.

        Index nodes below are asked for what they hold, and so on down to the lists of the sites' names. Raises
        NotIndexed: the index is not told whole names, nor is any below; NameInvalid; where no node could be asked
        Unreachable or DeadlineExceeded. What is lacking is named in the answer.
        """
        return await self._matching(names.pattern(pattern).text, limit, deadline_s, LEVELS_MAX)

    async def _matching(self, pattern: str, limit: int, deadline_s: float, levels: int) -> Listed:
        """The same over so many levels of index nodes: with none left, what is below is lacking."""
        view = await self.view(deadline_s)
        failed: dict[str, ReplocError] = {}

        async def page(node: str, most: int, after: str | None) -> ListedLfns | None:
            client = RliNodeClient(view.urls[node], request_s=deadline_s, transport=Retrying(self._transport))
            try:
                return await client.matching(pattern, most, after)
            except ReplocError as wrong:
                if not _another_may_know(wrong):
                    raise
                failed[node] = wrong
                self._failed(view.urls[node])
                return None

        found = await listing.gathered(view.ring.needs[-1], page, limit, lambda node: self._ailing(view.urls[node]))
        if not found.answered:
            raise _nothing_said("no owner of the slots answered", failed)

        async def below(urls: list[str]) -> Listed:
            if levels == 1:
                raise HierarchyLoop(f"there are more than {LEVELS_MAX} levels of index nodes")
            return await RliClient(urls, transport=self._transport)._matching(pattern, limit, deadline_s, levels - 1)

        found = replace(found, nodes={node: _words(wrong) for node, wrong in failed.items()})
        return await listing.descended(found, limit, below)

    # ---- the index

    async def _locate(self, lfns: Sequence[str], until: float, question: Question) -> Located:
        names.require_all(lfns)
        if not lfns:
            return Located(locations.joined([]), frozenset(), {})
        distinct = list(dict.fromkeys(lfns))
        view = await self._current_view(until)
        failed: dict[str, ReplocError] = {}
        said, answered = await self._ask_view(view, distinct, question, until, failed)
        if said.incomplete and (fresh := await self._changed_view(view, until, urgent=len(answered) < len(distinct))):
            said, answered = await self._ask_also(fresh, (said, answered), question, until, failed)
        for former in self._former_views():
            if said.incomplete:
                said, answered = await self._ask_also(former, (said, answered), question, until, failed)
        if not answered:
            raise _nothing_said("no owner of the slots answered", failed)
        descent = Descent(self._transport, until, question.demand)
        said = await descent.followed(said)
        failed |= descent.failed
        return Located(said, answered, {node: _words(wrong) for node, wrong in failed.items()})

    async def _ask_view(
        self, view: View, lfns: Sequence[str], question: Question, until: float, failed: dict[str, ReplocError]
    ) -> Said:
        """What the owners by one view say, and which LFNs at least one of them spoke about."""
        answers = await self._ask_owners(view, lfns, question, until, failed)
        said = locations.joined([locations.unanswered(part.lfns) if one is None else one for part, one in answers])
        return said, frozenset(lfn for part, one in answers if one is not None for lfn in part.lfns)

    async def _ask_also(
        self, view: View, before: Said, question: Question, until: float, failed: dict[str, ReplocError]
    ) -> Said:
        """The same, with what the owners by another view say of what is incomplete."""
        said, answered = before
        more, also_answered = await self._ask_view(view, said.incomplete, question, until, failed)
        return locations.merged(said, more), answered | also_answered

    async def _ask_owners(
        self, view: View, lfns: Sequence[str], question: Question, until: float, failed: dict[str, ReplocError]
    ) -> list[tuple[Part, Locations | None]]:
        """What the owners say of each part, None where none could be asked; `failed` takes the nodes that did not."""

        async def ask(part: Part) -> tuple[Part, Locations | None]:
            return part, await self._ask_part(view, part, question, until, failed)

        return await side_by_side(ask, view.parts(lfns, question.collection), PARTS)

    async def _ask_part(
        self, view: View, part: Part, question: Question, until: float, failed: dict[str, ReplocError]
    ) -> Locations | None:
        async def ask(node: str, lfns: Sequence[str], *, left: int, alone: bool) -> Locations | None:
            transport = Retrying(self._transport) if left == 1 and alone else self._transport
            headers = {HOP_HEADER: ASKER, RING_HEADER: view.ring.version} if len(part.needs) > 1 else None
            request_s = _attempt_s(until, left)
            client = RliNodeClient(view.urls[node], request_s=request_s, transport=transport, headers=headers)
            try:
                return await client.locations(lfns, question.demand, question.collection)
            except ReplocError as wrong:
                if not _another_may_know(wrong):
                    raise
                failed[node] = wrong
                self._failed(view.urls[node])
                return None

        def ailing(node: str) -> bool:
            return self._ailing(view.urls[node])

        others = [] if len(part.needs) > 1 else self._others(view, part.needs[0])
        return await ask_shares(part.needs, part.lfns, ask, ailing, others)

    def _others(self, view: View, owners: Sequence[str]) -> list[str]:
        """A few nodes that own nothing of it, but may reach those that do."""
        others = [name for name in view.urls if name not in owners and not self._ailing(view.urls[name])]
        return others[:OTHERS_MAX]

    # ---- who belongs to it

    async def _current_view(self, until: float) -> View:
        await self._take_turn(until)
        try:
            if self._view is None or _time() >= self._view_until:
                self._take_view(await self._fetch_view(until))
            assert self._view is not None
            return self._view
        finally:
            self._fetching.release()

    def _take_view(self, fresh: View) -> None:
        before, now = self._view, _time()
        if before is not None and before.ring != fresh.ring:
            self._former, self._former_until = before, now + before.expiry_s
        self._view = fresh
        self._view_until = now + min(MEMBERS_S, fresh.expiry_s / 2)

    def _former_views(self) -> list[View]:
        """The views before the last change of the ring, as this client and as the nodes remember it."""
        found = [self._former] if self._former is not None and _time() < self._former_until else []
        if self._view is not None and self._view.former is not None:
            found.append(self._view.former)
        return [view for at, view in enumerate(found) if view.ring not in [other.ring for other in found[:at]]]

    async def _take_turn(self, until: float) -> None:
        """Waits until no other call fetches the members."""
        try:
            async with asyncio.timeout_at(until):
                await self._fetching.acquire()
        except TimeoutError as wrong:
            raise DeadlineExceeded("no index node said in time who belongs to the index") from wrong

    async def _changed_view(self, old: View, until: float, *, urgent: bool) -> View | None:
        """A view fetched anew, where it differs from the old one; where it is not urgent, at most once a second."""
        if not urgent and _time() < self._looked_at + RECHECK_S:
            return None
        self._view_until, self._looked_at = 0.0, _time()
        try:
            fresh = await self._current_view(until)
        except ReplocError:
            return None
        return fresh if fresh != old else None

    async def _fetch_view(self, until: float) -> View:
        failed: dict[str, ReplocError] = {}
        known = self._view.urls.values() if self._view else ()
        urls = sorted(dict.fromkeys([*self.urls, *known]), key=self._ailing)
        for number, url in enumerate(urls):
            node = RliNodeClient(url, request_s=_attempt_s(until, len(urls) - number), transport=self._transport)
            try:
                return locations.view(await node.members())
            except ReplocError as wrong:
                if not _another_may_know(wrong):
                    raise
                failed[url] = wrong
                self._failed(url)
        raise _nothing_said("no index node could say who belongs to the index", failed)

    def _ailing(self, url: str) -> bool:
        """Whether the node at an address failed a moment ago."""
        return self._ailing_until.get(url, 0.0) > _time()

    def _failed(self, url: str) -> None:
        self._ailing_until[url] = _time() + AILING_S
        self._view_until = 0.0


def _time() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()


def _attempt_s(until: float, left: int) -> float:
    """Seconds for one node when `left` can be asked one after the other: a fair share of what remains."""
    share = max(until - _time(), 0.0) / left
    return min(share, ATTEMPT_S) if left > 1 else share


def _another_may_know(wrong: ReplocError) -> bool:
    """Whether an error is the node's own trouble; what the request itself got wrong, no other node gets right."""
    return wrong.status >= 500


def _words(wrong: ReplocError) -> str:
    return f"{wrong.code}: {wrong.detail}"


def _nothing_said(what: str, failed: dict[str, ReplocError]) -> ReplocError:
    """The error when nobody could be asked: DeadlineExceeded where time alone was lacking, else Unreachable."""
    detail = f"{what}: " + "; ".join(f"{who}: {wrong.detail}" for who, wrong in failed.items())
    late = all(isinstance(wrong, DeadlineExceeded) for wrong in failed.values())
    if not late and all(isinstance(wrong, AnswerInvalid) for wrong in failed.values()):
        return AnswerInvalid(detail)
    return DeadlineExceeded(detail) if late else Unreachable(detail)
