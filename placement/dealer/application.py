"""Whether a plan still holds, and the orders that it comes to.

Between planning and doing the world moves: what is to be copied must be lacking still and have a source, what is to be
handed over must be there, the sites must have the room, and who asked must want it still, by the inventory that the
orders are written on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from placement import requests
from placement.columns import partition_rows
from placement.dealer.deciding import DEAD
from placement.dealer.plan import Plan
from placement.dealer.room import Reason, Room
from placement.dealer.stock import Stock
from placement.detox.runs import Bits, Keys
from placement.inventory import AHEAD_MAX_S, UNKNOWN, Inventory
from placement.orders import Handover, Wish
from placement.request_messages import RequestState
from placement.requests import Ruling
from placement.schemas import NO_GROUP
from reploc.errors import PlanOutdated
from reploc.orders import BlockOrder

#: What must be so of a block, and what is said where it is not; the first that fails is told.
_CONDITIONS = (
    ("known", "site, block or group is not defined any more"),
    ("alive", "the dataset has a status now of which nothing is copied"),
    ("asked", "the request that it is for has ended"),
    ("same", "the block has other files or bytes now"),
    ("open", "the site takes no copies now"),
    ("lacking", "it is there now, or on its way"),
    ("there", "it is not there any more"),
    ("sourced", "no READY site with fresh news has all of it to copy from"),
    ("room", "the site has no room for what the plan brings there"),
)


@dataclass(frozen=True)
class Holding:
    """A plan beside the inventory of now: its blocks, with `reason` why they do not hold, empty where they do, and
    `sources`, the sites that have all of a block to copy from."""

    blocks: pl.DataFrame

    def failed(self) -> pl.DataFrame:
        """The blocks that do not hold."""
        return self.blocks.filter(pl.col("reason") != "")

    def held(self) -> pl.DataFrame:
        """The blocks at sites and of items all of whose blocks hold."""
        key = ["site", "item"]
        return self.blocks.join(self.failed().select(key).unique(), on=key, how="anti", maintain_order="left")


def checked(
    plan: Plan, inventory: Inventory, left_out: frozenset[str], now_s: float, states: Mapping[int, RequestState]
) -> Holding:
    """Compares a plan with what is there; READY sites without fresh news are `left_out`, `states` are those of requests
    now.

    Raises PlanOutdated: the plan is older than it may be, or from the future.
    """
    age, most = now_s - plan.header.at, plan.header.settings.max_plan_age_s
    if age < -AHEAD_MAX_S:
        raise PlanOutdated(f"the plan is from {-age:.0f} s in the future: a clock is wrong, or it was made with --at")
    if age > most:
        raise PlanOutdated(f"the plan is {age:.0f} s old; at most {most:.0f} s are allowed (max_plan_age_s)")
    ended = [number for number in plan.requests() if states.get(number) not in requests.OPEN]
    return compared(plan, inventory, Stock(inventory, left_out), left_out, ended)


def compared(
    plan: Plan, inventory: Inventory, stock: Stock, left_out: frozenset[str], ended: Sequence[int] = ()
) -> Holding:
    """The same whatever the plan's age, over the stock of the inventory; `ended` are requests that have."""
    blocks = plan.blocks
    site = inventory.site_keys(blocks["site"].to_list())
    block = inventory.block_keys(blocks["block"].to_list())
    known = (site != UNKNOWN) & (block != UNKNOWN) & (inventory.group_keys(blocks["group"].to_list()) != UNKNOWN)
    at_site, at_block = np.maximum(site, 0), np.maximum(block, 0)
    member = partition_rows(inventory, plan.header.settings.partition)
    room = Room(inventory, plan.header.settings, left_out, member)
    copy = (blocks["decision"] == "copy").to_numpy()
    row = inventory.rows(at_block, at_site)
    present = np.zeros(len(row), dtype=np.bool_)
    present[row != UNKNOWN] = stock.held[row[row != UNKNOWN]]
    sources = _sources(inventory, stock, at_block, blocks["rescue"].to_numpy())
    told = inventory.blocks.select("files", "size")[at_block] if inventory.blocks.height else blocks
    dead = inventory.datasets.filter(pl.col("status").is_in(DEAD))["name"]
    holds: dict[str, Bits] = {
        "known": known,
        "alive": ~blocks["dataset"].is_in(dead.implode()).to_numpy(),
        "asked": ~blocks["request"].is_in(ended).fill_null(False).to_numpy(),
        "same": np.asarray((told["files"].cast(pl.Int64) == blocks["files"]) & (told["size"] == blocks["size"])),
        "open": room.standing[at_site] == Reason.OPEN,
        "lacking": ~copy | ~present,
        "there": copy | present,
        "sourced": ~copy | (sources.list.len() > 0).to_numpy(),
    }
    lacking = blocks["size"].to_numpy() - stock.projected(row)
    holds["room"] = ~copy | _roomy(room, at_site, np.where(copy, np.maximum(lacking, 0), 0))
    said = np.full(blocks.height, "", dtype=object)
    for name, reason in reversed(_CONDITIONS):
        said[~holds[name]] = reason
    return Holding(blocks.with_columns(pl.Series("reason", list(said), dtype=pl.String), sources.alias("sources")))


