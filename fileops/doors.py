"""Which doors a copy goes through: pure choices over the doors of two sites and the movers that there are.

Third-party copies between doors of one protocol come first, then copies through this machine; within each, doors as
the sites order them. Attempts go round, so that a door that is broken does not hold a file up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reploc.sites import Door, Site


@dataclass(frozen=True)
class Way:
    """From one door to another."""

    source: Door
    target: Door

    @property
    def direct(self) -> bool:
        """Whether one mover can speak to both ends."""
        return self.source.protocol == self.target.protocol


def ways(source: Site, target: Site, movers: Collection[str]) -> list[Way]:
    """All ways between two sites, the best first."""
    found = [
        Way(out, into)
        for into in target.doors
        for out in source.doors
        if out.protocol in movers and into.protocol in movers
    ]
    return sorted(found, key=lambda way: not way.direct)


def way(source: Site, target: Site, movers: Collection[str], attempt: int) -> Way | None:
    """The way of an attempt, counted from 1; None where there is none."""
    found = ways(source, target, movers)
    return found[(attempt - 1) % len(found)] if found else None


def door_of(site: Site, pfn: str, movers: Collection[str]) -> tuple[Door, str] | None:
    """The first door behind which a PFN is, and its path there; None where it is behind none."""
    for door in site.doors:
        path = site.mapping(door).path_of(pfn)
        if path is not None and door.protocol in movers:
            return door, path
    return None
