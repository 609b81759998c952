"""A synthetic collaboration of the Dynamo paper's size: sites, datasets, blocks and who has what, drawn from a seed.

    python -m loadtests.collaboration FOLDER [--datasets N] [--seed S]

At full scale: 500,000 datasets, 5 million blocks, a million dataset replicas, ten million block replicas at 60 sites
(section 3 of the paper). Names are built like those of CMS, blocks hold a few files and some ten gigabytes, sizes
of datasets have a long tail, and sites differ in size; a fifth of the disk sites is above 90 % of its quota, as where
detox is needed. Everything is drawn as arrays.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from loadtests.program import SEED, said
from placement import parquet, schemas
from placement.inventory import Inventory

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

DATASETS = 500_000
BLOCKS_PER_DATASET = 10
#: The moment of the picture: noon of 1 January 2026, UTC.
NOW = 1_767_268_800
DAY_S = 86_400
#: How far back datasets go.
YEARS = 5

DISK_SITES, TAPE_SITES = 52, 8
GROUPS = ("AnalysisOps", "DataOps", "IB RelVal", "RelVal", "heavy-ions", "upgrade")
GROUP_SHARE = (0.55, 0.25, 0.02, 0.06, 0.07, 0.05)
TIERS = ("AODSIM", "MINIAODSIM", "NANOAODSIM", "GEN-SIM", "RAW", "AOD", "MINIAOD", "RECO", "USER")
TIER_SHARE = (0.2, 0.22, 0.2, 0.12, 0.04, 0.06, 0.08, 0.03, 0.05)
TYPES = ("mc", "mc", "mc", "mc", "data", "data", "data", "data", "test")
STATUSES = ("valid", "production", "deprecated", "invalid", "deleted")
STATUS_SHARE = (0.93, 0.03, 0.02, 0.01, 0.01)
PROCESSES = ("TTJets", "DYJetsToLL", "WJetsToLNu", "QCD_Pt", "ZprimeToTT", "SingleMuon", "MET", "JetHT", "GluGluToHH")
ERAS = ("RunIISummer16", "RunIIFall17", "RunIIAutumn18", "Run2016B", "Run2017F", "Run2018D", "Run3Winter22", "Run2022E")
#: Copies of a dataset on disk, and the chance of each number; a third of the datasets is on tape too.
COPIES = (0, 1, 2, 3, 4, 6)
COPIES_SHARE = (0.05, 0.45, 0.27, 0.14, 0.06, 0.03)
TAPE_SHARE = 0.3
#: Dataset replicas that lack blocks, and of each of those the share of blocks; block replicas that lack files.
PARTIAL_SHARE, LACKING_SHARE, INCOMPLETE_SHARE = 0.08, 0.4, 0.005
#: Datasets whose places are drawn at once: a row of chances for each.
DRAWN_AT_ONCE = 50_000


@dataclass(frozen=True)
class Collaboration:
    """What is drawn: so many datasets, from this seed."""

    datasets: int = DATASETS
    seed: int = SEED

    def inventory(self) -> Inventory:
        """All of it; the same seed and size give the same."""
        rng = np.random.default_rng(self.seed)
        sites = _sites(rng)
        blocks_of, datasets = _datasets(rng, self.datasets)
        blocks = _blocks(rng, blocks_of, datasets)
        replicas, intents = _replicas(rng, blocks_of, blocks, datasets, sites)
        groups = pl.DataFrame({"name": [schemas.NO_GROUP, *GROUPS], "level": ["block", *_LEVELS]})
        partitions = pl.DataFrame(
            {"name": ["Default"], "condition": ["blockreplica.owner != None"], "parts": [None]},
            schema_overrides={"parts": pl.List(schemas.PARTITION)},
        )
        told = {"sites": sites.drop("weight"), "groups": groups, "partitions": partitions}
        made = Inventory.of(
            f"synthetic {self.seed}", **told, datasets=datasets, blocks=blocks, block_replicas=replicas, intents=intents
        )
        return made.having(made.version, quotas=_quotas(rng, made, sites))


_LEVELS = ["block" if group == "AnalysisOps" else "dataset" for group in GROUPS]


def _sites(rng: np.random.Generator) -> pl.DataFrame:
    countries = ("US", "DE", "IT", "FR", "UK", "ES", "CH", "BE", "PL", "BR", "IN", "TW")
    disk = [
        f"T{1 if n < 7 else 2}_{countries[n % 12]}_Site{n:02d}{'_Disk' if n < 7 else ''}" for n in range(DISK_SITES)
    ]
    tape = [f"T{min(n, 1)}_{countries[n % 12]}_Site{n:02d}_MSS" for n in range(TAPE_SITES)]
    weight = np.concatenate([rng.lognormal(0.0, 0.8, DISK_SITES), rng.lognormal(0.0, 0.5, TAPE_SITES)])
    status = np.full(len(weight), "ready", dtype=object)
    status[[20, 41]] = ["waitroom", "morgue"]
    return pl.DataFrame(
        {
            "name": disk + tape,
            "storage_type": ["disk"] * DISK_SITES + ["mss"] * TAPE_SITES,
            "status": status.tolist(),
            "bandwidth": np.round(weight * 1.25e9),
            "cores": (weight * 2_000).astype(np.uint32),
            "position": rng.integers(1_000, 1_000_000, len(weight)),
            "news_at": NOW - rng.uniform(1.0, 60.0, len(weight)),
            "weight": weight,
        }
    )


def _datasets(rng: np.random.Generator, count: int) -> tuple[Array, pl.DataFrame]:
    """Blocks of each dataset, shape (count,), and the frame."""
    blocks = np.maximum(1, rng.lognormal(np.log(BLOCKS_PER_DATASET) - 0.72, 1.2, count)).astype(np.int64)
    tier = rng.choice(len(TIERS), count, p=TIER_SHARE)
    age = rng.exponential(YEARS * 365 / 3, count).clip(0.0, YEARS * 365.0)
    number = pl.Series(np.arange(count))
    parts = [
        pl.Series(PROCESSES)[rng.integers(0, len(PROCESSES), count)] + "_" + number.cast(pl.String).str.zfill(6),
        pl.Series(ERAS)[rng.integers(0, len(ERAS), count)]
        + "-106X_mcRun_asymptotic_v"
        + pl.Series(rng.integers(1, 18, count)).cast(pl.String)
        + "-v1",
        pl.Series(TIERS)[tier],
    ]
    frame = pl.DataFrame(
        {
            "name": "/" + parts[0] + "/" + parts[1] + "/" + parts[2],
            "status": pl.Series(STATUSES)[rng.choice(len(STATUSES), count, p=STATUS_SHARE)],
            "data_type": pl.Series(TYPES)[tier],
            "software_version": pl.Series(["CMSSW_8_0_26", "CMSSW_9_4_9", "CMSSW_10_6_20", "CMSSW_12_4_11"])[
                rng.integers(0, 4, count)
            ],
            "is_open": (age < 14.0) & (rng.random(count) < 0.5),
            "last_update": (NOW - age * DAY_S).astype(np.uint32),
        }
    )
    return blocks, frame


def _blocks(rng: np.random.Generator, blocks_of: Array, datasets: pl.DataFrame) -> pl.DataFrame:
    dataset = np.repeat(np.arange(len(blocks_of), dtype=np.uint32), blocks_of)
    count = len(dataset)
    files = rng.integers(5, 11, count).astype(np.uint32)
    raw = rng.bytes(16 * count)
    hexed = pl.Series([raw]).bin.encode("hex").item()
    assert isinstance(hexed, str)
    return pl.DataFrame(
        {
            "dataset": dataset,
            "name": _uuids(hexed, count),
            "size": files.astype(np.int64) * rng.integers(1_000_000_000, 3_000_000_000, count),
            "files": files,
            "is_open": np.zeros(count, dtype=np.bool_),
            "last_update": datasets["last_update"].gather(dataset),
        }
    )


def _uuids(hexed: str, count: int) -> pl.Series:
    """Texts of 8-4-4-4-12 hexadecimal digits, cut from one long text by way of a table of bytes."""
    digits = np.frombuffer(hexed.encode(), dtype=np.uint8).reshape(count, 32)
    text = np.full((count, 37), ord("\n"), dtype=np.uint8)
    at = 0
    for first, last in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)):
        text[:, at : at + last - first] = digits[:, first:last]
        at += last - first
        if at < 36:
            text[:, at] = ord("-")
            at += 1
    return pl.read_csv(text.tobytes(), has_header=False, new_columns=["name"], schema={"name": pl.String})["name"]


def _replicas(
    rng: np.random.Generator, blocks_of: Array, blocks: pl.DataFrame, datasets: pl.DataFrame, sites: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Block replicas, and what is intended for each dataset replica."""
    dataset, site = _places(rng, len(blocks_of), sites["weight"].to_numpy())
    mine = blocks_of[dataset]
    first_block = np.cumsum(blocks_of) - blocks_of
    group = 1 + rng.choice(len(GROUPS), len(dataset), p=GROUP_SHARE)
    on_tape = site >= DISK_SITES
    partial = rng.random(len(dataset)) < PARTIAL_SHARE
    replica = np.repeat(np.arange(len(dataset)), mine)
    block = first_block[dataset][replica] + np.arange(len(replica)) - (np.cumsum(mine) - mine)[replica]
    there = ~(partial[replica] & (rng.random(len(replica)) < LACKING_SHARE))
    replica, block = replica[there], block[there]
    files = blocks["files"].to_numpy()[block].copy()
    size = blocks["size"].to_numpy()[block].copy()
    lacking = np.flatnonzero(rng.random(len(block)) < INCOMPLETE_SHARE)
    size[lacking] = size[lacking] // files[lacking] * (files[lacking] - 1)
    files[lacking] -= 1
    born = datasets["last_update"].to_numpy()[dataset][replica].astype(np.int64)
    arrived = born + (rng.random(len(dataset))[replica] * (NOW - born) * 0.7).astype(np.int64)
    replicas = pl.DataFrame(
        {
            "block": block.astype(np.uint32),
            "site": site[replica].astype(np.uint16),
            "group": group[replica].astype(np.uint16),
            "files": files,
            "bytes": size,
            "last_update": arrived.astype(np.uint32),
            "custodial": on_tape[replica],
        }
    )
    intents = pl.DataFrame(
        {
            "dataset": dataset.astype(np.uint32),
            "site": site.astype(np.uint16),
            "group": group.astype(np.uint16),
            "growing": datasets["is_open"].gather(dataset),
            "custodial": on_tape,
        }
    )
    return replicas, intents


