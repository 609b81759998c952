"""The dealer on the synthetic collaboration: a whole cycle with all its plugins, from the inventory to wishes.

    python -m loadtests.dealer [--quick]

The peer is the way of the original: Python objects, for each proposal the projected occupancy of every site summed
over all that it holds. It is measured on a sample of dataset replicas and of proposals, and stands for all proposals
that ours looked at with a destination to be chosen. Ours does not count what the plan's file takes, which has a figure
of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from loadtests.collaboration import DISK_SITES, NOW, Collaboration
from loadtests.curve import Curve
from loadtests.detox import POLICY, SETTINGS
from loadtests.detox import attributes as detox_attributes
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, said
from placement.dealer import application, planning
from placement.dealer.plan import Plan
from placement.dealer.plugin import Plugin, Scene, configured
from placement.dealer.settings import DealerSettings
from placement.detox import planning as detox_planning
from placement.detox.plan import Plan as DetoxPlan
from placement.detox.planning import Run
from placement.inventory import Inventory
from placement.policy.parser import parse
from placement.request_messages import DataRequest

PEER = "destinations over Python objects, from a sample"
CYCLE = Figure("dealer, a cycle with all plugins", "s", "less", 10.0, "1,000,000 dataset replicas", PEER)
PLAN = Figure("dealer, a plan's file", "s", "less")

DATASETS, QUICK_DATASETS, TOY_DATASETS = 500_000, 50_000, 1_000
#: Dataset replicas that the peer's sites hold, and proposals that it decides on: about half a minute.
SAMPLE, QUICK_SAMPLE, TOY_SAMPLE = 100_000, 20_000, 500
PEER_PROPOSALS, TOY_PEER_PROPOSALS = 50, 5
#: The share of datasets that were read lately, and how much; requests that are open.
READ_SHARE, READ_WEIGHT = 0.1, 4.0
REQUESTS, TOY_REQUESTS = 1_000, 20
RULES = """\
partition = "Default"
[rules.raw]
num_copies = 2
destinations = ["site.storage_type == DISK and site.name == *_US_*"]
replicas = ["dataset.name == */RAW"]
"""


@dataclass(frozen=True)
class Drawn:
    """What the database would say: a cycle of detox, and open requests."""

    detox: DetoxPlan
    requests: Sequence[DataRequest]

    def last_detox(self, partition: str) -> DetoxPlan | None:
        """The cycle, which is about the one partition that there is."""
        return self.detox if self.detox.header.partition == partition else None

    def open_requests(self) -> Sequence[DataRequest]:
        """All requests."""
        return self.requests


def measure(scale: Scale) -> Iterator[Result | Curve]:
    """The figures at the scale's number of datasets."""
    said(f"{scale.names:,} datasets are drawn")
    inventory = _troubled(Collaboration(datasets=scale.names, seed=scale.seed).inventory())
    at = f"{inventory.dataset_replicas.height:,} dataset replicas, {inventory.block_replicas.height:,} block replicas"
    archive = Drawn(_detox(inventory, scale.seed), _requests(inventory, scale))
    rng = np.random.default_rng(scale.seed)
    read = rng.random(inventory.datasets.height) < READ_SHARE
    weight = np.where(read, rng.exponential(READ_WEIGHT, inventory.datasets.height), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        plugins = _plugins(Path(folder))
        took = []
        for _ in range(scale.runs):
            scene = Scene(inventory, NOW, DealerSettings(), frozenset(), {"dataset.demand_rank": weight}, archive)
            began = time.perf_counter()
            plan = planning.make(scene, plugins, scale.seed)
            held = application.compared(plan, inventory, scene.stock, frozenset()).held()
            orders = len([*application.wishes(held), *application.handovers(held)])
            took.append(time.perf_counter() - began)
    said(f"{PEER}: {plan.decisions.height:,} proposals")
    peer = _peer_seconds(inventory, plan, scale)
    note = f"{plan.decisions.height:,} proposals of {len(plugins)} plugins, {orders:,} orders and hand-overs"
    yield Result(CYCLE, at, tuple(took), peer, note)
    began = time.perf_counter()
    size = len(plan.encoded())
    yield Result(PLAN, at, (time.perf_counter() - began,), note=f"{size / 1e6:.1f} MB")


def _troubled(inventory: Inventory) -> Inventory:
    """The same with one of the smaller disk sites not ready."""
    name = inventory.sites["name"][DISK_SITES - 1]
    status = pl.when(pl.col("name") == name).then(pl.lit("morgue")).otherwise(pl.col("status").cast(pl.String))
    kind = inventory.sites.schema["status"]
    return inventory.having(inventory.version, sites=inventory.sites.with_columns(status.cast(kind).alias("status")))


def _detox(inventory: Inventory, seed: int) -> DetoxPlan:
    text = POLICY.read_text(encoding="utf-8")
    asked = Run(parse(text, str(POLICY)).checked(), text, str(POLICY), SETTINGS, NOW, detox_attributes(inventory, seed))
    return detox_planning.make(inventory, asked)


def _requests(inventory: Inventory, scale: Scale) -> list[DataRequest]:
    count = min(scale.of(REQUESTS, REQUESTS, TOY_REQUESTS), inventory.datasets.height)
    wanted = inventory.datasets["name"].sample(count, seed=scale.seed)
    return [
        DataRequest(number, "copy", name, ["T2_*"], "AnalysisOps", 3, "new", "", "a person", NOW, NOW)
        for number, name in enumerate(wanted, 1)
    ]


def _plugins(folder: Path) -> Mapping[str, tuple[int, Plugin]]:
    (folder / "rules.toml").write_text(RULES)
    return configured(
        {
            "popularity": {"priority": 2},
            "enforcer": {"rules": str(folder / "rules.toml")},
            "undertaker": {},
            "balancer": {"priority": 3, "last_copies": {"replica.is_last_copy": 1}},
            "group_reassign": {"from_groups": ["upgrade"], "to_group": "DataOps", "max_replicas": 1_000},
            "request": {"priority": 1},
        },
        "the program",
    )


# ---- the peer --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Block:
    """A block replica as an object."""

    size: int
    projected: int
    complete: bool


@dataclass(slots=True)
class _Replica:
    dataset: int
    blocks: list[_Block]


@dataclass(slots=True)
class _Site:
    quota: int
    replicas: list[_Replica]

    def occupancy(self) -> float:
        """Projected bytes over the quota, summed anew as the original does."""
        held = sum(block.projected for replica in self.replicas for block in replica.blocks)
        return held / self.quota if self.quota > 0 else 0.0


def _peer_seconds(inventory: Inventory, plan: Plan, scale: Scale) -> float:
    """Seconds in which the original's way would find destinations for as many proposals as were decided on."""
    replicas = inventory.dataset_replicas
    count = min(scale.of(SAMPLE, QUICK_SAMPLE, TOY_SAMPLE), replicas.height)
    sites = _objects(inventory, count, scale.seed)
    proposals = scale.of(PEER_PROPOSALS, PEER_PROPOSALS, TOY_PEER_PROPOSALS)
    rng = np.random.default_rng(scale.seed)
    began = time.perf_counter()
    for dataset in rng.integers(0, inventory.datasets.height, proposals).tolist():
        free = [max(0.0, 1.0 - site.occupancy()) for site in sites if not _has(site, dataset)]
        if sum(free) > 0:
            rng.choice(len(free), p=np.array(free) / sum(free))
    each = (time.perf_counter() - began) / proposals * replicas.height / count
    # What was refused for the cycle's volume needed no destination any more.
    asked = plan.decisions.filter(pl.col("reason") != "beyond max_cycle_volume").height
    return each * asked


def _has(site: _Site, dataset: int) -> bool:
    return any(replica.dataset == dataset and all(block.complete for block in replica.blocks)
               for replica in site.replicas)  # fmt: skip


def _objects(inventory: Inventory, count: int, seed: int) -> list[_Site]:
    quota = inventory.quota("Default").fill_null(0).to_list()
    sites = [_Site(each, []) for each in quota]
    chosen = np.sort(np.random.default_rng(seed).choice(inventory.dataset_replicas.height, count, replace=False))
    for row in inventory.dataset_replicas[chosen].iter_rows(named=True):
        rows = inventory.block_replicas.slice(row["first"], row["count"])
        size = inventory.blocks["size"].gather(rows["block"])
        blocks = [
            _Block(whole, there, complete)
            for whole, there, complete in zip(size, rows["bytes"], rows["complete"], strict=True)
        ]
        sites[row["site"]].replicas.append(_Replica(row["dataset"], blocks))
    return sites


if __name__ == "__main__":
    run(__doc__ or "", measure, DATASETS, QUICK_DATASETS, TOY_DATASETS)
