"""The story: what is done to the grid, act by act, with every lookup checked against the account of what is true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from reploc.client import RliNodeClient
from reploc.client.locations import Located
from reploc.client.resolve import Lookup
from reploc.commands.terminal import say, shown_age
from reploc.demo.files import DATASET, LFN_PREFIX, adler32
from reploc.demo.grid import NODES, REST_S, SITES, Grid
from reploc.demo.processes import LOOK_S
from reploc.demo.truth import Expected, Opened, Verdict, judged, local_path
from reploc.errors import DeadlineExceeded
from reploc.wire import DeleteItem, MappingItem

#: Names that one request for lookups carries.
BATCH = 1_000
#: Seconds that one batch of lookups may take, dead sites and nodes included.
DEADLINE_S = 20.0
#: The number of the first act here: registering the files comes before.
FIRST_ACT = 2
#: The number of the first act that the services beside the grid play.
FIRST_CHAPTER_ACT = 9
#: Wrong lookups that are shown in words; all are counted.
SHOWN_MAX = 5


#: A title, and what is done under it.
Act: TypeAlias = tuple[str, Callable[[], Awaitable[None]]]


@dataclass
class Story:
    """One telling: the grid, the account of the truth, how a PFN is looked at, and the count of right lookups."""

    grid: Grid
    truth: dict[str, Expected]
    look: Opened
    verdict: Verdict = field(default_factory=Verdict)

    async def told(self) -> None:
        """All acts after the files are registered."""
        acts: Sequence[Act] = (
            ("Every file is looked up, and every copy checked", self.check_all),
            ("A new file", self._new_file),
            ("A deleted file", self._deleted_file),
            ("An index node is killed (SIGKILL)", self._node_killed),
            ("The node comes back with an empty memory", self._node_back),
            ("A site is killed (SIGKILL)", self._site_killed),
            ("The site comes back", self._site_back),
        )
        await played(acts)

    def claim(self, holds: bool, what: str) -> None:
        """Counts a claim about the grid, and says whether it holds."""
        say(f"   {'✓' if self.verdict.claim(holds, what) else '✗'} {what}")

    # ---- the acts ------------------------------------------------------------------------------------------------

    async def _new_file(self) -> None:
        site, lfn = SITES[0], f"{LFN_PREFIX}written-just-now.txt"
        data = b"Written while you watch.\n"
        pfn = self._written(site, lfn, data)
        began = time.monotonic()
        async with self.grid.lrc(site) as catalog:
            answer = await catalog.put([MappingItem(lfn, pfn, len(data), adler32(data), f"{DATASET}#new")])
        registered = time.monotonic() - began
        self.truth[lfn] = Expected(len(data), adler32(data), {site: pfn})
        await self._until_located(lfn, lambda located: site in located.said.locations[lfn])
        say(f"   registered at {site} in {_ms(registered)}, durable, at position {answer.position};")
        say(f"   all owners of its slot named {site} after {_ms(time.monotonic() - began)}")
        await self.check([lfn])

    async def _deleted_file(self) -> None:
        lfn = next(lfn for lfn, expected in self.truth.items() if len(expected.pfns) == 1)
        ((site, pfn),) = self.truth[lfn].pfns.items()
        began = time.monotonic()
        async with self.grid.lrc(site) as catalog:
            await catalog.delete([DeleteItem(lfn, pfn)])
        if path := local_path(pfn):
            path.unlink()
        self.truth[lfn] = Expected(None, None, {})
        await self.check([lfn])
        say(f"   the only copy of {lfn}, at {site}: a lookup said 'nowhere' at once, because it asks the catalog")
        await self._until_located(lfn, lambda located: not located.said.locations[lfn])
        say(f"   all owners of its slot had forgotten it after {_ms(time.monotonic() - began)}")

    async def _node_killed(self) -> None:
        self.grid.processes[NODES[0]].kill()
        say(f"   {NODES[0]} is gone; each of its slots has another owner, and clients find it themselves")
        await self.check_all()

    async def _node_back(self) -> None:
        process = self.grid.processes[NODES[0]]
        began = time.monotonic()
        process.start()
        await process.answering()
        await self.grid.settled()
        async with RliNodeClient(process.url) as node:
            status = await node.status()
        say(
            f"   {status.node} is complete for all its {status.slots_owned} slots, from {status.sites_live} sites, "
            f"{_ms(time.monotonic() - began)} after its start; the catalogs filled it"
        )
        await self.check_all()

    async def _site_killed(self) -> None:
        site = SITES[2]
        self.grid.processes[site].kill()
        began = time.monotonic()
        say(f"   {site} is gone; at first the index still names it, and lookups say that it does not answer")
        await self.check_all(down=frozenset([site]))
        await self._until_expired(site)
        say(
            f"   {shown_age(time.monotonic() - began)} after its death, those lookups included, no node names {site} "
            "any more; it is listed as missing, for 'no news' is not 'no copies'"
        )
        await self.check_all(down=frozenset([site]))

    async def _site_back(self) -> None:
        process = self.grid.processes[SITES[2]]
        began = time.monotonic()
        process.start()
        await process.answering()
        await self.grid.settled()
        say(f"   {SITES[2]} is known to every node again {_ms(time.monotonic() - began)} after its start")
        await self.check_all()

    # ---- files ---------------------------------------------------------------------------------------------------

    def _written(self, site: str, lfn: str, data: bytes) -> str:
        path = (self.grid.storage[site] / lfn.removeprefix(LFN_PREFIX)).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path.as_uri()

    # ---- lookups -------------------------------------------------------------------------------------------------

    async def check_all(self, down: frozenset[str] = frozenset()) -> None:
        await self.check(list(self.truth), down)

    async def check(self, lfns: Sequence[str], down: frozenset[str] = frozenset()) -> None:
        """Looks names up through the index and at the catalogs, and judges every answer."""
        verdict, took, copies = Verdict(), 0.0, 0
        async with self.grid.index() as index:
            for start in range(0, len(lfns), BATCH):
                began = time.monotonic()
                found = await index.lookup(lfns[start : start + BATCH], DEADLINE_S)
                took += time.monotonic() - began
                copies += _copies(found)
                verdict.add(judged(self.truth, found, down, self.look))
        self.verdict.add(verdict)
        mark = "✓" if not verdict.wrong else "✗"
        say(
            f"   {mark} {verdict.right:,} of {len(lfns):,} lookups right, {copies:,} copies verified; "
            f"the lookups took {_ms(took)} ({len(lfns) / took:,.0f} names/s)"
        )
        for wrong in verdict.wrong[:SHOWN_MAX]:
            say(f"     wrong: {wrong}")

    async def _until_located(self, lfn: str, settled: Callable[[Located], bool]) -> None:
        """Waits until every owner of the LFN's slot, asked alone, answers so."""
        async with self.grid.index() as index:
            (part,) = (await index.view()).parts([lfn])

        async def located(owner: str) -> bool:
            async with RliNodeClient(self.grid.urls[owner]) as node:
                said = await node.locations([lfn])
            return settled(Located(said, frozenset([lfn]), {}))

        for owner in part.needs[0]:
            await until(partial(located, owner), f"{owner} to hear of {lfn}")

    async def _until_expired(self, site: str) -> None:
        async def silent(node: str) -> bool:
            async with RliNodeClient(self.grid.urls[node]) as client:
                members = await client.members()
            return any(member.name == site and member.state == "silent" for member in members.members)

        for node in NODES:
            await until(partial(silent, node), f"{node} to drop {site}")


async def played(acts: Sequence[Act], first: int = FIRST_ACT) -> None:
    """Plays acts one after the other, the first under its number."""
    for number, (title, act) in enumerate(acts, first):
        heading(number, title)
        await act()


def heading(number: int, title: str) -> None:
    """Begins an act."""
    say("")
    say(f"{number}. {title}")


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits until something holds. Raises DeadlineExceeded: it did not within REST_S."""
    end = time.monotonic() + REST_S
    while not await holds():
        if time.monotonic() > end:
            raise DeadlineExceeded(f"waited {REST_S:g} s in vain for {what}")
        await asyncio.sleep(LOOK_S)


def _copies(found: Lookup) -> int:
    return sum(len(replica.pfns) for replicas in found.replicas.values() for replica in replicas)


def _ms(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
