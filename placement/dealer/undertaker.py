"""The plugin `undertaker`: what exists only at sites in trouble is copied elsewhere (Dynamo paper, section 4.2).

In trouble are the sites that are not ready, and those that the settings list. What is whole at one of them and neither
whole nor on its way at any other is proposed at one of the others: whole datasets, or the blocks of them that are. It
may be read from where it is, ready or not, for there is no other source.
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
from placement.policy.texts import glob_matching


class UndertakerSettings(PluginSettings, frozen=True):
    """Which sites are in trouble beside those that are not ready."""

    additional_sites: Annotated[
        tuple[str, ...], Meta(description="Globs of sites that are to be cleared though they are ready.")
    ] = ()


class Undertaker:
    """The plugin."""

    settings: ClassVar[type[UndertakerSettings]] = UndertakerSettings

    def __init__(self, settings: UndertakerSettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """One copy of what is stranded, in the order of the datasets' names."""
        inventory, stock = scene.inventory, scene.stock
        troubled = self._troubled(scene)
        rows, blocks = inventory.block_replicas, inventory.blocks
        block = rows["block"].to_numpy()
        bad = troubled[rows["site"].to_numpy()]
        whole = rows["complete"].to_numpy() & ~rows["deleting"].to_numpy()
        safe, stranded = (np.zeros(blocks.height, dtype=np.bool_) for _ in range(2))
        safe[block[stock.held & ~bad]] = True
        stranded[block[whole & bad & scene.member]] = True
        found = np.flatnonzero(stranded & ~safe)
        dataset = blocks["dataset"].to_numpy()[found]
        sites = tuple(np.flatnonzero(scene.disks & ~troubled).tolist())
        order = np.argsort(dataset, kind="stable")
        datasets, first = np.unique(dataset[order], return_index=True)
        parts = np.split(found[order], first[1:])
        names = inventory.datasets["name"].gather(datasets)
        proposals = []
        for each in names.arg_sort().to_list():
            key, mine = int(datasets[each]), parts[each]
            every = len(mine) == stock.blocks_with_files[key]
            some = None if every else tuple(sorted(mine.tolist()))
            proposals.append(Proposal(key, some, sites, rescue=True, why="at sites in trouble alone"))
        return proposals

    def _troubled(self, scene: Scene) -> Bits:
        found = ~scene.inventory.ready_sites
        for word in self._settings.additional_sites:
            found = found | glob_matching(word, scene.inventory.sites["name"])
        return np.asarray(found)
