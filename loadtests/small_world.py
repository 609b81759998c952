"""A world of many small sites: ten to a thousand LFNs at each, most of them few, and each LFN at three of the sites.

Every site is a stretch of a line, as long as it has LFNs, and the LFNs are laid along that line three times, each time
in another order. So which sites hold an LFN follows from its number alone, and what a site holds from its stretch. The
first LFNs have names, so that they can be asked for; of the others there is what a node is told, their digests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadtests import world
from loadtests.sites import REPLICAS
from reploc import digest
from reploc.digest import Digests, mix

NAMES_MIN, NAMES_MAX = 10, 1_000
#: LFNs that have names, at most.
NAMED = 500_000
#: The golden section: an order by its multiples puts neighbours far apart, and far from where another order puts them.
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class SmallWorld:
    """`count` sites, whose sizes follow from the seed: as many between 10 and 100 as between 100 and 1,000."""

    count: int
    seed: int

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where the stretch of each site ends, shape (count,)."""
        exponents = np.random.default_rng(self.seed).uniform(np.log(NAMES_MIN), np.log(NAMES_MAX), self.count)
        ends = np.cumsum(np.exp(exponents).astype(np.int64))
        ends[-1] -= ends[-1] % REPLICAS
        return ends

    @property
    def pairs(self) -> int:
        """How many pairs of an LFN and a site there are."""
        return int(self.ends[-1])

    @property
    def names(self) -> int:
        """How many LFNs there are."""
        return self.pairs // REPLICAS

    @property
    def named(self) -> int:
        """How many of them have names: the first."""
        return min(NAMED, self.names)

    @cached_property
    def _steps(self) -> list[int]:
        """Of each order: how far apart neighbours lie."""
        steps = []
        for order in range(REPLICAS):
            step = max(1, int(self.names * _GOLDEN / (order + 1)))
            while math.gcd(step, self.names) != 1:
                step += 1
            steps.append(step)
        return steps

    def name(self, site: int) -> str:
        return f"t3-{site:06d}.example.org"

    def of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sites of each LFN, of which two may be the same, shape (n, REPLICAS)."""
        laid = [order * self.names + numbers * step % self.names for order, step in enumerate(self._steps)]
        return np.searchsorted(self.ends, np.stack(laid, axis=1), side="right")

    def held(self, site: int) -> NDArray[np.int64]:
        """The LFNs of a site, ascending."""
        first = 0 if site == 0 else int(self.ends[site - 1])
        places = np.arange(first, int(self.ends[site]))
        back = np.array([pow(step, -1, self.names) for step in self._steps])
        return np.unique(places % self.names * back[places // self.names] % self.names)

    @cached_property
    def _digests(self) -> Digests:
        return digest.of([world.lfn(number) for number in range(self.named)])

    def digests(self, numbers: NDArray[np.int64]) -> Digests:
        """The digests of LFNs, of those without names drawn as a hash spreads them, shape (n, 2)."""
        words = numbers.astype(np.uint64) + np.uint64(self.seed << 32)
        drawn = np.stack([mix(words), mix(~words)], axis=1)
        known = numbers < self.named
        drawn[known] = self._digests[numbers[known]]
        return drawn
