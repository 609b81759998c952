"""Which doors a copy goes through: choices over the doors of two sites and the movers that there are.

Third-party copies between doors of one protocol come first, then copies through this machine; within each, doors as
the sites order them. Attempts go round, so that a door that is broken does not hold a file up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from reploc.name_mapping import NameMapping
from reploc.sites import Door, Site


@dataclass(frozen=True)
class NamedDoor:
    """A door of a site, and how it names files."""

    door: Door
    names: NameMapping


@dataclass(frozen=True)
class Way:
    """From one door to another."""

    source: NamedDoor
    target: NamedDoor

    @property
    def direct(self) -> bool:
        """Whether one mover can speak to both ends."""
        return self.source.door.protocol == self.target.door.protocol


class Doors:
    """The doors of all sites through which there is a mover, and the ways between them, each worked out once."""

    def __init__(self, sites: Mapping[str, Site], movers: Collection[str]) -> None:
        self._of = {
            name: [NamedDoor(door, site.mapping(door)) for door in site.doors if door.protocol in movers]
            for name, site in sites.items()
        }
        self._ways: dict[tuple[str, str], list[Way]] = {}

    def of(self, site: str) -> list[NamedDoor]:
        """The doors of a site, the best first."""
        return self._of.get(site, [])

    def ways(self, source: str, target: str) -> list[Way]:
        """All ways between two sites, the best first."""
        known = self._ways.get((source, target))
        if known is None:
            found = [Way(out, into) for into in self.of(target) for out in self.of(source)]
            known = self._ways[source, target] = sorted(found, key=lambda way: not way.direct)
        return known

    def way(self, source: str, target: str, attempt: int) -> Way | None:
        """The way of an attempt, counted from 1; None where there is none."""
        found = self.ways(source, target)
        return found[(attempt - 1) % len(found)] if found else None

    def behind(self, site: str, pfn: str) -> tuple[Door, str] | None:
        """The first door behind which a PFN is, and its path there; None where it is behind none."""
        for each in self.of(site):
            path = each.names.path_of(pfn)
            if path is not None:
                return each.door, path
        return None
