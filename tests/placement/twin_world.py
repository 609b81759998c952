"""The world of the slow twin: who has what, the values of variables and what conditions say, in plain loops.

It shares the policy's syntax with the product and nothing else: no arrays, no columns, nothing kept from one look to
the next. Everything is decided anew before anything goes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from placement.inventory import Inventory
from placement.policy.dates import Moment
from placement.policy.syntax import Both, Comparison, Either, Flag, OfBlocks, Policy
from placement.policy.variables import Kind, Level

EVER = 2**32 - 1


@dataclass
class Row:
    """A block replica."""

    number: int
    dataset: str
    block: str
    site: str
    group: str
    files: int
    bytes: int
    projected: int
    last_update: int
    complete: bool
    custodial: bool
    copying: bool
    gone: bool
    source: bool
    locked: bool
    member: bool
    settled: bool = False


@dataclass
class Bounds:
    per_iteration: float = 0.01
    allow_last_copy: tuple[str, ...] = ("deleted", "invalid", "deprecated")
    max_volume: int = 10**18
    max_fraction: float = 1.0
    max_files: int = 10**9


@dataclass
class TwinWorld:
    """A world, and what conditions say of it. `attributes`: {variable: {dataset: value}}."""

    inventory: Inventory
    policy: Policy
    now: float
    member: list[bool]
    attributes: dict[str, dict[str, float]]
    fresh: list[bool]
    #: Whether a block replica is in the partition when a group owns it.
    is_member: Callable[[str], bool]
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        inventory = self.inventory
        self.sites = {row["name"]: row for row in inventory.sites.iter_rows(named=True)}
        for row, fresh in zip(self.sites.values(), self.fresh, strict=True):
            row["fresh"] = fresh
        self.datasets = {row["name"]: row for row in inventory.datasets.iter_rows(named=True)}
        self.groups = {row["name"]: row["level"] for row in inventory.groups.iter_rows(named=True)}
        dataset_names, site_names, group_names = list(self.datasets), list(self.sites), list(self.groups)
        blocks = list(inventory.blocks.iter_rows(named=True))
        self.blocks: dict[str, list[dict]] = {name: [] for name in dataset_names}
        for key, block in enumerate(blocks):
            block["key"] = str(key)
            self.blocks[dataset_names[block["dataset"]]].append(block)
        names = inventory.block_names().to_list()
        self.block_names = {str(key): name for key, name in enumerate(names)}
        self.rows: list[Row] = []
        for number, row in enumerate(inventory.block_replicas.iter_rows(named=True)):
            block = blocks[row["block"]]
            projected = 0 if row["deleting"] else block["size"] if row["copying"] else row["bytes"]
            self.rows.append(
                Row(
                    number,
                    dataset_names[block["dataset"]],
                    str(row["block"]),
                    site_names[row["site"]],
                    group_names[row["group"]],
                    row["files"],
                    row["bytes"],
                    projected,
                    row["last_update"],
                    row["complete"],
                    row["custodial"],
                    row["copying"],
                    row["deleting"],
                    row["source"],
                    row["locked"],
                    self.member[number],
                )
            )
        self.newest = max((row.last_update for row in self.rows), default=0)
        self.intent = {
            (dataset_names[row["dataset"]], site_names[row["site"]]): row
            for row in inventory.dataset_replicas.iter_rows(named=True)
        }
        quota = inventory.quota(self.policy.partition).to_list()
        self.quota = dict(zip(site_names, quota, strict=True))
        self.group_names = group_names
        self.site_rows = {site: [row for row in self.rows if row.site == site] for site in site_names}
        self.dataset_rows = {name: [row for row in self.rows if row.dataset == name] for name in dataset_names}
        self.began = {site: self.used(site) for site in site_names}
        self.left = {site: int(used * self.bounds.max_fraction) for site, used in self.began.items()}
        self.targets = {s for s in site_names if any(self.of_site(line.condition, s) for line in self.policy.on)}
        self.volume, self.files = self.bounds.max_volume, self.bounds.max_files

    # ---- what is where -----------------------------------------------------------------------------------------------

    def known(self, site: str) -> bool:
        return self.sites[site]["fresh"] or self.sites[site]["status"] != "ready"

    def ready(self, site: str) -> bool:
        return self.sites[site]["fresh"] and self.sites[site]["status"] == "ready"

    def kind(self, site: str) -> str:
        return self.sites[site]["storage_type"]

    def used(self, site: str) -> int:
        return sum(row.bytes for row in self.site_rows[site] if row.member and not row.gone)

    def used_projected(self, site: str) -> int:
        return sum(row.projected for row in self.site_rows[site] if row.member and not row.gone)

    def survives(self, row: Row) -> bool:
        return row.complete and not row.gone and self.ready(row.site)

    def copies(self, block: str, dataset: str) -> list[Row]:
        return [row for row in self.dataset_rows[dataset] if row.block == block and not row.gone]

    def replica_rows(self, dataset: str, site: str) -> list[Row]:
        """What is there, in the partition or not."""
        return [row for row in self.dataset_rows[dataset] if row.site == site and not row.gone]

    def full(self, dataset: str, site: str) -> bool:
        need = {block["key"] for block in self.blocks[dataset] if block["files"] > 0}
        have = {row.block for row in self.replica_rows(dataset, site) if row.complete}
        return bool(need) and need <= have and self.known(site)

    def full_sites(self, dataset: str) -> list[str]:
        return [site for site in self.sites if self.full(dataset, site)]

    def counted(self, block: str, dataset: str) -> list[Row]:
        return [row for row in self.copies(block, dataset) if row.complete and row.files > 0 and self.known(row.site)]

    # ---- values ------------------------------------------------------------------------------------------------------

    def site_value(self, name: str, site: str):
        quota = self.quota[site]
        if name == "always":
            return True
        if name == "never":
            return False
        if name == "site.name":
            return site
        if name in ("site.status", "site.storage_type"):
            return self.sites[site][name[5:]].upper()
        if quota is None or quota == 0:
            return None
        if name == "site.quota":
            return float("inf") if quota < 0 else quota
        if name == "site.free":
            return float("inf") if quota < 0 else quota - self.used(site)
        used = self.used(site) if name == "site.occupancy" else self.used_projected(site)
        return 0.0 if quota < 0 else used / quota

    def dataset_value(self, name: str, dataset: str):
        full = self.full_sites(dataset)
        if name in self.attributes:
            return self.attributes[name][dataset]
        if name == "dataset.on_tape":
            tapes = [site for site in self.sites if self.kind(site) == "mss" and self.known(site)]
            if any(site in full for site in tapes):
                return "FULL"
            there = [row for site in tapes for row in self.replica_rows(dataset, site) if row.files > 0]
            return "PARTIAL" if there else "NONE"
        if name == "dataset.num_full_copy":
            return sum(self.ready(site) for site in full)
        if name == "dataset.num_full_disk_copy":
            return sum(self.ready(site) and self.kind(site) == "disk" for site in full)
        if name == "dataset.name":
            return dataset
        if name == "dataset.status":
            return self.datasets[dataset]["status"].upper()
        return self.datasets[dataset][name.partition(".")[2]]

    def owners(self, dataset: str, site: str) -> set[str]:
        return {row.group for row in self.replica_rows(dataset, site)} - {"None"}

    def replica_value(self, name: str, dataset: str, site: str, view: list[Row]):
        full = self.full_sites(dataset)
        if name in self.attributes:
            return self.attributes[name][dataset]
        there = [row for row in self.replica_rows(dataset, site) if row.files > 0 and self.known(site)]
        intent = self.intent[dataset, site]
        mine = self.owners(dataset, site)
        return {
            "replica.size": lambda: sum(row.bytes for row in view),
            "replica.incomplete": lambda: any(not row.complete for row in view),
            "replica.is_locked": lambda: any(row.locked for row in view),
            "replica.last_block_created": lambda: max((row.last_update for row in view), default=0),
            "replica.first_block_created": lambda: min((row.last_update for row in view), default=EVER),
            "replica.full": lambda: site in full,
            "replica.partial": lambda: bool(there) and all(row.complete for row in there) and site not in full,
            "replica.growing": lambda: intent["growing"],
            "replica.custodial": lambda: intent["custodial"],
            "replica.owner": lambda: self.group_names[intent["group"]],
            "replica.is_last_copy": lambda: any(
                row.complete and not self.other_survivors(row) for row in self.replica_rows(dataset, site)
            ),
            "replica.num_full_disk_copy_common_owner": lambda: sum(
                self.ready(other) and self.kind(other) == "disk" and bool(mine & self.owners(dataset, other))
                for other in full
            ),
            "replica.num_full_other_copy_common_owner": lambda: sum(
                self.ready(other) and other != site and bool(mine & self.owners(dataset, other)) for other in full
            ),
        }[name]()

    def block_value(self, name: str, row: Row):
        copies = self.counted(row.block, row.dataset)
        disk = [each for each in copies if self.ready(each.site) and self.kind(each.site) == "disk"]
        if name in self.attributes:
            return self.attributes[name][row.dataset]
        return {
            "blockreplica.name": lambda: self.block_names[row.block],
            "blockreplica.size": lambda: row.bytes,
            "blockreplica.complete": lambda: row.complete,
            "blockreplica.owner": lambda: row.group,
            "blockreplica.is_locked": lambda: row.locked,
            "blockreplica.is_custodial": lambda: row.custodial,
            "blockreplica.last_update": lambda: row.last_update,
            "blockreplica.age_relative_to_newest": lambda: self.newest - row.last_update,
            "blockreplica.num_full_disk_copy": lambda: len(disk),
            "blockreplica.num_full_other_copy": lambda: sum(
                self.ready(each.site) and each is not row for each in copies
            ),
            "blockreplica.on_tape": lambda: row.complete and any(self.kind(each.site) == "mss" for each in copies),
            "blockreplica.is_last_transfer_source": lambda: (
                row.complete
                and any(not each.complete and self.known(each.site) for each in self.copies(row.block, row.dataset))
                and not [each for each in disk if each is not row]
            ),
        }[name]()

    # ---- conditions --------------------------------------------------------------------------------------------------

    def compare(self, leaf, value) -> bool:
        if isinstance(leaf, Flag):
            return bool(value) == leaf.wanted
        if value is None:
            return False
        assert isinstance(leaf, Comparison)
        wanted = [each.at(self.now) if isinstance(each, Moment) else each for each in leaf.values]
        if leaf.operator in ("=~", "!=~"):
            return (re.match(str(wanted[0]), value) is not None) == (leaf.operator == "=~")
        if leaf.operator in ("==", "in", "!=", "notin"):
            if leaf.variable.kind is Kind.TEXT:
                found = any(
                    fnmatch.fnmatchcase(value, each) if set(each) & set("*?") else value == each for each in wanted
                )
            else:
                found = value in wanted
            return found == (leaf.operator in ("==", "in"))
        bound = wanted[0]
        return {"<": value < bound, "older_than": value < bound, "<=": value <= bound, ">": value > bound}.get(
            leaf.operator, value > bound if leaf.operator == "newer_than" else value >= bound
        )

    def of_site(self, condition, site: str) -> bool:
        if isinstance(condition, Both):
            return all(self.of_site(part, site) for part in condition.parts)
        if isinstance(condition, Either):
            return any(self.of_site(part, site) for part in condition.parts)
        return self.compare(condition, self.site_value(condition.variable.name, site))

    def of_replica(self, condition, dataset: str, site: str, view: list[Row]) -> bool:
        if isinstance(condition, Both):
            return all(self.of_replica(part, dataset, site, view) for part in condition.parts)
        if isinstance(condition, Either):
            return any(self.of_replica(part, dataset, site, view) for part in condition.parts)
        if isinstance(condition, OfBlocks):
            each = [self.of_row(condition.part, row, view) for row in view]
            return bool(each) and (all(each) if condition.every else any(each))
        name, level = condition.variable.name, condition.variable.level
        if level is Level.BLOCK:
            return any(self.compare(condition, self.block_value(name, row)) for row in view)
        if level is Level.SITE:
            return self.compare(condition, self.site_value(name, site))
        if level is Level.DATASET:
            return self.compare(condition, self.dataset_value(name, dataset))
        return self.compare(condition, self.replica_value(name, dataset, site, view))

    def of_row(self, condition, row: Row, view: list[Row]) -> bool:
        if isinstance(condition, Both):
            return all(self.of_row(part, row, view) for part in condition.parts)
        if isinstance(condition, Either):
            return any(self.of_row(part, row, view) for part in condition.parts)
        if isinstance(condition, Flag | Comparison) and condition.variable.level is Level.BLOCK:
            return self.compare(condition, self.block_value(condition.variable.name, row))
        return self.of_replica(condition, row.dataset, row.site, view)
