"""How long catalogs take to answer, as whoever asks them has measured it: smoothed, and bounded in memory.

The mean forgets as that of TCP does (RFC 6298, section 2), by an eighth with each answer, so that one that was held up
does not turn the order of copies round.
"""

from __future__ import annotations

from collections import OrderedDict

#: The weight of the newest measurement.
GAIN = 0.125
#: Sites that are remembered; the one that was measured longest ago goes first.
SITES_MAX = 10_000
#: A longer question shows how fast a catalog works, not how far away it is.
LFNS_MAX = 10


class RoundTrips:
    """Smoothed seconds from a question to its answer, by site."""

    def __init__(self, sites_max: int = SITES_MAX) -> None:
        self._sites_max = sites_max
        self._seconds: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seconds)

    def measured(self, site: str, seconds: float, lfns: int) -> None:
        """Takes in how long a site's catalog took to answer about so many LFNs."""
        if lfns > LFNS_MAX:
            return
        before = self._seconds.get(site, seconds)
        self._seconds[site] = before + GAIN * (seconds - before)
        self._seconds.move_to_end(site)
        if len(self._seconds) > self._sites_max:
            self._seconds.popitem(last=False)

    def seconds(self, site: str) -> float | None:
        """What a round trip to a site's catalog takes; None where none was measured."""
        return self._seconds.get(site)
