"""Which index nodes there are by the word of a registry, as a pure rule: what a party believes of what it is told.

* A node that is listed belongs to the index; the same name under another address has moved.
* A node that is no longer listed has left, since its lease has ended. Not so for `patience_s` after a time in which the
  registry could not be asked: then all leases may have ended with it, and every node has so long to come back.
* The same holds when more than half of the nodes are gone at once: then the registry, or the way to it, is more likely
  at fault than they are.
* A list without any node changes nothing: an index of no nodes answers nobody.
* Changes are gathered for `settle_s`, so that several nodes that come at once change the ring once, and two changes of
  the ring are at least so far apart.

Moments are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf


class Roster:
    """The nodes of one index, name → address."""

    def __init__(self, known: Mapping[str, str], *, patience_s: float, settle_s: float, now: float) -> None:
        """`known` are those that are believed before the registry has said anything."""
        self._patience_s = patience_s
        self._settle_s = settle_s
        #: What is believed, and what will be once it has settled.
        self.nodes: dict[str, str] = dict(known)
        self._wanted: dict[str, str] = dict(known)
        self._settles_at = inf
        self._changed_at = now - settle_s
        #: Until this moment nobody is taken for gone; for ever while the registry does not answer.
        self._lenient_until = now + patience_s
        self._answers = True
        #: Whether more than half of the nodes were gone when the registry was last heard.
        self._suspicious = False

    def first(self, nodes: Mapping[str, str], now: float) -> None:
        """The first list: it is believed as it is, with whom was known before, since nothing was built on another."""
        self.nodes = self._wanted = {**self.nodes, **nodes}
        self._changed_at = now

    def listed(self, nodes: Mapping[str, str], now: float) -> None:
        """The registry lists these nodes and no others; to be told again, changed or not, while it answers."""
        if not self._answers:
            self._answers = True
            self._lenient_until = now + self._patience_s
        if not nodes:
            return
        suspicious = 2 * len(self.nodes.keys() - nodes.keys()) > len(self.nodes)
        if suspicious and not self._suspicious:
            self._lenient_until = max(self._lenient_until, now + self._patience_s)
        self._suspicious = suspicious
        wanted = {**(self.nodes if now < self._lenient_until else {}), **nodes}
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if wanted == self.nodes:
            self._settles_at = inf
        elif self._settles_at == inf:
            self._settles_at = max(now, self._changed_at) + self._settle_s

    def lost(self) -> None:
        """The registry could not be asked: what is believed stays."""
        self._answers = False

    def settle(self, now: float) -> bool:
        """Whether `nodes` has become another by now."""
        if now < self._settles_at or self._wanted == self.nodes:
            return False
        self.nodes = dict(self._wanted)
        self._settles_at, self._changed_at = inf, now
        return True

    def due_s(self, now: float) -> float:
        """Seconds until `settle` may say yes without further news."""
        return max(self._settles_at - now, 0.0)
