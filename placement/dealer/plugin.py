"""What a plugin of the dealer is, how one is found and configured, and how the dealer gets their proposals.

A plugin is a class behind an entry point of the group `reploc.dealer_plugins`, made with its settings. Whatever goes
wrong with one stops the cycle before anything is ordered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol, runtime_checkable

from placement import requests
from placement.attributes import producer
from placement.columns import InventoryColumns, partition_rows
from placement.dealer.proposal import Proposal, Verdict
from placement.dealer.settings import DealerSettings, PluginSettings
from placement.dealer.stock import Stock
from placement.detox.plan import Plan as DetoxPlan
from placement.detox.runs import Bits
from placement.inventory import Inventory
from placement.policy.bits import Column
from placement.policy.source import nearest
from placement.policy.variables import VARIABLES, Variable
from placement.request_messages import DataRequest
from reploc import config
from reploc.errors import ConfigInvalid

ENTRY_POINTS = "reploc.dealer_plugins"


class Archive(Protocol):
    """What the service's database knows beside the inventory; a plugin asks when it needs it."""

    def last_detox(self, partition: str) -> DetoxPlan | None:
        """What the last cycle of detox about a partition decided, or None where there was none."""

    def open_requests(self) -> Sequence[DataRequest]:
        """The requests that are open, the oldest first."""


@dataclass(frozen=True)
class Scene:
    """What plugins propose by: an inventory as of a moment. Of the sites `left_out` there is no fresh news.

    `attributes` has the columns that the plugin asked for, by the names of variables.
    """

    inventory: Inventory
    now_s: float
    settings: DealerSettings
    left_out: frozenset[str]
    attributes: Mapping[str, Column]
    archive: Archive

    @cached_property
    def stock(self) -> Stock:
        """What sites hold, and will, dataset by dataset."""
        return Stock(self.inventory, self.left_out)

    @cached_property
    def disks(self) -> Bits:
        """The READY sites that jobs can read from, which are those that are not tape, shape (sites,)."""
        found: Bits = self.inventory.ready_sites & (self.inventory.sites["storage_type"] != "mss").to_numpy()
        return found

    @cached_property
    def member(self) -> Bits:
        """Which block replicas are in the dealer's partition. Raises DefinitionUnknown, PolicyInvalid."""
        return partition_rows(self.inventory, self.settings.partition)

    @cached_property
    def columns(self) -> InventoryColumns:
        """The inventory's columns under the names of variables, those of producers among them."""
        return InventoryColumns(self.inventory, self.attributes)


class Plugin(Protocol):
    """Proposes copies. It is made with its settings, once; its methods may be called again and again, and must give the
    same for the same inventory."""

    #: The type of its settings.
    settings: ClassVar[type[PluginSettings]]

    def variables(self) -> frozenset[str]:
        """The names of variables that attribute producers must supply for it. Raises ConfigInvalid, PolicyInvalid."""

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        """The copies that it wants, the most wanted first, in an order that the inventory alone determines."""


@runtime_checkable
class Ruling(Protocol):
    """What a plugin does besides that serves requests."""

    def ruled(self, scene: Scene, verdicts: Sequence[Verdict]) -> Sequence[requests.Ruling]:
        """What becomes of requests, by what was decided about each of its proposals, in the order it made them."""


def configured(tables: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, tuple[int, Plugin]]:
    """The plugins of a table of settings with their priorities, in the order of names.

    Raises ConfigInvalid: there is no such plugin, or its settings are wrong.
    """
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    made: dict[str, tuple[int, Plugin]] = {}
    for name in sorted(tables):
        if name not in known:
            near = nearest(name, known)
            raise ConfigInvalid(f"{where}: there is no plugin {name!r}{near}; known: {', '.join(sorted(known))}")
        kind = known[name].load()
        told = config.parse(kind.settings, dict(tables[name]), f"{where}: dealer.plugins.{name}")
        made[name] = (told.priority, kind(told))
    return made


def proposed(plugins: Mapping[str, tuple[int, Plugin]], scene: Scene) -> dict[str, Sequence[Proposal]]:
    """What each plugin proposes, by its name. Raises ProducerFailed: one failed, or took too long."""
    return {
        name: producer.within(
            scene.settings.plugin_deadline_s, f"the dealer's plugin {name!r}", partial(plugin.propose, scene)
        )
        for name, (_, plugin) in plugins.items()
    }


def needed(plugins: Mapping[str, tuple[int, Plugin]]) -> set[Variable]:
    """The variables that attribute producers must supply."""
    return {VARIABLES[variable] for _, plugin in plugins.values() for variable in plugin.variables()}