def _places(rng: np.random.Generator, count: int, weight: Array) -> tuple[Array, Array]:
    """(dataset, site) of each dataset replica: distinct sites, drawn with the sites' weights."""
    copies = np.array(COPIES)[rng.choice(len(COPIES), count, p=COPIES_SHARE)]
    taped = rng.random(count) < TAPE_SHARE
    taped |= copies == 0
    tape = DISK_SITES + rng.choice(TAPE_SITES, count, p=weight[DISK_SITES:] / weight[DISK_SITES:].sum())
    pairs = []
    for begin in range(0, count, DRAWN_AT_ONCE):
        mine = copies[begin : begin + DRAWN_AT_ONCE]
        # The largest of log(weight) + Gumbel noise are a draw with weights and without repetition.
        noise = rng.gumbel(size=(len(mine), DISK_SITES)).astype(np.float32) + np.log(weight[:DISK_SITES])
        ranked = np.argsort(-noise, axis=1)[:, : max(COPIES)]
        row, column = np.nonzero(np.arange(max(COPIES)) < mine[:, None])
        pairs.append((row + begin, ranked[row, column]))
    on_tape = np.flatnonzero(taped)
    dataset = np.concatenate([*(rows for rows, _ in pairs), on_tape])
    return dataset, np.concatenate([*(places for _, places in pairs), tape[on_tape]])


