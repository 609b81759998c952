"""What an index node says of what is below it holds for the very keys that it tells, whatever became of it meanwhile.

"Nowhere" of a node that lacks something is never believed; so no parent may be told that a node lacks nothing together
with a summary that was made while it did.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from grid import until
from simnet.tree import PACE, Air, TreeNode, TreeSite

from reploc import service
from reploc.hierarchy import Beneath, Child
from reploc.members import IndexSettings, Node, ParentsSettings
from reploc.sender.beneath import WAITING_MAX, BeneathLog, Word
from rli.settings import RliSettings

LFNS = [f"/run/{number}" for number in range(20)]


def said(complete: bool) -> Beneath:
    return Beneath("ring", complete, [] if complete else ["site"], ["node"], 1)


def log() -> BeneathLog:
    return BeneathLog(Word(0, said(False), 0.0))


def test_that_nothing_is_lacking_is_said_with_the_keys_for_which_it_was_told() -> None:
    words = log()
    words.tell(Word(10, said(True), 5.0))
    assert words.at(9) == (said(False), 0.0)
    assert words.at(10) == (said(True), 5.0)


def test_what_is_lacking_is_said_at_once_and_until_the_summaries_are_behind_it() -> None:
    words = log()
    words.tell(Word(10, said(True), 5.0))
    words.tell(Word(20, said(False), 6.0))
    assert not words.at(10)[0].complete
    words.tell(Word(30, said(True), 7.0))
    assert words.at(10)[0].complete, "these keys lacked nothing, and no others do now"
    assert not words.at(25)[0].complete, "these did"
    assert words.at(30)[0].complete


def test_of_more_words_than_may_wait_none_about_what_is_lacking_is_forgotten() -> None:
    words = log()
    for position in range(WAITING_MAX):
        words.tell(Word(position, said(True), 1.0))
    words.tell(Word(1_000, said(False), 2.0))
    words.tell(Word(1_001, said(True), 3.0))
    assert words.at(WAITING_MAX - 2)[0].complete
    assert not words.at(1_000)[0].complete
    words.tell(Word(1_002, said(True), 4.0))
    assert words.at(1_002)[0].complete


class Held(ThreadPoolExecutor):
    """An executor that begins nothing while it is held."""

    def __init__(self) -> None:
        super().__init__(1)
        self.waiting: list[Callable[[], None]] = []
        self.is_held = False

    def submit(self, job: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if not self.is_held:
            return super().submit(job, *arguments, **named)
        done: Future[Any] = Future()
        self.waiting.append(lambda: done.set_result(job(*arguments, **named)))
        return done

    async def begun(self) -> bool:
        """Whether anything waits to be begun."""
        return bool(self.waiting)

    def go_on(self) -> None:
        self.is_held = False
        while self.waiting:
            self.waiting.pop(0)()


@asynccontextmanager
async def two_levels() -> AsyncIterator[tuple[TreeNode, TreeNode, TreeSite]]:
    """A node with one site and a parent that it tells filters, with names that the site keeps."""
    air = Air(Random(1))
    low, top = index("none", "low"), index("bloom", "top")
    told = {**PACE, "compression": "bloom", "nodes": top.nodes}
    child = TreeNode(RliSettings(node="low", index=low, parents=ParentsSettings(**told)), air)
    parent = TreeNode(RliSettings(node="top", index=top, children=[Child(name="low")]), air)
    parent.start()
    child.start()
    site = TreeSite("site", low, air, set(LFNS))
    try:
        yield child, parent, site
    finally:
        for each in (site, child, parent):
            await each.stop()


def index(compression: str, name: str) -> IndexSettings:
    return IndexSettings(**{**PACE, "compression": compression, "nodes": [Node(name=name, url=f"http://{name}:1")]})


async def test_a_summary_that_was_made_while_a_site_was_lacking_is_never_told_as_lacking_nothing() -> None:
    """The site expires in the moment in which filters are built anyway, and is back before they are."""
    executor = Held()
    asyncio.get_running_loop().set_default_executor(executor)
    async with two_levels() as (child, parent, site):
        assert child.index is not None
        await until(looking(parent), lambda seen: seen == (True, len(LFNS)), "the parent knows all")
        site.write(set(), {*LFNS[:4]})
        while found(child) != (True, len(LFNS) - 4):
            await asyncio.sleep(0)
        # A machine that does something else for as long as deletions may wait for filters without them.
        time.sleep(PACE["rebuild_interval_s"])
        executor.is_held = True
        child.index.expire(service.now() + PACE["expiry_s"])
        await until(executor.begun, bool, "filters without the site's names are being built")
        await until(looking(child), lambda seen: seen == (True, len(LFNS) - 4), "the site is back")
        executor.go_on()
        for _ in range(200):
            complete, names = found(parent)
            assert not complete or names >= len(LFNS) - 4, f"the parent calls {names} names everything"
            await asyncio.sleep(0.002)
        await until(looking(parent), lambda seen: seen == (True, len(LFNS) - 4), "the parent knows all again")


def found(node: TreeNode) -> tuple[bool, int]:
    """Whether a node is complete, and for how many of the names it knows a place."""
    seen = node.located(LFNS)
    return not seen.incomplete, sum(bool(sites) for sites in seen.locations.values())


def looking(node: TreeNode) -> Callable[[], Awaitable[tuple[bool, int]]]:
    async def look() -> tuple[bool, int]:
        return found(node)

    return look
