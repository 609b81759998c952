"""The plugin `group_reassign`: what some groups own is handed over to another one, where it is; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from placement.dealer.plugin import Scene
from placement.dealer.proposal import Proposal
from placement.dealer.settings import PluginSettings
from reploc.errors import ConfigInvalid


class GroupReassignSettings(PluginSettings, frozen=True):
    """Who gives, and who gets."""

    from_groups: Annotated[tuple[str, ...], Meta(description="The groups that give up what they own.")] = ()
    to_group: Annotated[str, Meta(description="The group that gets it. Empty: the dealer's own.")] = ""
    max_replicas: Annotated[int, Meta(description="Dataset replicas that one cycle hands over at most.", ge=1)] = 10_000

    def __post_init__(self) -> None:
        if not self.from_groups:
            raise ValueError("from_groups is empty; expected the groups that give up what they own")
        if self.to_group in self.from_groups:
            raise ValueError(f"to_group {self.to_group!r} is one of from_groups")


class GroupReassign:
    """The plugin."""

    settings: ClassVar[type[GroupReassignSettings]] = GroupReassignSettings

    def __init__(self, settings: GroupReassignSettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """Each dataset replica whose blocks in the partition one of the groups owns, in the order of names.

        Blocks that are not whole yet, and not on their way, wait. Raises ConfigInvalid: a group is not defined.
        """
        inventory, stock = scene.inventory, scene.stock
        heir = self._settings.to_group or scene.settings.group
        keys = inventory.group_keys([*self._settings.from_groups, heir])
        if (keys < 0).any() or not heir:
            strange = [*self._settings.from_groups, heir][int(np.argmin(keys))]
            raise ConfigInvalid(f"dealer.plugins.group_reassign: group {strange!r} is not defined")
        rows, replicas = inventory.block_replicas, inventory.dataset_replicas
        mine = np.isin(rows["group"].to_numpy(), keys[:-1]) & scene.member & stock.held
        replica = rows["dataset_replica"].to_numpy()[mine]
        blocks = rows["block"].to_numpy()[mine]
        found, first = np.unique(replica, return_index=True)
        parts = np.split(blocks, first[1:])
        dataset, site = (replicas[name].gather(found).to_numpy() for name in ("dataset", "site"))
        ranks = (
            inventory.datasets["name"].gather(dataset).rank("dense").to_numpy(),
            inventory.sites["name"].gather(site).rank("dense").to_numpy(),
        )
        order = np.lexsort((ranks[1], ranks[0]))[: self._settings.max_replicas]
        return [
            Proposal(
                int(dataset[each]),
                self._part(scene, int(dataset[each]), parts[each].tolist()),
                (int(site[each]),),
                heir,
                why="its owner gives it up",
            )
            for each in order
        ]

    @staticmethod
    def _part(scene: Scene, dataset: int, blocks: list[int]) -> tuple[int, ...] | None:
        return None if len(blocks) == scene.stock.blocks_with_files[dataset] else tuple(blocks)
