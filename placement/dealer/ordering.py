"""A plan of the dealer becomes orders: as part of the cycle that makes it, or later, where it still holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from placement import cycle, plan_files, recording, requests
from placement.dealer import application, planning
from placement.dealer.plan import Plan
from placement.dealer.plugin import Plugin, Scene
from placement.dealer.settings import DealerSettings
from placement.history import CycleRecord
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.plan_files import Ordered
from placement.recording import Decided
from reploc.errors import InventoryMoved


def order(keeper: Keeper, plan: Plan, max_news_age_s: float, *, holding: bool = False) -> Ordered:
    """Writes the orders of a plan; `holding`: what does not hold any more is left and the rest is done.

    Raises PlanOutdated: the plan is too old; InventoryMoved: a block of it is not as it was. Then nothing is written.
    """
    with keeper.writing() as connection:
        now = keeper.clock()
        inventory = keeper.inventory()
        silent = frozenset(cycle.news_missing(inventory, now, max_news_age_s))
        states = requests.states(connection, plan.requests())
        checked = application.checked(plan, inventory, silent, now, states)
        failed = checked.failed()
        if len(failed) and not holding:
            raise InventoryMoved(plan_files.moved(failed))
        blocks = checked.held()
        decided = Decided(
            tuple(application.wishes(blocks)),
            tuple(application.handovers(blocks)),
            rulings=tuple(application.rulings(plan, checked, states)),
        )
        number, written = recording.put(connection, _record(plan, inventory.version, now), decided, now)
    return Ordered(number, written, failed)


class Dealer:
    """The decider of a cycle; `scene_of` makes the scene for an inventory, a moment and the sites to leave out.

    `plan` is what it decided, once it has.
    """

    kind = "dealer"

    def __init__(
        self,
        settings: DealerSettings,
        plugins: Mapping[str, tuple[int, Plugin]],
        seed: int,
        scene_of: Callable[[Inventory, float, frozenset[str]], Scene],
    ) -> None:
        self.policy = policy(settings)
        self._plugins, self._seed, self._scene_of = plugins, seed, scene_of
        self.plan: Plan | None = None

    def decide(self, inventory: Inventory, now: float, left_out: frozenset[str]) -> Decided:
        """Plans, and wishes what the plan decided. Raises what planning, producers and plugins raise."""
        scene = self._scene_of(inventory, now, left_out)
        self.plan = plan = planning.make(scene, self._plugins, self._seed)
        blocks = application.compared(plan, inventory, scene.stock, left_out).held()
        return Decided(
            tuple(application.wishes(blocks)),
            tuple(application.handovers(blocks)),
            _totals(plan),
            plan.encoded(),
            self._seed,
            plan.header.rulings,
        )


def policy(settings: DealerSettings) -> str:
    """What history keeps as the text that a cycle decided by: its settings."""
    return msgspec.json.format(msgspec.json.encode(settings)).decode()


def _totals(plan: Plan) -> dict[str, Any]:
    header = plan.header
    rejected: dict[str, int] = {}
    for plugin in header.plugins:
        for reason, count in plugin.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return {
        "partition": header.settings.partition,
        "proposals": sum(plugin.proposals for plugin in header.plugins),
        "copies": sum(plugin.copies for plugin in header.plugins),
        "copied_bytes": sum(plugin.copied for plugin in header.plugins),
        "rejected": dict(sorted(rejected.items())),
    }


def _record(plan: Plan, version: str, now: float) -> CycleRecord:
    header = plan.header
    totals = _totals(plan) | {"written_on": version}
    text = policy(header.settings)
    return CycleRecord(
        "dealer", text, header.inventory, header.at, now, "done", "", header.seed, totals, plan.encoded()
    )
