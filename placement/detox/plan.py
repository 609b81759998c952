"""A plan: every decision of a cycle with what it was made of, as frames, and the file that holds them.

The same inputs give the same bytes: rows stand in the order of names (`placement/plan_files.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from msgspec import Struct

from placement import plan_files
from placement.detox.settings import DetoxSettings
from placement.schemas import Schema

#: What can be decided about a part of a dataset replica.
DECISION = pl.Enum(["protect", "keep", "delete", "hand over", "veto"])
#: One row a part of a dataset replica, all of whose blocks one line decided on. `line` is the line's number in the
#: policy's text, `pass` that in which something went, `saw` the values of the variables that the line asks for.
DECISIONS: Schema = {
    "site": pl.String(),
    "dataset": pl.String(),
    "decision": DECISION,
    "reason": pl.String(),
    "line": pl.UInt32(),
    "blocks": pl.UInt32(),
    "files": pl.Int64(),
    "bytes": pl.Int64(),
    "pass": pl.UInt32(),
    "saw": pl.String(),
}
#: One row a block replica that goes or changes its owner. `files` and `bytes` are what is there and must be there still
#: when the plan is applied; `witness` is the site that keeps the block, empty where no survivor is needed or left.
BLOCKS: Schema = {
    "site": pl.String(),
    "dataset": pl.String(),
    "block": pl.String(),
    "files": pl.Int64(),
    "bytes": pl.Int64(),
    "witness": pl.String(),
    "last_copy": pl.Boolean(),
    "owner": pl.String(),
    "heir": pl.String(),
}


class SitePlan(Struct, frozen=True):
    """What a plan does at one target site. Bytes of the partition there: `protected`, `kept`, `candidates` (that may go
    and stay, vetoed ones too) and `deleted` are parts of `before`; the rest is ignored, or owned by others now."""

    site: str
    triggered: bool
    #: No `Until` holds yet: the candidates were not enough.
    unreleased: bool
    quota: int | None
    before: int
    protected: int
    kept: int
    candidates: int
    deleted: int
    handed_over: int
    vetoed: int
    after: int


class PlanHeader(Struct, frozen=True):
    """What a plan was made of: `at` is the run's clock, `inventory` its version.

    `left_out` are READY sites without fresh news; `over` sites at which more would have gone than a cycle may take;
    `notes` what a person should know.
    """

    policy: str
    policy_file: str
    partition: str
    inventory: str
    at: float
    settings: DetoxSettings
    yes_really: bool
    passes: int
    watermarks: tuple[float, ...]
    left_out: tuple[str, ...]
    over: tuple[str, ...]
    notes: tuple[str, ...]
    sites: tuple[SitePlan, ...]
    format: int = 1


@dataclass(frozen=True)
class Plan:
    """A header and its frames; see DECISIONS and BLOCKS."""

    header: PlanHeader
    decisions: pl.DataFrame
    blocks: pl.DataFrame

    def deletions(self) -> pl.DataFrame:
        """The blocks that go."""
        return self.blocks.filter(pl.col("heir") == "")

    def handovers(self) -> pl.DataFrame:
        """The blocks that change their owner."""
        return self.blocks.filter(pl.col("heir") != "")

    def encoded(self) -> bytes:
        """The file's bytes."""
        return plan_files.packed(self.header, {"decisions": self.decisions, "blocks": self.blocks})


def decoded(content: bytes, where: str) -> Plan:
    """The plan in a file's bytes. Raises InputInvalid: it is none."""
    held = {"decisions": DECISIONS, "blocks": BLOCKS}
    header, frames = plan_files.unpacked(content, where, PlanHeader, held, "detox")
    return Plan(header, *frames)


def read(path: Path) -> Plan:
    """The plan in a file. Raises InputInvalid: it cannot be read, or is none."""
    return decoded(plan_files.content(path), str(path))


def differing(old: Plan, new: Plan) -> pl.DataFrame:
    """Where two plans decide otherwise: site, dataset, what each decides on how many bytes; in the order of names.

    What one plan does not record, because its policy ignores it, is `ignore` there.
    """
    of = [
        plan.decisions.group_by("site", "dataset", pl.col("decision").cast(pl.String)).agg(pl.col("bytes").sum())
        for plan in (old, new)
    ]
    keys = ["site", "dataset"]
    texts = [
        frame.sort("decision")
        .group_by(keys, maintain_order=True)
        .agg(pl.col("decision").str.join(" + "), pl.col("bytes").sum(), pl.struct("decision", "bytes").alias("parts"))
        for frame in of
    ]
    both = texts[0].join(texts[1], on=keys, how="full", coalesce=True, suffix="_new")
    changed = both.filter(pl.col("parts").ne_missing(pl.col("parts_new")))
    return changed.select(
        *keys,
        pl.col("decision").fill_null("ignore").alias("old"),
        pl.col("decision_new").fill_null("ignore").alias("new"),
        pl.max_horizontal(pl.col("bytes").fill_null(0), pl.col("bytes_new").fill_null(0)).alias("bytes"),
    ).sort(keys)
