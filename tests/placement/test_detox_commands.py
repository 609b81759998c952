"""`reploc placement detox`: plans, orders, explanations, comparisons and simulations, as a person runs them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from stores import FILES, SITES, START_S, Told
from test_detox import FRAME, many

from placement import orders, parquet, wishes
from placement.attributes import producer
from placement.detox import plan as plans
from placement.detox import planning
from placement.detox.ordering import order
from placement.detox.planning import Run
from placement.detox.settings import DetoxSettings
from placement.inventory import Inventory
from placement.locks import place, release
from placement.messages import LockItem, WishItem
from placement.policy.bits import Column
from placement.policy.parser import parse
from placement.policy.variables import VARIABLES
from reploc.cli import cli
from reploc.errors import InventoryMoved, PlanExcessive, PlanOutdated
from reploc.orders import OrderReport

AT = "2018-03-02 14:13:20"
WATERMARKS = "Partition P\nOn always\nWhen site.occupancy > 90 %\nUntil site.occupancy <= 80 %\nDismiss\n"


def run(*words: Any) -> Result:
    return CliRunner().invoke(cli, ["placement", "detox", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported inventory of two sites that are quite full, and a policy `policy` with watermarks."""
    parquet.export(many(quota=20_000), tmp_path / "inventory")
    (tmp_path / "policy").write_text(WATERMARKS)
    (tmp_path / "config").write_text("[detox]\nmax_fraction_of_site = 0.9\n")
    return tmp_path


def options(folder: Path, policy: str = "policy") -> list[Any]:
    return ["--policy", folder / policy, "--inventory", folder / "inventory", "--at", AT, "--config", folder / "config"]


def test_a_plan_is_a_table_a_file_and_a_picture(folder: Path) -> None:
    done = run("plan", *options(folder), "-o", folder / "plan", "--plot", folder / "plan.html")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    # The other copy of what A has let go is the last, so that B lets go what A keeps.
    assert [(row[0], row[3], row[-1]) for row in rows] == [("A", "100.0%", "80.0%"), ("B", "100.0%", "80.0%")]
    made = plans.read(folder / "plan")
    assert made.deletions().height == 8
    assert made.deletions()["block"].n_unique() == 8
    assert "Plotly.newPlot" in (folder / "plan.html").read_text()


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_may_be_flat(folder: Path, ending: str) -> None:
    assert run("plan", *options(folder), "--plot", folder / f"plan.{ending}").exit_code == 0
    assert (folder / f"plan.{ending}").stat().st_size > 1_000
    wrong = run("plan", *options(folder), "--plot", folder / "plan.gif")
    assert wrong.exit_code == 2
    assert ".html, .svg or .png" in wrong.output


def test_a_plan_in_json_has_every_deletion_with_its_witness(folder: Path) -> None:
    report = json.loads(run("plan", *options(folder), "--json").stdout)
    assert {row["witness"] for row in report["blocks"]} == {"A", "B"}
    assert report["header"]["partition"] == "P"


def test_two_plans_differ_where_their_policies_do(folder: Path) -> None:
    (folder / "other").write_text(WATERMARKS.replace("Dismiss", "Protect"))
    run("plan", *options(folder), "-o", folder / "one")
    run("plan", *options(folder, "other"), "-o", folder / "two")
    rows = [json.loads(line) for line in run("diff", folder / "one", folder / "two", "--json").stdout.splitlines()]
    assert {row["old"] for row in rows} <= {"delete", "keep", "veto"}
    assert {row["new"] for row in rows} == {"protect"}
    assert run("diff", folder / "one", folder / "one").stdout == ""


def test_an_explanation_names_the_line_that_decides(folder: Path) -> None:
    done = run("explain", "A:/00", *options(folder))
    assert done.exit_code == 0, done.output
    assert "decides, as the default" in done.stdout
    assert "1 of 1 blocks: deleted by line 5 (Dismiss)" in done.stdout
    assert run("explain", "A:/99", *options(folder)).exit_code == 1
    assert run("explain", "A", *options(folder)).exit_code == 2


