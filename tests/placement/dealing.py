"""Small worlds for the dealer, and a plugin that proposes what a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import polars as pl
from test_detox import NOW, PARTITION
from worlds import inventory

from placement.dealer import planning
from placement.dealer.plan import Plan
from placement.dealer.plugin import Plugin, Scene
from placement.dealer.proposal import Proposal
from placement.dealer.settings import DealerSettings, PluginSettings
from placement.detox.plan import Plan as DetoxPlan
from placement.inventory import Inventory
from placement.request_messages import DataRequest

__all__ = ["NOW"]


class Said:
    """A plugin that proposes what it is told."""

    settings: ClassVar[type[PluginSettings]] = PluginSettings

    def __init__(self, *proposals: Proposal) -> None:
        self._proposals = proposals

    def variables(self) -> frozenset[str]:
        return frozenset()

    def propose(self, scene: Scene) -> Sequence[Proposal]:
        del scene
        return self._proposals


class Shelf:
    """An archive that holds what a test puts there."""

    def __init__(self, detox: DetoxPlan | None = None, requests: Sequence[DataRequest] = ()) -> None:
        self._detox, self._requests = detox, requests

    def last_detox(self, partition: str) -> DetoxPlan | None:
        del partition
        return self._detox

    def open_requests(self) -> Sequence[DataRequest]:
        return self._requests


def world(
    sites: Sequence[Any],
    datasets: Sequence[Any],
    replicas: Sequence[Mapping[str, Any]],
    partition: str = "always",
    **more: Any,
) -> Inventory:
    """Sites (each with a `quota` of 100,000 bytes unless it says otherwise; None is none), datasets, replicas, and the
    condition of the partition P."""
    rows = [{"news_at": NOW, "quota": 100_000} | ({"name": each} if isinstance(each, str) else each) for each in sites]
    quotas = [(key, 0, row.pop("quota")) for key, row in enumerate(rows)]
    told = [quota for quota in quotas if quota[2] is not None]
    frame = pl.DataFrame(told, schema={"site": pl.Int64, "partition": pl.Int64, "quota": pl.Int64}, orient="row")
    partitions = PARTITION.with_columns(pl.lit(partition).alias("condition"))
    return inventory(rows, datasets, replicas, partitions=partitions, quotas=frame, **more)


def scene(held: Inventory, **more: Any) -> Scene:
    """A scene over the partition P, without pending bounds unless a test says so."""
    names = ("left_out", "attributes", "archive")
    told = {"partition": "P", "max_site_pending_fraction": 1.0} | {k: v for k, v in more.items() if k not in names}
    return Scene(
        held,
        NOW,
        DealerSettings(**told),
        more.get("left_out", frozenset()),
        more.get("attributes", {}),
        more.get("archive", Shelf()),
    )


def planned(held: Inventory, *proposals: Proposal, seed: int = 1, **more: Any) -> Plan:
    """The plan of these proposals alone."""
    return dealt(held, {"said": (1, Said(*proposals))}, seed=seed, **more)


def dealt(held: Inventory, plugins: Mapping[str, tuple[int, Plugin]], seed: int = 1, **more: Any) -> Plan:
    return planning.make(scene(held, **more), plugins, seed)


def outcomes(plan: Plan) -> list[tuple[str, str]]:
    """(item, site, or the reason of a rejection) of each proposal in turn."""
    return [(row["item"], row["site"] or row["reason"]) for row in plan.decisions.iter_rows(named=True)]
