"""The plugin `balancer`: last copies leave the sites where most is protected (Dynamo paper, section 4.2).

The last cycle of detox about the partition says what was protected where, and by which line of its policy. A *last
copy* is a dataset replica that one of the listed lines protected, of a dataset that has at most so many whole copies.
From the site with the largest protected fraction one after another is proposed elsewhere, the smallest first, so that
what is protected there shrinks once detox finds the other copy, until the fractions lie within `tolerance`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import polars as pl
from msgspec import Meta

from placement.dealer.plugin import Scene
from placement.dealer.proposal import Proposal
from placement.dealer.settings import PluginSettings
from placement.detox.plan import Plan as DetoxPlan
from placement.inventory import UNKNOWN
from placement.policy.parser import parse, parse_condition
from reploc.errors import ConfigInvalid


class BalancerSettings(PluginSettings, frozen=True):
    """What counts as a last copy, and how far sites are balanced in one cycle."""

    last_copies: Annotated[
        dict[str, int],
        Meta(description="Conditions of the policy's Protect lines, each with the most copies that are last ones."),
    ] = {}
    max_dataset_size: Annotated[int, Meta(description="Bytes of the largest dataset that is moved.", ge=0)] = (
        50 * 10**12
    )
    max_cycle_volume: Annotated[int, Meta(description="Bytes that are proposed in a cycle at most.", ge=0)] = (
        100 * 10**12
    )
    tolerance: Annotated[
        float, Meta(description="Protected fractions that differ by less are balanced.", gt=0, le=1)
    ] = 0.05

    def __post_init__(self) -> None:
        if not self.last_copies:
            raise ValueError("last_copies is empty; expected conditions of Protect lines with numbers of copies")
        for condition, copies in self.last_copies.items():
            if copies < 1:
                raise ValueError(f"last_copies: {condition!r} has {copies}; expected 1 or more")


@dataclass
class _Site:
    """A site while it is balanced: its last copies, (size, name of the dataset, key) with the largest first."""

    key: int
    quota: int
    protected: int
    last_copies: list[tuple[int, str, int]]

    @property
    def fraction(self) -> float:
        return self.protected / self.quota


class Balancer:
    """The plugin. Made of a condition that is wrong, it raises PolicyInvalid."""

    settings: ClassVar[type[BalancerSettings]] = BalancerSettings

    def __init__(self, settings: BalancerSettings) -> None:
        self._settings = settings
        where = "dealer.plugins.balancer: last_copies"
        self._most = {str(parse_condition(text, where)): copies for text, copies in settings.last_copies.items()}
        if len(self._most) < len(settings.last_copies):
            raise ConfigInvalid(f"{where}: a condition stands twice")

    def variables(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """Last copies, from the sites where most is protected; none where there was no cycle of detox yet."""
        told = scene.archive.last_detox(scene.settings.partition)
        if told is None:
            return []
        sites = self._sites(scene, told)
        if not sites:
            return []
        lowest = min(site.fraction for site in sites)
        queue = [(-site.fraction, name, site) for name, site in _named(scene, sites) if site.last_copies]
        heapq.heapify(queue)
        disks = tuple(np.flatnonzero(scene.disks).tolist())
        moved: set[int] = set()
        proposals, left = [], self._settings.max_cycle_volume
        while queue:
            fraction, name, site = queue[0]
            if -fraction - lowest < self._settings.tolerance:
                break
            size, _, key = site.last_copies.pop()
            if key not in moved:
                if size > left:
                    break
                left -= size
                site.protected -= size
                lowest = min(lowest, site.fraction)
                moved.add(key)
                why = f"{-fraction:.1%} of {name} is protected"
                proposals.append(Proposal(key, None, disks, why=why))
            if site.last_copies:
                heapq.heapreplace(queue, (-site.fraction, name, site))
            else:
                heapq.heappop(queue)
        return proposals

    def _sites(self, scene: Scene, told: DetoxPlan) -> list[_Site]:
        """The sites with a quota that detox looked at, with what was protected and the last copies there."""
        keys = scene.inventory.site_keys([site.site for site in told.header.sites])
        last = self._last_copies(scene, told)
        return [
            _Site(int(key), site.quota, site.protected, last.get(site.site, []))
            for key, site in zip(keys, told.header.sites, strict=True)
            if key != UNKNOWN and site.quota is not None and site.quota > 0
        ]

    def _last_copies(self, scene: Scene, told: DetoxPlan) -> dict[str, list[tuple[int, str, int]]]:
        """By site what is a last copy there still, the largest first, so that the smallest is taken from the end."""
        most = pl.DataFrame(list(self._lines(told).items()), schema={"line": pl.UInt32, "most": pl.Int64}, orient="row")
        copies, inventory = scene.stock.whole_copies(scene.disks), scene.inventory
        datasets = inventory.datasets.lazy().select(pl.col("name").alias("dataset"), "size").with_row_index("key")
        sites = inventory.sites.lazy().select(pl.col("name").alias("site")).with_row_index("site_key")
        whole = inventory.dataset_replicas.lazy().filter(pl.Series(scene.stock.whole))
        there = whole.select(pl.col("dataset").alias("key"), pl.col("site").cast(pl.UInt32).alias("site_key"))
        last = (
            told.decisions.lazy()
            .filter(pl.col("decision") == "protect")
            .join(most.lazy(), on="line")
            .join(datasets.with_columns(pl.Series("copies", copies)), on="dataset")
            .filter(pl.col("copies") <= pl.col("most"), pl.col("size") <= self._settings.max_dataset_size)
            .join(sites, on="site")
            .join(there, on=["key", "site_key"], how="semi")
            .select("site", "size", "dataset", "key")
            .unique()
            .sort("site", "size", "dataset", descending=[False, True, True])
        )
        found: dict[str, list[tuple[int, str, int]]] = {}
        for site, *copy in last.collect().iter_rows():
            found.setdefault(site, []).append(tuple(copy))
        return found

    def _lines(self, told: DetoxPlan) -> dict[int, int]:
        """The lines of the policy that are listed, by number, with the most copies that are last ones."""
        policy = parse(told.header.policy, told.header.policy_file).checked()
        found = {}
        for line in policy.lines:
            text = str(line.condition)
            if line.place is not None and text in self._most:
                found[line.place.line] = self._most[text]
        return found


def _named(scene: Scene, sites: list[_Site]) -> list[tuple[str, _Site]]:
    return [(str(scene.inventory.sites["name"][site.key]), site) for site in sites]
