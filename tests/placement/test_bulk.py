"""A whole inventory put into the database and heard site by site is the same inventory again."""

from __future__ import annotations

import polars as pl
from stores import Told

from loadtests import inventory_load
from loadtests.collaboration import Collaboration
from placement import bulk
from placement.inventory import Inventory
from placement.messages import InjectBody, SiteItem
from placement.observations import News, Part
from reploc.sites import Site


def named(made: Inventory) -> pl.DataFrame:
    """Block replicas by name, in the order of names."""
    replicas = made.block_replicas
    return pl.DataFrame(
        [
            made.block_names(replicas["block"].to_numpy()),
            made.sites["name"].gather(replicas["site"]).alias("site"),
            made.groups["name"].gather(replicas["group"]).alias("group"),
            *(replicas[name] for name in ("files", "bytes", "complete", "custodial")),
        ]
    ).sort("block", "site")


def test_what_is_put_in_and_heard_comes_out(told: Told) -> None:
    made = Collaboration(datasets=200, seed=5).inventory()
    # Some blocks are owned otherwise than the dataset replicas that they are in.
    other = made.block_replicas.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(pl.lit(1, pl.UInt16)).otherwise("group").alias("group")
    )
    made = made.having("other", block_replicas=other)
    told.inject(InjectBody(sites=[SiteItem(site=Site(name=name, lrc="http://h:1")) for name in made.sites["name"]]))
    assert bulk.define(told.keeper, made, bool) == 200
    assert bulk.define(told.keeper, made, bool) == 0
    for name, rows in inventory_load.holdings(made):
        holds = inventory_load.told_of(name, len(rows))
        told.keeper.observe(News(name, holds.lrc, (Part("n0", holds, None),), 1, 0.0, True, 1), rows)
    again = told.keeper.inventory()
    assert named(again).equals(named(made))
    assert again.dataset_replicas.height == made.dataset_replicas.height
    assert again.datasets.sort("name").drop("last_update").equals(made.datasets.sort("name").drop("last_update"))
    assert sorted(again.quotas["quota"]) == sorted(made.quotas["quota"])
