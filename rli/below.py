"""The index nodes below one node, while it runs: who they are by its settings and its registry, whether what they send
is believed, and what is measured of them. The rules are those of `rli/children.py`.
"""

from __future__ import annotations

from collections import Counter

from reploc import service
from reploc.errors import HierarchyLoop
from reploc.membership import Membership
from reploc.telemetry import Metrics
from reploc.wire import Member, SoftState
from rli.children import Children
from rli.registry import Registry
from rli.settings import RliSettings

#: The states of a child by the names that `GET /v1/members` has for them; each is measured, though nobody be in it.
STATES = ("live", "silent", "listed")


class Below:
    """What a node believes of those below it. One event loop uses it."""

    def __init__(self, registry: Registry, settings: RliSettings, membership: Membership, metrics: Metrics) -> None:
        self._registry = registry
        self._membership = membership
        self._children = Children(settings.node, settings.children)
        self.take(settings)
        by_state = "Index nodes below, by their state: live, silent, or listed and not heard yet"
        metrics.watch_each("reploc_children", by_state, "state", self._states)
        metrics.watch_each(
            "reploc_child_complete",
            "1 where the news of a live index node below lacks no sender, else 0",
            "child",
            lambda: {child.name: float(bool(child.complete)) for child in self._live()},
        )
        metrics.watch_each(
            "reploc_child_news_age_seconds",
            "Age of the oldest news that a live index node below has told",
            "child",
            lambda: {child.name: child.news_age_s or 0.0 for child in self._live()},
        )

    def take(self, settings: RliSettings) -> None:
        """They are those of the settings, and those of the registry where these may be."""
        self._children.take(settings.children, self._membership.below() if settings.registered_children else {})
        self._registry.expect(self._children.expected, service.now())

    def believe(self, message: SoftState) -> None:
        """Raises what `Children.require` raises; a child that turns out to tell what came through this node is silent
        at once."""
        try:
            self._children.require(message)
        except HierarchyLoop:
            self._registry.disown(message.site, service.now())
            raise

    def _now(self) -> list[Member]:
        return [member for member in self._registry.members(service.now()) if member.kind == "child"]

    def _live(self) -> list[Member]:
        return [child for child in self._now() if child.state == "live"]

    def _states(self) -> dict[str, float]:
        counted = Counter[str](child.state for child in self._now())
        return {state: float(counted[state]) for state in STATES} if counted else {}
