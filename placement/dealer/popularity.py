"""The plugin `popularity`: more copies of what is read much (Dynamo paper, section 4.2).

The weight of a dataset is `dataset.demand_rank`, the sum of its accesses, each of which counts half after every
half-life. For every `threshold` of weight a copy is wanted, up to `max_replication`; those that exist, or are on their
way, at sites from which jobs read are taken off. Copies go to such sites alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from placement.dealer.plugin import Scene
from placement.dealer.proposal import Proposal
from placement.dealer.settings import PluginSettings
from placement.detox.runs import Bits
from placement.policy.bits import of_datasets
from placement.policy.parser import parse_condition
from placement.policy.syntax import Condition, variables_of
from placement.policy.texts import glob_matching
from placement.policy.variables import INVENTORY, VARIABLES, Level
from reploc.errors import ConfigInvalid

WEIGHT = "dataset.demand_rank"


class PopularitySettings(PluginSettings, frozen=True):
    """How much is popular, and what may be copied for that."""

    threshold: Annotated[float, Meta(description="A copy is wanted for every so much of weight.", gt=0)] = 1.75
    max_replication: Annotated[int, Meta(description="At most so many copies are wanted.", ge=1)] = 10
    max_dataset_size: Annotated[int, Meta(description="Bytes of the largest dataset that is copied.", ge=0)] = (
        50_000_000_000_000
    )
    source_groups: Annotated[
        tuple[str, ...], Meta(description="Groups (globs), of which one must own some of a dataset. Empty: any.")
    ] = ()
    condition: Annotated[str, Meta(description="A condition on datasets, as policies have them. Empty: all.")] = ""


class Popularity:
    """The plugin. Made of a condition that is wrong, it raises PolicyInvalid and ConfigInvalid."""

    settings: ClassVar[type[PopularitySettings]] = PopularitySettings

    def __init__(self, settings: PopularitySettings) -> None:
        self._settings = settings
        self._condition = _condition(settings.condition) if settings.condition else None

    def variables(self) -> frozenset[str]:
        """The weight, and what the condition asks producers for."""
        asked = variables_of(self._condition) if self._condition else set()
        return frozenset({WEIGHT} | {each.name for each in asked if each.producer != INVENTORY})

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """The first copy of every dataset that lacks one, the heaviest first, then the second, and so on."""
        told = self._settings
        weight = np.asarray(scene.columns.column(VARIABLES[WEIGHT]))
        wanted = np.minimum(told.max_replication, np.ceil(weight / told.threshold)).astype(np.int64)
        lacking = wanted - scene.stock.whole_copies(scene.disks)
        chosen = np.flatnonzero((lacking > 0) & (weight > 0) & self._allowed(scene))
        names = scene.inventory.datasets["name"].gather(chosen)
        order = np.lexsort((names.rank("ordinal").to_numpy(), -weight[chosen]))
        datasets = chosen[order]
        sites = tuple(np.flatnonzero(scene.disks).tolist())
        rounds = range(int(lacking[datasets].max(initial=0)))
        return [
            Proposal(int(dataset), None, sites, why=f"weight {weight[dataset]:.2f}")
            for number in rounds
            for dataset in datasets[lacking[datasets] > number]
        ]

    def _allowed(self, scene: Scene) -> Bits:
        told, inventory = self._settings, scene.inventory
        found: Bits = (inventory.datasets["size"] <= told.max_dataset_size).to_numpy()
        if self._condition is not None:
            found = found & of_datasets(self._condition, scene.columns, scene.now_s)
        if told.source_groups:
            groups = np.zeros(inventory.groups.height, dtype=np.bool_)
            for word in told.source_groups:
                groups |= glob_matching(word, inventory.groups["name"])
            rows = inventory.block_replicas
            mine = groups[rows["group"].to_numpy()]
            replica = rows["dataset_replica"].to_numpy()[mine]
            owned = np.zeros(inventory.datasets.height, dtype=np.bool_)
            owned[inventory.dataset_replicas["dataset"].to_numpy()[replica]] = True
            found = found & owned
        return found


def _condition(text: str) -> Condition:
    where = "dealer.plugins.popularity: condition"
    found = parse_condition(text, where, frozenset({Level.DATASET}))
    for variable in sorted(variables_of(found), key=str):
        if variable.volatile:
            raise ConfigInvalid(f"{where}: {variable} is of what copies there are, which is what the plugin decides")
    return found
