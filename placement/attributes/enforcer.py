"""The enforcer's rules as far as deletion is concerned: which dataset replicas a rule needs where they are.

A rule asks for `num_copies` of what its `replicas` conditions match, at the sites of its `destinations`. One that says
`protect` protects the copies that it counts for as long as there are not more of them than it asks for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta

from placement.attributes.producer import Asked
from placement.columns import InventoryColumns
from placement.detox.conditions import Conditions
from placement.detox.world import Scene, World
from placement.inventory import Array
from placement.policy.bits import Column
from placement.policy.parser import parse_condition
from placement.policy.syntax import Condition, Either, variables_of
from placement.policy.variables import INVENTORY, Level
from reploc import expected
from reploc.config import Settings
from reploc.errors import ConfigInvalid


class EnforcerRule(Settings, frozen=True):
    """So many copies of what the conditions match, at these sites."""

    num_copies: Annotated[int, Meta(description="How many copies there are to be.", ge=1)]
    destinations: Annotated[tuple[str, ...], Meta(description="Conditions on sites that get them.", min_length=1)]
    sources: Annotated[tuple[str, ...], Meta(description="Conditions on the sites of those that are looked at.")] = ()
    replicas: Annotated[tuple[str, ...], Meta(description="Conditions on replicas.", min_length=1)] = ("always",)
    destination_group: Annotated[str, Meta(description="Who is to own the copies.")] = ""
    protect: Annotated[bool, Meta(description="Copies that the rule needs are not to be deleted.")] = False


class EnforcerRules(Settings, frozen=True):
    """The rules of a partition, by name."""

    partition: str
    rules: dict[str, EnforcerRule]
    default_destination_group: str = ""


class EnforcerSettings(Settings, frozen=True):
    """Where the rules are."""

    rules: Annotated[str, Meta(description="JSON or TOML file of rules.")] = ""

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("rules is empty; expected a JSON or TOML file")


class Enforcer:
    """The producer `enforcer`."""

    settings: ClassVar[type[Settings]] = EnforcerSettings

    def __init__(self, settings: EnforcerSettings) -> None:
        self._path = Path(settings.rules)

    def variables(self) -> frozenset[str]:
        """What it supplies."""
        return frozenset({"replica.enforcer_protected"})

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        """Whether a rule needs each dataset replica. Raises ConfigInvalid, PolicyInvalid: the rules are wrong."""
        return {"replica.enforcer_protected": protected(read_rules(self._path), asked, str(self._path))}


def read_rules(path: Path) -> EnforcerRules:
    """The rules of a file. Raises ConfigInvalid."""
    try:
        content = path.read_text(encoding="utf-8")
        table: Any = tomllib.loads(content) if path.suffix == ".toml" else msgspec.json.decode(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as wrong:
        raise ConfigInvalid(f"{path}: {wrong}") from wrong
    try:
        return msgspec.convert(table, EnforcerRules)
    except msgspec.ValidationError as wrong:
        raise ConfigInvalid(f"{path}: {expected.in_words(wrong, EnforcerRules)}") from wrong


def protected(held: EnforcerRules, asked: Asked, where: str) -> Array:
    """Whether a rule that protects needs each dataset replica, shape (dataset replicas,)."""
    inventory = asked.inventory
    world = World(Scene(inventory, InventoryColumns(inventory), held.partition, np.ones(inventory.sites.height, bool)))
    world.aim(np.ones(inventory.sites.height, dtype=np.bool_))
    conditions = Conditions(world, asked.now_s)
    found = np.zeros(inventory.dataset_replicas.height, dtype=np.bool_)
    for name, rule in held.rules.items():
        if not rule.protect:
            continue
        told = f"{where}: rules.{name}"
        sites = conditions.of_sites(_any(rule.destinations, told, frozenset({Level.SITE})))
        there = np.flatnonzero(sites[world.replica_site] & (inventory.dataset_replicas["files"] > 0).to_numpy())
        matched = there[conditions.of_replicas(_any(rule.replicas, told, frozenset(Level)), world.batch(there))]
        dataset = world.replica_dataset[matched]
        copies = np.bincount(dataset, minlength=inventory.datasets.height)
        found[matched[copies[dataset] <= rule.num_copies]] = True
    return found


def _any(texts: tuple[str, ...], where: str, levels: frozenset[Level]) -> Condition:
    parts = tuple(parse_condition(text, where, levels) for text in texts)
    for part in parts:
        from_elsewhere = [each.name for each in variables_of(part) if each.producer != INVENTORY]
        if from_elsewhere:
            raise ConfigInvalid(f"{where}: {from_elsewhere[0]} comes from a producer, which rules cannot ask")
    return parts[0] if len(parts) == 1 else Either(parts)
