"""A hierarchy of index nodes as its nodes describe it, seen from any of them.

Each node names its parents, the other nodes of its index and the senders below it (`GET /v1/members`), so that whoever
follows all three from one node meets the whole tree. What a node says of itself, and what its parents say of it, stand
side by side: a child may be well and yet be silent at a parent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reploc.client.concurrency import side_by_side
from reploc.client.node import RliNodeClient
from reploc.client.transport import Transport
from reploc.errors import ReplocError
from reploc.hierarchy import BENEATH_NODES_MAX, LEVELS_MAX, is_relayed
from reploc.status import RliStatus
from reploc.wire import Answer, Member, Members

#: Seconds that one node may take to describe itself: one that needs longer is not well.
NODE_S = 5.0
#: Nodes that are asked at the same time.
NODES_AT_ONCE = 32


class TreeNode(Answer, frozen=True):
    """One index node. `level` counts from the top, which is 1; `index` is the ring of the node's own index.

    `children` and `sites` are the senders that it knows, `parents` the names of the nodes that it tells; `code` and
    `detail` say why a node that others name could not be asked, of which nothing else is known.
    """

    level: int
    node: str
    url: str
    index: str = ""
    slots_complete: int = 0
    slots_owned: int = 0
    parents: list[str] = []
    children: list[Member] = []
    sites: list[Member] = []
    code: str = ""
    detail: str = ""

    @property
    def complete(self) -> bool:
        """Whether the node may say "nowhere" for each slot that it owns: nothing is lacking all the way down."""
        return not self.code and self.slots_complete == self.slots_owned


@dataclass(frozen=True)
class Said:
    """What one node says of itself and of those that it knows."""

    members: Members
    status: RliStatus

    def named(self) -> list[Member]:
        """The index nodes that it names, as far as it knows where they are."""
        known = [one for one in self.members.members if one.kind != "lrc" and not is_relayed(one.name)]
        return [one for one in [*self.members.parents, *known] if one.url]

    def edges(self) -> list[tuple[str, str]]:
        """Who is above whom, as far as it knows: (parent, child)."""
        node = self.members.node
        below = [(node, member.name) for member in self.members.members if member.kind == "child"]
        return [*below, *((parent.name, node) for parent in self.members.parents)]


async def tree(urls: Sequence[str], transport: Transport) -> list[TreeNode]:
    """All index nodes that can be found from these, by level and name. At most `BENEATH_NODES_MAX` are asked."""
    said: dict[str, Said] = {}
    failed: dict[str, ReplocError] = {}
    #: Address → name, of all that were met; those given have no name until they tell it.
    met: dict[str, str] = dict.fromkeys(urls, "")
    asking = list(met)

    async def ask(url: str) -> None:
        try:
            client = RliNodeClient(url, request_s=NODE_S, transport=transport)
            said[url] = Said(await client.members(), await client.status())
        except ReplocError as wrong:
            failed[url] = wrong

    while asking:
        await side_by_side(ask, asking, NODES_AT_ONCE)
        answered = [said[url] for url in asking if url in said]
        named = {member.url: member.name for one in answered for member in one.named() if member.url not in met}
        asking = list(named)[: BENEATH_NODES_MAX - len(met)]
        met.update({url: named[url] for url in asking})
    return _described(met, said, failed)


def _described(met: Mapping[str, str], said: Mapping[str, Said], failed: Mapping[str, ReplocError]) -> list[TreeNode]:
    names = {url: said[url].members.node if url in said else name or url for url, name in met.items()}
    level = levels(names.values(), [edge for one in said.values() for edge in one.edges()])
    nodes = [_node(level[names[url]], names[url], url, said.get(url), failed.get(url)) for url in met]
    return sorted(nodes, key=lambda one: (one.level, one.index, one.node))


def levels(names: Iterable[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The level of each node: one below the lowest of its parents, 1 without any. `edges` are (parent, child).

    Settings may describe a circle, which the nodes refuse to follow; it ends here at the deepest level that there is.
    """
    level = dict.fromkeys(names, 1)
    for _ in range(LEVELS_MAX):
        for parent, child in edges:
            if parent in level and child in level:
                level[child] = max(level[child], min(level[parent] + 1, LEVELS_MAX))
    return level


def _node(level: int, name: str, url: str, said: Said | None, wrong: ReplocError | None) -> TreeNode:
    if said is None:
        assert wrong is not None
        return TreeNode(level, name, url, code=wrong.code, detail=wrong.detail)
    senders = said.members.members
    return TreeNode(
        level,
        name,
        url,
        index=said.members.ring,
        slots_complete=said.status.slots_complete,
        slots_owned=said.status.slots_owned,
        parents=[parent.name for parent in said.members.parents],
        children=[one for one in senders if one.kind == "child"],
        sites=[one for one in senders if one.kind == "lrc"],
    )
