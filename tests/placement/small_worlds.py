"""Small random worlds and policies that speak of everything."""

from __future__ import annotations

from random import Random

import numpy as np
import polars as pl
from worlds import inventory

from placement import schemas
from placement.inventory import Inventory

NOW = 1_520_000_000.0
DAY = 86_400
GROUPS = [{"name": "A", "level": "block"}, {"name": "B", "level": "block"}, {"name": "D", "level": "dataset"}]
GROUPS += [{"name": "C", "level": "dataset"}]
ATTRIBUTES = {
    "dataset.last_access": lambda rng: int(NOW) - rng.randrange(100) * DAY,
    "dataset.usage_rank": lambda rng: rng.choice([-5.0, 10.0, 150.0, 150.0, 300.0]),
    "dataset.demand_rank": lambda rng: rng.random(),
    "dataset.on_protected_site": lambda rng: rng.random() < 0.3,
    "dataset.unhandled_copy_exists": lambda rng: rng.random() < 0.2,
    "dataset.tape_copy_requested": lambda rng: rng.random() < 0.2,
    "dataset.unknown_in_all_dbs": lambda rng: rng.random() < 0.2,
    "replica.num_access": lambda rng: rng.randrange(3),
    "replica.enforcer_protected": lambda rng: rng.random() < 0.2,
}
PARTITIONS = {"Default": "blockreplica.owner != None", "OfA": "blockreplica.owner in [A D]", "All": "always"}
MEMBERS = {"Default": lambda g: g != "None", "OfA": lambda g: g in ("A", "D"), "All": lambda g: True}


def drawn_world(rng: Random, partition: str) -> Inventory:
    """Two to five sites, a few datasets of up to four blocks, whole and broken copies here and there."""
    sites = [
        {
            "name": f"S{number}",
            "status": rng.choice(["ready"] * 6 + ["waitroom", "morgue"]),
            "storage_type": rng.choice(["disk", "disk", "disk", "mss", "buffer"]),
            "news_at": NOW,
        }
        for number in range(rng.randint(2, 5))
    ]
    datasets, blocks, replicas = [], {}, []
    statuses = ["valid"] * 5 + ["invalid", "production", "deleted"]
    for number in range(rng.randint(1, 6)):
        name = f"/{rng.choice('PQ')}/r{number}/{rng.choice(['RAW', 'AOD'])}"
        names = [None] if rng.random() < 0.2 else [f"b{each}" for each in range(rng.randint(1, 4))]
        updated = int(NOW) - rng.randrange(400) * DAY
        datasets.append({"name": name, "status": rng.choice(statuses), "last_update": updated, "blocks": names})
        datasets[-1] |= {"is_open": rng.random() < 0.3, "data_type": rng.choice(["mc", "data"])}
        for block in names:
            whole = name if block is None else f"{name}#{block}"
            blocks[whole] = {"files": rng.randint(1, 5), "size": rng.randint(1, 9) * 100}
        for site in sites:
            if rng.random() < 0.6:
                owner = rng.choice(["A", "B", "D", "C", "None"])
                for block in names:
                    whole = name if block is None else f"{name}#{block}"
                    replicas += _replica(rng, whole, site["name"], owner, blocks[whole])
    rows = list(range(len(sites)))
    quotas = [(row, rng.choice([-1, 0, 500, 1_000, 2_000, 4_000, 8_000])) for row in rows if rng.random() < 0.9]
    told = pl.DataFrame({"name": [partition], "condition": [PARTITIONS[partition]], "parts": [None]},
                        schema_overrides={"parts": pl.List(schemas.PARTITION)})  # fmt: skip
    quota = pl.DataFrame(
        {"site": [q[0] for q in quotas], "partition": [0] * len(quotas), "quota": [q[1] for q in quotas]}
    )
    quota = quota if quotas else schemas.empty(schemas.QUOTAS)
    return inventory(sites, datasets, replicas, groups=GROUPS, blocks=blocks, partitions=told, quotas=quota)


