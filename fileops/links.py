"""How copies from one site to another go: success and throughput, exponentially weighted, and which source to take.

The expectation of a link is its rate of success times its throughput. A link of which nothing is known is as good as
the best that is known, so that it is tried. Now and then, by chance, another source than the best is taken: a link that
was bad may have become good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

#: The weight of the newest copy: ten copies later a third of the picture is still older.
WEIGHT = 0.1
#: How often another source than the best is taken.
EXPLORED = 0.05
#: Bytes a second of a link when none is known at all: only its likeness to other unknown ones matters.
RATE = 10e6
#: What of a link is counted up, by all runners together.
COUNTS = ("copies", "failures", "bytes")
#: A link that failed always still has a chance, or it would never be tried again.
SUCCESS_MIN = 0.01


@dataclass(frozen=True)
class Link:
    """What is known of copies from one site to another; `rate` in bytes a second, of copies that succeeded."""

    source: str
    destination: str
    success: float = 1.0
    rate: float = 0.0
    copies: int = 0
    failures: int = 0
    bytes: int = 0
    at_s: float = 0.0

    def after(self, *, succeeded: bool, moved: int, seconds: float, now: float) -> Link:
        """The link after one more copy."""
        success = (1 - WEIGHT) * self.success + WEIGHT * succeeded
        if not succeeded:
            return replace(self, success=success, failures=self.failures + 1, at_s=now)
        rate = moved / max(seconds, 1e-6)
        weighted = rate if self.rate == 0 else (1 - WEIGHT) * self.rate + WEIGHT * rate
        return replace(
            self,
            success=success,
            rate=self.rate if moved == 0 else weighted,
            copies=self.copies + 1,
            bytes=self.bytes + moved,
            at_s=now,
        )


class Links:
    """All links that are known."""

    def __init__(self, known: Iterable[Link] = ()) -> None:
        self._links = {(link.source, link.destination): link for link in known}
        self._kept = dict(self._links)
        self._changed: set[tuple[str, str]] = set()

    def add(self, source: str, destination: str, *, succeeded: bool, moved: int, seconds: float, now: float) -> None:
        """Takes one more copy into account."""
        key = source, destination
        link = self._links.get(key) or Link(source, destination)
        self._links[key] = link.after(succeeded=succeeded, moved=moved, seconds=seconds, now=now)
        self._changed.add(key)

    def all(self) -> list[Link]:
        """Every link, by source and destination."""
        return [self._links[key] for key in sorted(self._links)]

    def changed(self) -> list[Link]:
        """Those that changed since this was asked last, each with the counts since then."""
        changed, self._changed = self._changed, set()
        said = []
        for key in sorted(changed):
            link = self._links[key]
            before = self._kept.get(key, Link(*key))
            said.append(replace(link, **{name: getattr(link, name) - getattr(before, name) for name in COUNTS}))
            self._kept[key] = link
        return said

    def expectation(self, source: str, destination: str, best: float) -> float:
        """Bytes a second that a copy can be expected to come to; `best` is the best rate to the destination."""
        link = self._links.get((source, destination))
        if link is None:
            return best
        return max(link.success, SUCCESS_MIN) * (link.rate or best)

    def choose(self, sources: Iterable[str], destination: str, chance: Callable[[], float]) -> str | None:
        """The source to take among these, of equals the first by name; None where there is none.

        `chance` draws from [0, 1).
        """
        among = list(sources)
        if len(among) < 2:
            return among[0] if among else None
        rates = [link.rate for source in among if (link := self._links.get((source, destination))) is not None]
        best = max(rates, default=0.0) or RATE
        among.sort(key=lambda source: (-self.expectation(source, destination, best), source))
        if chance() < EXPLORED:
            return among[1 + int(chance() * (len(among) - 1))]
        return among[0]
