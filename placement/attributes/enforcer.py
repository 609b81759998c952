"""The enforcer's rules as far as deletion is concerned: which dataset replicas a rule needs where they are.

A rule that says `protect` protects the copies that it counts at its destinations for as long as there are not more of
them than it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from placement import rules
from placement.attributes.producer import Asked
from placement.inventory import Array
from placement.policy.bits import Column
from placement.rules import EnforcerRules, Matching
from reploc.config import Settings


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
        return {"replica.enforcer_protected": protected(rules.read(self._path), asked, str(self._path))}


def protected(held: EnforcerRules, asked: Asked, where: str) -> Array:
    """Whether a rule that protects needs each dataset replica, shape (dataset replicas,)."""
    inventory = asked.inventory
    matching = Matching(held, inventory, asked.now_s, where)
    found = np.zeros(inventory.dataset_replicas.height, dtype=np.bool_)
    for name, rule in held.rules.items():
        if rule.protect:
            matched = matching.replicas(name, matching.destinations(name))
            dataset = inventory.dataset_replicas["dataset"].to_numpy()[matched]
            copies = np.bincount(dataset, minlength=inventory.datasets.height)
            found[matched[copies[dataset] <= rule.num_copies]] = True
    return found
