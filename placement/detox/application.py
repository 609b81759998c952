"""Whether a plan still holds, and the orders that it comes to.

Between planning and doing the world moves. Each deletion says what must be so still: that what goes is there as it was,
that nothing protects it now, and that what survives it does so now, by the inventory that the orders are written on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from placement.columns import InventoryColumns
from placement.detox.plan import Plan
from placement.detox.runs import Array, Bits
from placement.inventory import AHEAD_MAX_S, Inventory
from placement.orders import Handover, Wish
from placement.policy.bits import Column
from placement.policy.variables import VARIABLES
from reploc.errors import PlanExcessive, PlanOutdated
from reploc.orders import BlockOrder

#: What must be so of a block replica that goes, and what is said where it is not; the first that fails is told.
_CONDITIONS = (
    ("known", "site or block is not defined any more"),
    ("there", "it is not there any more, or an order deletes it already"),
    ("same", "files or bytes there have changed"),
    ("unlocked", "it is locked now"),
    ("unread", "an open copy reads it now"),
    ("survives", "its witness is no survivor any more"),
    ("exempt", "it is the last copy, and the dataset's status does not allow that any more"),
    ("outdone", "its block has no survivor, and no other copy has as much of it any more"),
)


@dataclass(frozen=True)
class Holding:
    """A plan beside the inventory of now: for each row of its blocks why it does not hold, empty where it does."""

    plan: Plan
    reasons: pl.Series

    def failed(self) -> pl.DataFrame:
        """The blocks that do not hold, with reasons."""
        return self.plan.blocks.with_columns(self.reasons.alias("reason")).filter(pl.col("reason") != "")

    def held(self) -> pl.DataFrame:
        """The blocks of dataset replicas all of whose blocks hold."""
        key = ["site", "dataset"]
        return self.plan.blocks.join(self.failed().select(key).unique(), on=key, how="anti", maintain_order="left")


def locked_of(plan: Plan, inventory: Inventory, attributes: Mapping[str, Column]) -> Bits:
    """Which of a plan's blocks are locked by an inventory and what producers give, shape (blocks,)."""
    locked = np.asarray(InventoryColumns(inventory, attributes).column(VARIABLES["blockreplica.is_locked"]))
    row = _rows(inventory, *_keys(plan, inventory))
    found = np.zeros(len(row), dtype=np.bool_)
    found[row >= 0] = locked[row[row >= 0]]
    return found


def checked(
    plan: Plan, inventory: Inventory, now_s: float, max_news_age_s: float, locked: Bits | None = None
) -> Holding:
    """Compares a plan with what is there; witnesses are believed only where news is so young, and `locked` are the
    blocks of the plan that are locked by others than the inventory.

    Raises PlanOutdated: the plan is older than it may be, or from the future.
    """
    age = now_s - plan.header.at
    if age < -AHEAD_MAX_S:
        raise PlanOutdated(f"the plan is from {-age:.0f} s in the future: a clock is wrong, or it was made with --at")
    if age > plan.header.settings.max_plan_age_s:
        most = plan.header.settings.max_plan_age_s
        raise PlanOutdated(f"the plan is {age:.0f} s old; at most {most:.0f} s are allowed (max_plan_age_s)")
    elsewhere = np.zeros(plan.blocks.height, dtype=np.bool_) if locked is None else locked
    reasons = _reasons(plan, inventory, inventory.fresh_sites(now_s, max_news_age_s), elsewhere)
    return Holding(plan, pl.Series(reasons, dtype=pl.String))


def require_meant(plan: Plan, *, yes_really: bool) -> None:
    """Raises PlanExcessive where a policy would empty sites by more than the cap, and nobody says it is meant."""
    if plan.header.over and not yes_really and not plan.header.yes_really:
        most = plan.header.settings.max_fraction_of_site
        raise PlanExcessive(
            f"the policy would take more than {most:.0%} from {', '.join(plan.header.over)} in one cycle"
        )