def _quotas(rng: np.random.Generator, made: Inventory, sites: pl.DataFrame) -> pl.DataFrame:
    """Quotas that leave disk sites between 70 and 97 % full, and tape without a bound."""
    held = np.bincount(
        made.dataset_replicas["site"].to_numpy(), made.dataset_replicas["bytes"].to_numpy(), minlength=sites.height
    )
    occupancy = np.where(rng.random(sites.height) < 0.2, rng.uniform(0.9, 0.97, sites.height), 0)
    occupancy = np.where(occupancy > 0, occupancy, rng.uniform(0.7, 0.9, sites.height))
    quota = np.where(sites["storage_type"].to_numpy() == "mss", -1, np.ceil(held / occupancy / 1e12) * 1e12)
    return pl.DataFrame(
        {"site": np.arange(sites.height), "partition": 0, "quota": quota.astype(np.int64)}, schema=schemas.QUOTAS
    )


def main() -> None:
    """Draws a collaboration and leaves it in a folder, as `reploc placement inventory export` would."""
    parser = argparse.ArgumentParser(description="Draws a synthetic collaboration into a folder of Parquet files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--datasets", type=int, default=DATASETS, help=f"(default {DATASETS:,})")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    began = time.monotonic()
    made = Collaboration(options.datasets, options.seed).inventory()
    counts = f"{made.blocks.height:,} blocks, {made.dataset_replicas.height:,} dataset replicas"
    said(f"{counts}, {made.block_replicas.height:,} block replicas in {time.monotonic() - began:.1f} s")
    parquet.export(made, options.folder)


if __name__ == "__main__":
    main()