def _sources(inventory: Inventory, stock: Stock, block: Keys, rescue: Bits) -> pl.Series:
    """The names of the sites that have all of each block, survivors, or where there are none and it is a rescue those
    that are not ready."""
    sites, rows = inventory.sites["name"], inventory.block_replicas.select("block", "site")
    asked = pl.DataFrame({"block": block}, schema={"block": rows.schema["block"]})
    found = []
    for bits in (stock.survives, stock.stranded):
        near = rows.filter(pl.Series(bits)).join(asked.unique(), on="block", how="semi")
        named = near.with_columns(sites.gather(near["site"]).alias("name")).sort("name")
        lists = named.group_by("block", maintain_order=True).agg("name")
        joined = asked.join(lists, on="block", how="left", maintain_order="left")["name"]
        found.append(joined.fill_null(pl.Series([[]], dtype=pl.List(pl.String))))
    last = pl.Series(rescue) & (found[0].list.len() == 0)
    return pl.select(pl.when(last).then(found[1]).otherwise(found[0]).alias("sources"))["sources"]


def _roomy(room: Room, site: Keys, size: Keys) -> Bits:
    """Whether each block's site takes all that the plan brings there."""
    brought = np.zeros(len(room.quota), dtype=np.int64)
    np.add.at(brought, site, size)
    fits: Bits = room.reasons(brought) == Reason.OPEN
    return fits[site]


def wishes(blocks: pl.DataFrame) -> Iterator[Wish]:
    """One copy for each item, site and group, in the order of names."""
    copies = blocks.filter(pl.col("decision") == "copy")
    for (site, item, group), part in copies.group_by(["site", "item", "group"], maintain_order=True):
        orders = tuple(
            BlockOrder(row["block"], row["files"], row["size"], tuple(row["sources"]))
            for row in part.iter_rows(named=True)
        )
        yield Wish("copy", str(item), str(site), "" if group == NO_GROUP else str(group), orders)


def handovers(blocks: pl.DataFrame) -> Iterator[Handover]:
    """One change of owner for each dataset, site and group, in the order of names."""
    given = blocks.filter(pl.col("decision") == "hand over")
    for (site, dataset, group), part in given.group_by(["site", "dataset", "group"], maintain_order=True):
        yield Handover(str(dataset), str(site), str(group), tuple(part["block"]))


def rulings(plan: Plan, holding: Holding, states: Mapping[int, RequestState]) -> Iterator[Ruling]:
    """What becomes of requests when only what holds is done; a request stays as it is where nothing is done of what the
    plan has for it, or where others have activated it since."""
    served = holding.blocks.filter(pl.col("request").is_not_null())
    lost = set(served.join(holding.failed(), on=["site", "item"], how="semi")["request", "site"].iter_rows())
    missed, done = {number for number, _ in lost}, set(holding.held()["request"].drop_nulls())
    for ruling in plan.header.rulings:
        sites = tuple(site for site in ruling.sites if (ruling.id, site) not in lost)
        moot = ruling.state != "activated" and states.get(ruling.id) == "activated"
        idle = ruling.id in missed and ruling.id not in done and not sites
        if not moot and not idle:
            yield replace(ruling, sites=sites)
