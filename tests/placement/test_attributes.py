"""Attribute producers: what they compute, and that whatever goes wrong with one stops the run."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from worlds import inventory

from placement import schemas
from placement.attributes.producer import Asked, Producer, collected, configured
from placement.inventory import Inventory
from placement.policy.bits import Coded, Column
from placement.policy.variables import VARIABLES
from reploc.config import Settings
from reploc.errors import ConfigInvalid, ProducerFailed

NOW = 1_520_000_000
DAY = 86_400
PARTITION = pl.DataFrame(
    {"name": ["P"], "condition": ["always"], "parts": [None]}, schema_overrides={"parts": pl.List(schemas.PARTITION)}
)


@pytest.fixture
def world() -> Inventory:
    """Datasets /a and /b at A and B, one of 2 GB that changed 10 days ago; /c at B alone, of two blocks."""
    datasets = [{"name": "/a", "last_update": NOW - 10 * DAY}, {"name": "/b"}, {"name": "/c", "blocks": ["1", "2"]}]
    rows = [{"block": block, "site": site} for block in ("/a", "/b") for site in "AB"]
    rows += [
        {"block": "/c#1", "site": "B", "copying": True, "files": 1},
        {"block": "/c#2", "site": "B", "locked": True},
    ]
    sites = [{"name": name, "news_at": float(NOW)} for name in "AB"]
    return inventory(sites, datasets, rows, blocks={"/a": {"size": 2_000_000_000}}, partitions=PARTITION)


def columns(world: Inventory, tables: dict[str, Any], *names: str) -> dict[str, Column]:
    producers = configured(tables, "settings")
    return collected([VARIABLES[name] for name in names], producers, Asked(world, NOW))


def of_replicas(world: Inventory, column: Column) -> dict[tuple[str, str], Any]:
    assert isinstance(column, np.ndarray)
    rows = world.dataset_replicas.select("dataset", "site").rows()
    names, sites = world.datasets["name"], world.sites["name"]
    return {(names[d], sites[s]): value for (d, s), value in zip(rows, column.tolist(), strict=True)}


@pytest.mark.parametrize("ending", ["csv", "parquet", "ndjson"])
def test_popularity_comes_from_records_of_accesses(world: Inventory, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"accesses.{ending}"
    rows = [("/a", NOW - 4 * DAY, 6), ("/a", NOW - 8 * DAY, 2), ("/a", NOW + DAY, 99), ("/none", NOW, 7)]
    frame = pl.DataFrame(rows, schema=["dataset", "at", "accesses"], orient="row")
    getattr(frame, f"write_{ending}")(path)
    names = ("dataset.last_access", "dataset.usage_rank", "dataset.demand_rank", "replica.num_access")
    found = columns(world, {"popularity": {"records": str(path)}}, *names)
    assert found["dataset.last_access"].tolist() == [NOW - 4 * DAY, 0, 0]
    # 4 days since the last use, less 8 accesses to 2 GB; what was never used counts from the epoch.
    assert found["dataset.usage_rank"].tolist() == [0.0, NOW / DAY, NOW / DAY]
    assert found["dataset.demand_rank"].tolist() == pytest.approx([6 / 2 + 2 / 4, 0, 0])
    assert of_replicas(world, found["replica.num_access"])["/a", "B"] == 8


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("dataset,at\n/a,1\n", "column 'accesses' is missing"),
        ("dataset,at,accesses\n/a,x,1\n", "x"),
        ("dataset,at,accesses\n/a,,1\n", "column 'at' lacks 1 values"),
    ],
)
def test_records_that_are_wrong_stop_the_run(world: Inventory, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "accesses.csv"
    path.write_text(content)
    with pytest.raises(ProducerFailed, match=said):
        columns(world, {"popularity": {"records": str(path)}}, "dataset.usage_rank")
    with pytest.raises(ProducerFailed, match=r"ends in \.csv"):
        columns(world, {"popularity": {"records": "accesses.txt"}}, "dataset.usage_rank")


def test_locks_are_those_of_the_database_and_of_files_until_they_expire(world: Inventory, tmp_path: Path) -> None:
    path = tmp_path / "locks.csv"
    path.write_text(f"item,site,until\n/a,A,{NOW + 1}\n/b,B,{NOW}\n/c#*,Nowhere*,{NOW + 1}\n")
    names = ("blockreplica.is_locked", "replica.is_locked")
    found = columns(world, {"locks": {"files": [str(path)]}}, *names)
    locked = {("/a", "A"), ("/c", "B")}
    assert {key for key, value in of_replicas(world, found["replica.is_locked"]).items() if value} == locked
    # A lock at a site that nobody knows holds everywhere.
    assert found["blockreplica.is_locked"].sum() == 3
    assert columns(world, {}, "blockreplica.is_locked")["blockreplica.is_locked"].sum() == 1


def test_protected_sites_and_unhandled_copies_are_told_of_datasets(world: Inventory) -> None:
    names = ("dataset.on_protected_site", "dataset.unhandled_copy_exists")
    found = columns(world, {"protected_sites": {"sites": ["A*"]}}, *names)
    assert found["dataset.on_protected_site"].tolist() == [True, True, False]
    assert found["dataset.unhandled_copy_exists"].tolist() == [False, False, True]
    with pytest.raises(ProducerFailed, match="no site is 'X'"):
        columns(world, {"protected_sites": {"sites": ["X"]}}, "dataset.on_protected_site")


def test_a_table_supplies_what_another_system_computes(world: Inventory, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("dataset,dataset.tape_copy_requested\n/b,true\n/none,true\n")
    table = {"table": {"file": str(path), "variables": ["dataset.tape_copy_requested"]}}
    found = columns(world, table, "dataset.tape_copy_requested")
    assert found["dataset.tape_copy_requested"].tolist() == [False, True, False]
    path.write_text("dataset,dataset.tape_copy_requested\n/b,true\n/b,false\n")
    with pytest.raises(ProducerFailed, match="'/b' stands twice"):
        columns(world, table, "dataset.tape_copy_requested")
    with pytest.raises(ConfigInvalid, match=r"did you mean 'dataset\.tape_copy_requested'"):
        configured({"table": {"file": "x", "variables": ["dataset.tape_copy_requestd"]}}, "settings")


@pytest.mark.parametrize(("copies", "needed"), [(2, {("/a", "A"), ("/a", "B")}), (1, set())])
def test_a_rule_protects_the_copies_that_it_needs(
    world: Inventory, tmp_path: Path, copies: int, needed: set[tuple[str, str]]
) -> None:
    path = tmp_path / "rules.json"
    rule = {"destinations": ["site.name in [A B]"], "replicas": ["dataset.name == /a"], "protect": True}
    rules = {"r": rule | {"num_copies": copies}, "s": {"num_copies": 9, "destinations": ["always"]}}
    path.write_text(json.dumps({"partition": "P", "rules": rules}))
    found = columns(world, {"enforcer": {"rules": str(path)}}, "replica.enforcer_protected")
    told = of_replicas(world, found["replica.enforcer_protected"])
    assert {key for key, value in told.items() if value} == needed


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("{", "rules.json"),
        ('{"partition": "P", "rules": {"r": {"num_copies": 0, "destinations": ["always"]}}}', ">= 1"),
        ('{"partition": "P", "rules": {"r": {"num_copies": 1, "destinations": ["dataset.is_open"], "protect": true}}}',
         "about a dataset"),
        ('{"partition": "P", "rules": {"r": {"num_copies": 1, "destination": ["always"]}}}',
         "rules.json: rules.r: unknown key 'destination'; did you mean 'destinations'"),
        ('{"partition": "P", "rules": {"r": {"num_copies": "2", "destinations": ["always"]}}}',
         "rules.json: rules.r: num_copies: Expected `int`, got `str`"),
        ('{"partitions": "P", "rules": {}}', "rules.json: unknown key 'partitions'; did you mean 'partition'"),
        ("[]", "rules.json: is no table"),
        ('{"partition": "P", "rules": {"r": {"num_copies": 1, "destinations": ["always"], "protect": true, '
         '"replicas": ["dataset.usage_rank > 1"]}}}', "comes from a producer"),
    ],
)  # fmt: skip
def test_wrong_rules_stop_the_run(world: Inventory, tmp_path: Path, rules: str, said: str) -> None:
    path = tmp_path / "rules.json"
    path.write_text(rules)
    with pytest.raises(ProducerFailed, match=said):
        columns(world, {"enforcer": {"rules": str(path)}}, "replica.enforcer_protected")


# ---- what goes wrong -------------------------------------------------------------------------------------------------


class Double:
    """A producer that gives, or does, what a test says."""

    settings = Settings

    def __init__(self, act: Any) -> None:
        self._act = act

    def variables(self) -> frozenset[str]:
        return frozenset({"dataset.last_access", "dataset.is_latest_production_release"})

    def produce(self, asked: Asked) -> Mapping[str, Column]:
        return self._act()


def asked_of(world: Inventory, act: Any, name: str = "dataset.last_access") -> dict[str, Column]:
    producers: dict[str, Producer] = {"double": Double(act)}
    return collected([VARIABLES[name]], producers, Asked(world, NOW), deadline_s=0.2)


def test_a_producer_that_hangs_is_not_waited_for(world: Inventory) -> None:
    wake = threading.Event()
    try:
        with pytest.raises(ProducerFailed, match=r"gave nothing within 0\.2 s"):
            asked_of(world, wake.wait)
    finally:
        wake.set()


def fails() -> Mapping[str, Column]:
    raise OSError("the popularity service is down")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (fails, "OSError: the popularity service is down"),
        (lambda: {}, "gave nothing for dataset.last_access"),
        (lambda: {"dataset.last_access": np.zeros(2)}, "gave 2 values for dataset.last_access; expected 3"),
        (lambda: {"dataset.last_access": np.full(3, np.nan)}, "something else than a time each"),
        (lambda: {"dataset.last_access": np.array(["a", "b", "c"])}, "something else than a time each"),
        (lambda: {"dataset.last_access": Coded(pl.Series(["a", "b", "c"]))}, "something else than a time each"),
    ],
)
def test_a_producer_that_fails_or_gives_what_does_not_fit_stops_the_run(world: Inventory, act: Any, said: str) -> None:
    with pytest.raises(ProducerFailed, match=said):
        asked_of(world, act)


def test_a_variable_that_nobody_supplies_is_an_error_that_says_who_usually_does(world: Inventory) -> None:
    with pytest.raises(ConfigInvalid, match=r"no configured producer supplies dataset\.usage_rank") as wrong:
        columns(world, {}, "dataset.usage_rank")
    assert "popularity" in wrong.value.advice


def test_a_variable_that_two_supply_is_an_error(world: Inventory, tmp_path: Path) -> None:
    tables = {
        "popularity": {"records": "x.csv"},
        "table": {"file": "x.csv", "variables": ["dataset.last_access"]},
    }
    with pytest.raises(ConfigInvalid, match="two producers"):
        columns(world, tables, "dataset.last_access")


def test_a_producer_that_nobody_knows_or_that_is_not_configured_is_an_error() -> None:
    with pytest.raises(ConfigInvalid, match="no attribute producer 'popularty' \\(did you mean 'popularity'"):
        configured({"popularty": {}}, "settings")
    with pytest.raises(ConfigInvalid, match="records is empty"):
        configured({"popularity": {}}, "settings")
    with pytest.raises(ConfigInvalid, match="unknown key 'record'"):
        configured({"popularity": {"record": "x"}}, "settings")
