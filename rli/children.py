"""Whom a node believes to be an index node below it, as pure rules (`design.md` section 7, hierarchy).

* A node speaks to this one only if it stands in `children`, and at the address that stands there, if one does; no
  catalog speaks in its name. That it is who it says is for the guard to know, as with every sender.
* News that came through this node is refused, and so is what it told already: nobody hears its own words. The names of
  all nodes between travel with every message (`reploc/hierarchy.py`), so that a circle of any length is seen by each
  node in it.
* There are at most `LEVELS_MAX` levels below a node.
"""

from __future__ import annotations

from collections.abc import Sequence

from reploc.errors import Forbidden, HierarchyLoop
from reploc.hierarchy import LEVELS_MAX, Child
from reploc.names import require_url
from reploc.wire import SoftState


class Children:
    """The index nodes below one node."""

    def __init__(self, node: str, children: Sequence[Child]) -> None:
        self._node = node
        self._urls = {child.name: require_url(child.url) if child.url else "" for child in children}

    @property
    def expected(self) -> dict[str, str]:
        """Name → address, empty where any will do."""
        return dict(self._urls)

    def require(self, message: SoftState) -> None:
        """Raises Forbidden: whoever sends is not believed; HierarchyLoop: its news came through this node, or over
        more levels than there may be."""
        child = message.site in self._urls
        if message.beneath is None:
            if child:
                raise Forbidden(f"{message.site!r} is an index node below this one; no catalog speaks in its name")
            return
        if not child:
            raise Forbidden(
                f"index node {message.site!r} is no child of node {self._node!r}",
                hint="name it under [[children]] in the settings of the node that it sends to",
            )
        if (url := self._urls[message.site]) and require_url(message.url) != url:
            raise Forbidden(f"index node {message.site!r} is a child at {url}, but announces {message.url[:200]!r}")
        self._require_no_loop(message)

    def _require_no_loop(self, message: SoftState) -> None:
        assert message.beneath is not None
        if self._node in message.beneath.nodes:
            raise HierarchyLoop(
                f"node {self._node!r} would hear its own news: index node {message.site!r} has it through "
                f"{', '.join(sorted(set(message.beneath.nodes) - {message.site, self._node})) or 'no other'}"
            )
        if message.beneath.levels >= LEVELS_MAX:
            raise HierarchyLoop(
                f"index node {message.site!r} has {message.beneath.levels} levels of index nodes, itself included; "
                f"below node {self._node!r} there may be {LEVELS_MAX - 1}"
            )
