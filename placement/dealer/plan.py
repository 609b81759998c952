"""A plan of the dealer: what became of every proposal, which blocks go where, and the file that holds them.

The same inventory, settings and seed give the same bytes: rows stand in the order of turns, and of names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from msgspec import Struct

from placement import plan_files
from placement.dealer.settings import DealerSettings
from placement.requests import Ruling
from placement.schemas import Schema

#: One row a proposal, in the order of turns. `item` is a dataset, or a block where just one is proposed; `blocks` and
#: `bytes` are what a copy brings, or what changes its owner.
DECISIONS: Schema = {
    "turn": pl.UInt32(),
    "plugin": pl.String(),
    "item": pl.String(),
    "why": pl.String(),
    "decision": pl.Enum(["copy", "hand over", "reject"]),
    "reason": pl.String(),
    "site": pl.String(),
    "group": pl.String(),
    "blocks": pl.UInt32(),
    "bytes": pl.Int64(),
}
#: One row a block that is to be copied, or handed over, by site, dataset and block. `item` is what was proposed;
#: `rescue`: it may be read from a site that is not ready; `request` is the one that asked for it, where one did.
BLOCKS: Schema = {
    "site": pl.String(),
    "dataset": pl.String(),
    "block": pl.String(),
    "item": pl.String(),
    "decision": pl.Enum(["copy", "hand over"]),
    "group": pl.String(),
    "rescue": pl.Boolean(),
    "request": pl.Int64(),
    "files": pl.Int64(),
    "size": pl.Int64(),
}


class SitePlan(Struct, frozen=True):
    """What a plan does at one site. `standing` says why the site gets nothing whatever is proposed, or `open`; bytes
    are those of the partition, ordered copies counted as finished; `pending` are those that are not there yet."""

    site: str
    standing: str
    quota: int | None
    before: int
    pending: int
    copies: int
    copied: int
    handed_over: int
    after: int


class PluginPlan(Struct, frozen=True):
    """What became of the proposals of a plugin; `rejected` counts them by reason."""

    plugin: str
    priority: int
    proposals: int
    copies: int
    copied: int
    handed_over: int
    rejected: dict[str, int]


class PlanHeader(Struct, frozen=True):
    """What a plan was made of: `at` is the run's clock, `inventory` its version, `seed` what chance began with."""

    settings: DealerSettings
    seed: int
    inventory: str
    at: float
    left_out: tuple[str, ...]
    sites: tuple[SitePlan, ...]
    plugins: tuple[PluginPlan, ...]
    #: What becomes of requests when the plan is done.
    rulings: tuple[Ruling, ...] = ()
    format: int = 1


@dataclass(frozen=True)
class Plan:
    """A header and its frames; see DECISIONS and BLOCKS."""

    header: PlanHeader
    decisions: pl.DataFrame
    blocks: pl.DataFrame

    def requests(self) -> list[int]:
        """The requests that something is done for or that are ruled on, rising."""
        served = self.blocks["request"].drop_nulls().to_list()
        return sorted({*served, *(ruling.id for ruling in self.header.rulings)})

    def encoded(self) -> bytes:
        """The file's bytes."""
        return plan_files.packed(self.header, {"decisions": self.decisions, "blocks": self.blocks})


def decoded(content: bytes, where: str) -> Plan:
    """The plan in a file's bytes. Raises InputInvalid: it is none."""
    held = {"decisions": DECISIONS, "blocks": BLOCKS}
    header, frames = plan_files.unpacked(content, where, PlanHeader, held, "the dealer")
    return Plan(header, *frames)


def read(path: Path) -> Plan:
    """The plan in a file. Raises InputInvalid: it cannot be read, or is none."""
    return decoded(plan_files.content(path), str(path))


def differing(old: Plan, new: Plan) -> pl.DataFrame:
    """Where two plans decide otherwise: site, dataset, bytes by each plan, and what is done; in the order of names."""
    keys = ["site", "dataset", "decision"]
    of = [plan.blocks.with_columns(pl.col("decision").cast(pl.String)).group_by(keys).agg(pl.col("size").sum())
          for plan in (old, new)]  # fmt: skip
    both = of[0].join(of[1], on=keys, how="full", coalesce=True, suffix="_new")
    changed = both.filter(pl.col("size").ne_missing(pl.col("size_new")))
    return changed.select(
        *keys, pl.col("size").fill_null(0).alias("old"), pl.col("size_new").fill_null(0).alias("new")
    ).sort(keys)