def _replica(rng: Random, block: str, site: str, owner: str, whole: dict) -> list[dict]:
    if rng.random() < 0.1:
        return []
    row = {
        "block": block,
        "site": site,
        "group": owner if rng.random() < 0.7 else rng.choice(["A", "B", "D", "None"]),
        "last_update": int(NOW) - rng.randrange(400) * DAY,
        "custodial": rng.random() < 0.1,
        "deleting": rng.random() < 0.05,
        "source": rng.random() < 0.05,
        "locked": rng.random() < 0.1,
    }
    if rng.random() < 0.15:
        row |= {"files": whole["files"] - 1, "bytes": whole["size"] // 2, "copying": rng.random() < 0.5}
        if row["files"] == 0:
            row |= {"bytes": 0, "copying": True, "deleting": False}
    return [row]


def drawn_attributes(rng: Random, held: Inventory) -> dict[str, dict[str, float]]:
    return {name: {each: draw(rng) for each in held.datasets["name"]} for name, draw in ATTRIBUTES.items()}


def as_columns(attributes: dict[str, dict[str, float]], held: Inventory) -> dict[str, np.ndarray]:
    """The same as producers give them: by dataset, or by dataset replica."""
    found = {}
    for name, values in attributes.items():
        column = np.array([values[each] for each in held.datasets["name"]])
        of_replicas = name.startswith("replica.")
        found[name] = column[held.dataset_replicas["dataset"].to_numpy()] if of_replicas else column
    return found


_TEXT = """
dataset.name == /P/*
dataset.name == /Q/r0/AOD
dataset.name in [/P/r0/RAW /P/r1/RAW /Q/r2/AOD]
dataset.name != /*/RAW
dataset.name =~ /P/r[01]
dataset.name !=~ /Q
dataset.status == INVALID
dataset.status in [PRODUCTION VALID]
dataset.status != VALID
dataset.data_type == mc
dataset.on_tape == FULL
dataset.on_tape != NONE
dataset.on_tape == PARTIAL
dataset.size > 800
dataset.num_files <= 6
dataset.num_blocks == 1
dataset.is_open
not dataset.is_open
dataset.last_update older_than 90 days ago
dataset.last_update newer_than 3 months ago
dataset.last_access older_than 50 days ago
dataset.usage_rank > 100
dataset.demand_rank < 0.5
dataset.num_full_copy >= 2
dataset.num_full_disk_copy < 2
dataset.num_full_disk_copy > 1
dataset.unhandled_copy_exists
dataset.on_protected_site
replica.size > 500
replica.size <= 900
replica.incomplete
not replica.incomplete
replica.partial
replica.full
not replica.full
replica.owner == None
replica.is_locked
replica.is_last_copy
not replica.is_last_copy
replica.last_block_created older_than 100 days ago
replica.first_block_created newer_than 200 days ago
replica.num_access == 0
replica.num_full_disk_copy_common_owner > 1
replica.num_full_other_copy_common_owner == 0
replica.num_full_other_copy_common_owner >= 1
replica.enforcer_protected
blockreplica.name == *b1
blockreplica.size > 300
blockreplica.complete
not blockreplica.complete
blockreplica.owner == A
blockreplica.owner != A
blockreplica.owner in [B D]
blockreplica.owner notin [B C]
blockreplica.is_locked
not blockreplica.is_locked
blockreplica.is_custodial
blockreplica.last_update older_than 200 days ago
blockreplica.age_relative_to_newest > 20000000
blockreplica.num_full_disk_copy > 1
blockreplica.num_full_other_copy == 0
blockreplica.on_tape
not blockreplica.on_tape
blockreplica.is_last_transfer_source
site.name == S1
site.name in [S0 S2]
site.status == READY
site.storage_type == DISK
site.occupancy > 0.5
site.occupancy < 0.8
site.occupancy != 0.5
site.projected_occupancy > 0.6
site.free > 500
site.quota > 1000
always
"""
_PREDICATES = _TEXT.strip().splitlines()
_SITE_PREDICATES = [each for each in _PREDICATES if each.startswith(("site.", "always"))]
_ACTIONS = ["Protect", "Dismiss", "Delete", "Ignore", "ProtectBlock", "DismissBlock", "DeleteBlock"]
_WEIGHTS = [4, 6, 2, 1, 3, 4, 2]
_KEYS = ["dataset.usage_rank", "replica.size", "dataset.last_update", "dataset.num_full_disk_copy", "site.occupancy"]


def drawn_text(rng: Random, partition: str) -> str:
    """A policy over these worlds, as text."""
    lines = [f"Partition {partition}"]
    lines += [
        f"On {rng.choice(['always', 'site.storage_type == DISK', 'site.name in [S0 S1 S2]', 'site.status != MORGUE'])}"
    ]
    lines += [f"When {rng.choice(['site.occupancy > 0.3', 'always', _site(rng), 'site.occupancy > 0.7'])}"]
    lines += [f"Until {rng.choice(['never', 'site.occupancy < 0.3', _site(rng), 'site.occupancy < 0.6'])}"]
    for _ in range(rng.randint(0, 6)):
        day = rng.choice([""] * 8 + [" until 2018-03-01", " from 2018-03-01"])
        lines.append(f"{rng.choices(_ACTIONS, _WEIGHTS)[0]} {_condition(rng)}{day}")
    lines.append(rng.choice(["Protect", "Dismiss", "Dismiss", "Delete", "DismissBlock"]))
    keys = " ".join(f"{rng.choice(['increasing', 'decreasing'])} {key}" for key in rng.sample(_KEYS, rng.randint(0, 2)))
    lines.append(f"Order {keys or 'none'}")
    lines.append(f"Algo {rng.choice(['Iterative', 'Iterative', 'Static'])}")
    return "\n".join(lines)


def _site(rng: Random) -> str:
    return f" {rng.choice(['and', 'or'])} ".join(rng.choice(_SITE_PREDICATES) for _ in range(rng.randint(1, 2)))


def _condition(rng: Random) -> str:
    parts = [_part(rng) for _ in range(rng.choice([1, 1, 1, 2, 2, 3]))]
    return f" {rng.choice(['and', 'and', 'or'])} ".join(parts)


def _part(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        return f"{rng.choice(['any', 'all'])}({rng.choice(_PREDICATES)} and {rng.choice(_PREDICATES)})"
    if kind < 0.2:
        return f"({rng.choice(_PREDICATES)} or {rng.choice(_PREDICATES)})"
    return rng.choice(_PREDICATES)
