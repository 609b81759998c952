"""What copies say: datasets at sites that are protected, and datasets of which a copy is under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from placement.attributes.producer import Asked
from placement.inventory import Array, Inventory
from placement.policy.bits import Column
from placement.policy.texts import glob_matching
from placement.policy.values import is_glob
from reploc.config import Settings
from reploc.errors import ConfigInvalid


class ProtectedSitesSettings(Settings, frozen=True):
    """Which sites are protected."""

    sites: Annotated[tuple[str, ...], Meta(description="Names of sites, or globs.")] = ()

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError("sites is empty; expected names of sites, or globs")


class ProtectedSites:
    """The producer `protected_sites`."""

    settings: ClassVar[type[Settings]] = ProtectedSitesSettings

    def __init__(self, settings: ProtectedSitesSettings) -> None:
        self._settings = settings

    def variables(self) -> frozenset[str]:
        """What it supplies."""
        return frozenset({"dataset.on_protected_site"})

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """Whether something of each dataset is at a protected site. Raises ConfigInvalid: nobody knows a site."""
        names = asked.inventory.sites["name"]
        protected = np.zeros(len(names), dtype=np.bool_)
        for wanted in self._settings.sites:
            found = glob_matching(wanted, names) if is_glob(wanted) else (names == wanted).to_numpy()
            if not found.any():
                raise ConfigInvalid(f"protected_sites: no site is {wanted!r}")
            protected |= found
        replicas = asked.inventory.dataset_replicas
        there = (replicas["files"] > 0).to_numpy() & protected[replicas["site"].to_numpy()]
        return {"dataset.on_protected_site": _datasets(asked.inventory, replicas["dataset"].to_numpy()[there])}


class NoSettings(Settings, frozen=True):
    """There is nothing to set."""


class UnhandledCopies:
    """The producer `unhandled_copies`."""

    settings: ClassVar[type[Settings]] = NoSettings

    def __init__(self, settings: NoSettings) -> None:
        del settings

    def variables(self) -> frozenset[str]:
        """What it supplies."""
        return frozenset({"dataset.unhandled_copy_exists"})

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """Whether a copy of something of each dataset is ordered and has not arrived."""
        rows = asked.inventory.block_replicas
        under_way = (rows["copying"] & ~rows["complete"]).to_numpy()
        dataset = asked.inventory.blocks["dataset"].to_numpy()[rows["block"].to_numpy()[under_way]]
        return {"dataset.unhandled_copy_exists": _datasets(asked.inventory, dataset)}


def _datasets(inventory: Inventory, chosen: Array) -> Array:
    found = np.zeros(inventory.datasets.height, dtype=np.bool_)
    found[chosen] = True
    return found
