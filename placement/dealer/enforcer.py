"""The plugin `enforcer`: so many copies of what at which sites, by rules (Dynamo paper, section 4.2).

A rule is about the datasets of which its `sources` hold something that its conditions match. Of each there are to be
`num_copies` at its `destinations`, no more than those are; a copy counts that is whole, or will be, and is owned by the
rule's group where it names one. Whole copies of other groups are handed over before anything is copied. Detox sees
what rules need as `replica.enforcer_protected`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from placement import rules
from placement.dealer.plugin import Scene
from placement.dealer.proposal import Proposal
from placement.dealer.settings import PluginSettings
from placement.detox.runs import Bits, Keys
from placement.rules import EnforcerRules, Matching
from reploc.errors import ConfigInvalid


class EnforcerSettings(PluginSettings, frozen=True):
    """Where the rules are."""

    rules: Annotated[str, Meta(description="JSON or TOML file of rules, the same that the producer has.")] = ""

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("rules is empty; expected a JSON or TOML file")


class Enforcer:
    """The plugin. Its file is read anew for each cycle."""

    settings: ClassVar[type[EnforcerSettings]] = EnforcerSettings

    def __init__(self, settings: EnforcerSettings) -> None:
        self._path = Path(settings.rules)

    def variables(self) -> frozenset[str]:
        """None: rules cannot ask producers."""
        return frozenset()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """What each rule lacks, by the names of rules and datasets. Raises ConfigInvalid and PolicyInvalid."""
        return list(enforced(rules.read(self._path), scene, str(self._path)))


def enforced(held: EnforcerRules, scene: Scene, where: str) -> Iterator[Proposal]:
    """The proposals of some rules; `where` is the file that errors name."""
    matching = Matching(held, scene.inventory, scene.now_s, where)
    runs = scene.inventory.dataset_replicas["dataset"].to_numpy()
    for name in sorted(held.rules):
        rule = held.rules[name]
        destinations = matching.destinations(name)
        group = rule.destination_group or held.default_destination_group
        _require_group(scene, group, f"{where}: rules.{name}")
        matched = np.unique(runs[matching.replicas(name, matching.sources(name))])
        wanted = min(rule.num_copies, int(destinations.sum()))
        yield from _lacking(scene, matched, destinations, wanted, group, f"rule {name}")


def _lacking(scene: Scene, datasets: Keys, destinations: Bits, wanted: int, group: str, why: str) -> Iterator[Proposal]:
    """What some datasets lack of so many copies at some sites, the datasets in the order of names."""
    inventory, replicas = scene.inventory, scene.inventory.dataset_replicas
    site, dataset = replicas["site"].to_numpy(), replicas["dataset"].to_numpy()
    there = scene.stock.whole & destinations[site] & np.isin(dataset, datasets)
    counts = there & _owned(scene, group)
    copies = np.bincount(dataset[counts], minlength=inventory.datasets.height)
    foreign: dict[int, list[int]] = {}
    names_of_sites = inventory.sites["name"]
    for each in np.flatnonzero(there & ~counts):
        foreign.setdefault(int(dataset[each]), []).append(int(site[each]))
    everywhere = tuple(np.flatnonzero(destinations).tolist())
    names = inventory.datasets["name"].gather(datasets)
    for key in datasets[names.arg_sort().to_numpy()].tolist():
        missing = wanted - int(copies[key])
        flipped = sorted(foreign.get(key, []), key=lambda each: str(names_of_sites[each]))[: max(missing, 0)]
        yield from (Proposal(key, None, (each,), group, why=why) for each in flipped)
        yield from (Proposal(key, None, everywhere, group, why=why) for _ in range(missing - len(flipped)))


def _owned(scene: Scene, group: str) -> Bits:
    """Whether all of each dataset replica is a group's, or anybody's where none is named, shape (dataset replicas,)."""
    replicas, rows = scene.inventory.dataset_replicas, scene.inventory.block_replicas
    if not group or replicas.is_empty():
        return np.ones(replicas.height, dtype=np.bool_)
    mine = rows["group"].to_numpy() == scene.inventory.group_keys([group])[0]
    return np.asarray(np.logical_and.reduceat(mine, replicas["first"].to_numpy().astype(np.int64)))


def _require_group(scene: Scene, group: str, where: str) -> None:
    if group and scene.inventory.group_keys([group])[0] < 0:
        raise ConfigInvalid(f"{where}: group {group!r} is not defined")