def test_a_simulation_keeps_sites_between_their_watermarks_while_data_grows(folder: Path) -> None:
    words = ["--cycles", 8, "--every", 24, "--growth", 2_000, "--json", "--plot", folder / "course.svg"]
    done = run("simulate", *options(folder), *words)
    assert done.exit_code == 0, done.output
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["cycle"] for step in steps] == [*range(1, 9)]
    assert all(2_000 <= step["arrived"] <= 4_000 for step in steps)
    assert steps[-1]["datasets"] > 20
    assert sum(step["deleted"] for step in steps) > 0
    assert (folder / "course.svg").exists()
    assert run("simulate", *options(folder), *words).stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--at", "soonish"], 2, "--at: 'soonish' is no time"),
        (["--at", "2018-03-03"], 1, "news-missing"),
        (["--config", "none.toml"], 2, "none.toml"),
        (["--inventory", "none"], 2, "none"),
    ],
)
def test_wrong_input_ends_with_a_reason(folder: Path, words: list[str], status: int, said: str) -> None:
    done = run("plan", *options(folder), *words)
    assert (done.exit_code, said in done.output) == (status, True), done.output


def test_a_policy_with_errors_or_without_its_producer_plans_nothing(folder: Path) -> None:
    (folder / "bad").write_text(WATERMARKS + "Delete dataset.nme == X")
    assert "did you mean 'dataset.name'" in run("plan", *options(folder, "bad")).output
    (folder / "needs").write_text(WATERMARKS + "Delete dataset.usage_rank > 5")
    done = run("plan", *options(folder, "needs"))
    assert done.exit_code == 2
    assert "no configured producer supplies dataset.usage_rank" in done.output
    assert run("run", "--policy", folder / "policy", "--at", AT).exit_code == 2


# ---- orders ----------------------------------------------------------------------------------------------------------

POLICY = FRAME + "Delete site.name == T1\nProtect"


def filled(told: Told) -> None:
    """Both blocks of /a at T1 and T2, heard; a partition P of everything, with quotas."""
    told.define()
    told.partition(1_000)
    for site in SITES:
        told.hear(site, 1, **({} if site == "T3" else {"b1": (FILES, 20), "b2": (FILES, 20)}))


def planned(told: Told, text: str = POLICY, **settings: Any) -> plans.Plan:
    held = DetoxSettings(**{"max_fraction_of_site": 1.0} | settings)
    made = Run(parse(text).checked(), text, "policy", held, told.clock(), {})
    return planning.make(told.keeper.inventory(), made)


def test_a_plan_becomes_orders_with_witnesses_which_are_locked_then(told: Told) -> None:
    filled(told)
    plan = planned(told)
    done = order(told.keeper, plan, 900.0)
    assert done.left.is_empty()
    with told.keeper.database.reading() as connection:
        (written,) = orders.feed(connection, 0, 10).orders
    assert (written.kind, written.site, written.item, written.asked_by) == ("delete", "T1", "/a", f"cycle {done.cycle}")
    assert [block.witness for block in written.blocks] == ["T2", "T2"]
    # What is ordered is as good as gone, and its witness may not go.
    again = planned(told)
    assert again.deletions().is_empty()
    rows = told.keeper.inventory().block_replicas.filter(pl.col("site") == 1)
    assert rows["locked"].to_list() == [True, True]


def test_a_plan_of_an_inventory_that_moved_writes_nothing_unless_told_to_do_the_rest(told: Told) -> None:
    filled(told)
    plan = planned(told)
    told.hear("T1", 2, b1=(FILES - 1, 10), b2=(FILES, 20))
    with pytest.raises(InventoryMoved, match="files or bytes there have changed"):
        order(told.keeper, plan, 900.0)
    with told.keeper.database.reading() as connection:
        assert orders.feed(connection, 0, 10).orders == ()
    # What goes whole or not at all is one decision: nothing of it is left to do.
    done = order(told.keeper, plan, 900.0, holding=True)
    assert (done.written.written, done.left["block"].to_list()) == ([], ["/a#1"])


