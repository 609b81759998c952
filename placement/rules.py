"""The enforcer's rules, so many copies of what at which sites, and what of an inventory each of them is about.

A rule asks for `num_copies` of what its `replicas` conditions match at its `sources`, kept at its `destinations`. Detox
keeps what rules need where it is, the dealer orders what they lack.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from placement.columns import InventoryColumns
from placement.detox.conditions import Conditions
from placement.detox.world import Scene, World
from placement.inventory import Array, Inventory
from placement.policy.parser import parse_condition
from placement.policy.syntax import Condition, Either, variables_of
from placement.policy.variables import INVENTORY, Level
from reploc import config
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


class _RulesFile(Settings, frozen=True):
    """A file of rules, each of which is read by itself, so that what is wrong with one names it."""

    partition: str
    rules: dict[str, dict[str, Any]]
    default_destination_group: str = ""


@dataclass(frozen=True)
class EnforcerRules:
    """The rules of a partition, by name."""

    partition: str
    rules: Mapping[str, EnforcerRule]
    default_destination_group: str = ""


def read(path: Path) -> EnforcerRules:
    """The rules of a JSON or TOML file. Raises ConfigInvalid."""
    try:
        content = path.read_text(encoding="utf-8")
        table: Any = tomllib.loads(content) if path.suffix == ".toml" else msgspec.json.decode(content)
    except OSError as wrong:
        raise ConfigInvalid(f"{path}: {wrong.strerror or wrong}") from wrong
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as wrong:
        raise ConfigInvalid(f"{path}: {wrong}") from wrong
    if not isinstance(table, dict):
        raise ConfigInvalid(f"{path}: is no table of `partition` and `rules`")
    held = config.parse(_RulesFile, table, str(path))
    rules = {name: config.parse(EnforcerRule, rule, f"{path}: rules.{name}") for name, rule in held.rules.items()}
    return EnforcerRules(held.partition, rules, held.default_destination_group)


class Matching:
    """Rules beside an inventory at a moment. `where` is the file that errors name.

    Its methods raise ConfigInvalid and PolicyInvalid: a condition is none, or asks for what only a producer knows.
    """

    def __init__(self, held: EnforcerRules, inventory: Inventory, now_s: float, where: str) -> None:
        everywhere = np.ones(inventory.sites.height, dtype=np.bool_)
        self._held = held
        self._where = where
        self._world = World(Scene(inventory, InventoryColumns(inventory), held.partition, everywhere))
        self._world.aim(everywhere)
        self._there = np.zeros(inventory.dataset_replicas.height, dtype=np.bool_)
        self._there[self._world.row_replica[self._world.pool]] = True
        self._conditions = Conditions(self._world, now_s)
        self._everywhere = everywhere

    def destinations(self, name: str) -> Array:
        """Which sites keep the copies of a rule, shape (sites,)."""
        return self._sites(name, self._held.rules[name].destinations)

    def sources(self, name: str) -> Array:
        """At which sites a rule looks for what it is about, shape (sites,); at all where it names none."""
        told = self._held.rules[name].sources
        return self._sites(name, told) if told else self._everywhere

    def replicas(self, name: str, sites: Array) -> Array:
        """The dataset replicas at some sites of which something in the rules' partition is there, and stays, and that a
        rule's conditions match: rows of the inventory's, rising."""
        there = np.flatnonzero(sites[self._world.replica_site] & self._there)
        condition = _any(self._held.rules[name].replicas, self._said(name), frozenset(Level))
        found: Array = there[self._conditions.of_replicas(condition, self._world.batch(there))]
        return found

    def _sites(self, name: str, told: tuple[str, ...]) -> Array:
        return self._conditions.of_sites(_any(told, self._said(name), frozenset({Level.SITE})))

    def _said(self, name: str) -> str:
        return f"{self._where}: rules.{name}"


def _any(texts: tuple[str, ...], where: str, levels: frozenset[Level]) -> Condition:
    parts = tuple(parse_condition(text, where, levels) for text in texts)
    for part in parts:
        from_elsewhere = [each.name for each in variables_of(part) if each.producer != INVENTORY]
        if from_elsewhere:
            raise ConfigInvalid(f"{where}: {from_elsewhere[0]} comes from a producer, which rules cannot ask")
    return parts[0] if len(parts) == 1 else Either(parts)