def _reasons(plan: Plan, inventory: Inventory, fresh: Bits, locked: Bits) -> list[str]:
    blocks = plan.blocks
    block, site = _keys(plan, inventory)
    row = _rows(inventory, block, site)
    there = row >= 0
    at = np.where(there, row, 0)
    frame = inventory.block_replicas

    def now(name: str) -> Array:
        return frame[name].gather(at).to_numpy() if frame.height else np.zeros(len(at))

    goes = (blocks["heir"] == "").to_numpy()
    complete = now("complete").astype(np.bool_)
    allowed = pl.col("status").cast(pl.String).is_in(plan.header.settings.allow_last_copy)
    exempt = blocks["dataset"].is_in(inventory.datasets.filter(allowed)["name"].implode()).to_numpy()
    witnessed = (blocks["witness"] != "").to_numpy()
    survives = _survives(plan, inventory, block, fresh & inventory.ready_sites)
    outdone = _outdone(inventory, row, goes, fresh | ~inventory.ready_sites)
    holds = {
        "known": (site >= 0) & (block >= 0),
        "there": there & (now("files") > 0) & ~now("deleting").astype(np.bool_),
        "same": (now("files") == blocks["files"].to_numpy()) & (now("bytes") == blocks["bytes"].to_numpy()),
        "unlocked": ~goes | ~(locked | now("locked").astype(np.bool_)),
        "unread": ~goes | ~now("source").astype(np.bool_),
        "survives": ~goes | ~witnessed | survives,
        "exempt": ~goes | witnessed | ~complete | exempt,
        "outdone": ~goes | witnessed | complete | exempt | outdone,
    }
    said = np.full(blocks.height, "", dtype=object)
    for name, reason in reversed(_CONDITIONS):
        said[~holds[name]] = reason
    return list(said)


def _survives(plan: Plan, inventory: Inventory, block: Array, trusted: Bits) -> Bits:
    """Whether each block is whole at its witness, a READY site with fresh news that nothing is deleted at."""
    site = inventory.site_keys(plan.blocks["witness"].to_list())
    row = _rows(inventory, block, site)
    good = (inventory.block_replicas["complete"] & ~inventory.block_replicas["deleting"]).to_numpy()
    found = np.zeros(len(row), dtype=np.bool_)
    known = row >= 0
    found[known] = good[row[known]] & trusted[site[known]]
    return found


def _outdone(inventory: Inventory, row: Array, goes: Bits, known: Bits) -> Bits:
    """Whether somebody of whom there is news has at least as much of each block, and stays when the plan is done."""
    frame = inventory.block_replicas
    stays = ~frame["deleting"].to_numpy() & known[frame["site"].to_numpy()]
    stays[row[goes & (row >= 0)]] = False
    held = ["block", "files", "bytes"]
    asked = pl.DataFrame({"row": row}).with_row_index("place").filter(pl.col("row") >= 0)
    asked = asked.with_columns(frame.select(held)[asked["row"]])
    others = frame.lazy().filter(pl.Series(stays)).select(held).join(asked.lazy(), on="block", suffix="_asked")
    as_much = (pl.col("files") >= pl.col("files_asked")) & (pl.col("bytes") >= pl.col("bytes_asked"))
    found = np.zeros(len(row), dtype=np.bool_)
    found[others.filter(as_much).select("place").collect()["place"].to_numpy()] = True
    return found


def _keys(plan: Plan, inventory: Inventory) -> tuple[Array, Array]:
    """The keys of the blocks and of the sites of a plan."""
    return inventory.block_keys(plan.blocks["block"].to_list()), inventory.site_keys(plan.blocks["site"].to_list())


def _rows(inventory: Inventory, block: Array, site: Array) -> Array:
    """The row of each (block, site), -1 where there is none."""
    asked = pl.DataFrame({"block": block, "site": site}).with_row_index("place").filter(pl.col("block") >= 0)
    asked = asked.filter(pl.col("site") >= 0)
    held = inventory.block_replicas.lazy().select(pl.col("block", "site").cast(pl.Int64)).with_row_index("row")
    found = held.join(asked.lazy(), on=["block", "site"], how="inner").select("place", "row").collect()
    rows = np.full(len(block), -1, dtype=np.int64)
    rows[found["place"].to_numpy()] = found["row"].to_numpy()
    return rows


def wishes(blocks: pl.DataFrame) -> Iterator[Wish]:
    """One deletion for each dataset replica of which blocks go, in the order of names."""
    for (site, dataset), part in _by_replica(blocks.filter(pl.col("heir") == "")):
        orders = tuple(
            BlockOrder(row["block"], row["files"], row["bytes"], (), row["witness"])
            for row in part.iter_rows(named=True)
        )
        yield Wish("delete", dataset, site, part.item(0, "owner"), orders)


def handovers(blocks: pl.DataFrame) -> Iterator[Handover]:
    """One change of owner for each dataset replica and heir."""
    for (site, dataset), part in _by_replica(blocks.filter(pl.col("heir") != "")):
        for heir in part["heir"].unique().sort():
            mine = part.filter(pl.col("heir") == heir)
            yield Handover(dataset, site, heir, tuple(mine["block"]))


def _by_replica(blocks: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    for key, part in blocks.group_by(["site", "dataset"], maintain_order=True):
        yield (str(key[0]), str(key[1])), part