def test_what_was_locked_since_a_plan_was_made_is_not_deleted_by_it(told: Told, tmp_path: Path) -> None:
    filled(told)
    plan = planned(told)
    (tmp_path / "locks.csv").write_text(f"item,site,until\n/a#2,T1,{int(START_S) + 60}\n")
    producers = producer.configured({"locks": {"files": [str(tmp_path / "locks.csv")]}}, "a test")

    def locks(inventory: Inventory, now_s: float) -> Mapping[str, Column]:
        return producer.collected({VARIABLES["blockreplica.is_locked"]}, producers, producer.Asked(inventory, now_s))

    with pytest.raises(InventoryMoved, match="/a#2 at T1: it is locked now"):
        order(told.keeper, plan, 900.0, attributes_of=locks)
    with told.keeper.writing() as connection:
        (number,) = place(connection, [LockItem("/a")], "jane", told.clock())
    with pytest.raises(InventoryMoved, match="2 blocks are not as the plan has them: /a#1 at T1: it is locked now"):
        order(told.keeper, plan, 900.0)
    with told.keeper.writing() as connection:
        release(connection, [number], "jane", told.clock())
    told.clock.now += 60
    assert order(told.keeper, plan, 900.0, attributes_of=locks).left.is_empty()


def test_what_an_order_reads_since_a_plan_was_made_is_not_deleted_by_it(told: Told) -> None:
    filled(told)
    plan = planned(told)
    with told.keeper.writing() as connection:
        copies = wishes.wished(told.keeper.inventory(), [WishItem("copy", "/a#1", "T3")], told.clock(), 900.0)
        (number,) = orders.write(connection, copies, asked_by="jane", now=told.clock()).written
    with pytest.raises(InventoryMoved, match="/a#1 at T1: an open copy reads it now"):
        order(told.keeper, plan, 900.0)
    told.report(OrderReport(number, "failed"))
    assert order(told.keeper, plan, 900.0).left.is_empty()


def test_what_has_become_the_last_copy_by_another_plan_is_not_deleted_by_this_one(told: Told) -> None:
    filled(told)
    plan, other = planned(told), planned(told, POLICY.replace("T1", "T2"))
    order(told.keeper, other, 900.0)
    with pytest.raises(InventoryMoved, match="/a#1 at T1: it is locked now"):
        order(told.keeper, plan, 900.0)


def test_a_plan_that_was_cut_short_is_ordered_only_when_it_is_meant(told: Told) -> None:
    filled(told)
    plan = planned(told, max_fraction_of_site=0.5)
    with pytest.raises(PlanExcessive):
        order(told.keeper, plan, 900.0)
    order(told.keeper, plan, 900.0, yes_really=True)


def test_an_old_plan_is_not_ordered(told: Told) -> None:
    filled(told)
    plan = planned(told, max_plan_age_s=60.0)
    told.clock.now = START_S + 61
    with pytest.raises(PlanOutdated, match="61 s old"):
        order(told.keeper, plan, 900.0)


def test_run_and_apply_order_from_the_command_line(told: Told, tmp_path: Path) -> None:
    told.clock.now = time.time()
    filled(told)
    told.keeper.save()
    (tmp_path / "policy").write_text(POLICY)
    (tmp_path / "config").write_text("[detox]\nmax_fraction_of_site = 1.0\n")
    common = ["--policy", tmp_path / "policy", "--config", tmp_path / "config", "--database", told.url]
    assert run("plan", *common, "-o", tmp_path / "plan").exit_code == 0
    done = run("apply", tmp_path / "plan", "--database", told.url, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["orders"]) == 1
    done = run("run", *common)
    assert done.exit_code == 0, done.output
    assert "0 orders written" in done.stdout
    assert run("apply", tmp_path / "plan", "--database", told.url).exit_code == 1
