"""Whom a node believes to be an index node below it, as pure rules.

* A node speaks to this one only if it stands in `children`, and at the address that stands there, if one does; no
  catalog speaks in its name. That it is who it says is for the guard to know, as with every sender.
* A registry may name children too, each at the address under which it put itself there. One that is not named any more
  is not waited for any longer than any other sender, but still believed: the registry may have lost it, or be lost.
* News that came through this node is refused, and so is what it told already: nobody hears its own words. The names of
  all nodes between travel with every message (`reploc/hierarchy.py`), so that a circle of any length is seen by each
  node in it.
* There are at most `LEVELS_MAX` levels below a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reploc.errors import Forbidden, HierarchyLoop
from reploc.hierarchy import LEVELS_MAX, Child, teller
from reploc.names import require_url
from reploc.wire import SoftState

#: Index nodes that a registry named once and that are still believed: as many as it may name at a time.
REGISTERED_MAX = 1_000


class Children:
    """The index nodes below one node."""

    def __init__(self, node: str, children: Sequence[Child]) -> None:
        self._node = node
        self._named = _addresses(children)
        self._registered: dict[str, str] = {}
        #: All that the registry ever named, the last ones last.
        self._known: dict[str, str] = {}

    @property
    def expected(self) -> dict[str, str]:
        """Name → address, empty where any will do: those that are to be heard."""
        return {**self._registered, **self._named}

    def take(self, children: Sequence[Child], registered: Mapping[str, str]) -> None:
        """From now on these stand in the settings, and these, name → address, in the registry."""
        self._named = _addresses(children)
        self._registered = {name: url for name, url in registered.items() if name != self._node}
        stay = {name: url for name, url in self._known.items() if name not in self._registered}
        self._known = dict([*stay.items(), *self._registered.items()][-REGISTERED_MAX:])

    def _address(self, name: str) -> str | None:
        """Where a child answers, empty text where anywhere will do; None of one that is no child."""
        return self._named.get(name, self._known.get(name))

    def require(self, message: SoftState) -> None:
        """Raises Forbidden: whoever sends is not believed; HierarchyLoop: its news came through this node, or over
        more levels than there may be."""
        url = self._address(teller(message.site))
        if message.beneath is None:
            if url is not None:
                raise Forbidden(f"{message.site!r} is an index node below this one; no catalog speaks in its name")
            return
        if url is None:
            raise Forbidden(
                f"index node {message.site!r} is no child of node {self._node!r}",
                hint="name it under [[children]] in the settings of the node that it sends to",
            )
        if url and require_url(message.url) != url:
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


def _addresses(children: Sequence[Child]) -> dict[str, str]:
    return {child.name: require_url(child.url) if child.url else "" for child in children}
