"""`reploc placement dealer`: plans, orders, explanations and comparisons, as a person runs them, and the refusals."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dealing import NOW, Said, scene, world
from stores import FILES, START_S, Told

from placement import cycle, history, orders, parquet
from placement.dealer import ordering, planning
from placement.dealer.archive import DatabaseArchive
from placement.dealer.plan import Plan
from placement.dealer.plugin import Scene
from placement.dealer.proposal import Proposal
from placement.dealer.settings import DealerSettings
from placement.inventory import Inventory
from placement.messages import CyclesQuery
from reploc.cli import cli
from reploc.errors import InventoryMoved, NewsMissing, PlanOutdated, ProducerFailed

AT = "2018-03-02 14:13:20"
NAMES = [f"/{number}" for number in range(6)]


def run(*words: Any) -> Result:
    return CliRunner().invoke(cli, ["placement", "dealer", *map(str, words)])


def settings(folder: Path, more: str = "") -> None:
    (folder / "config").write_text(
        f'[attributes.popularity]\nrecords = "{folder / "accesses.csv"}"\n[dealer]\npartition = "P"\n{more}'
        "[dealer.plugins.popularity]\npriority = 2\nthreshold = 1\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An exported inventory of six datasets at one of three sites, two of which are read much, and settings."""
    parquet.export(world([*"ABC"], NAMES, [{"block": name, "site": "A"} for name in NAMES]), tmp_path / "inventory")
    rows = "".join(f"{name},{int(NOW)},{count}\n" for name, count in (("/0", 3), ("/1", 2)))
    (tmp_path / "accesses.csv").write_text(f"dataset,at,accesses\n{rows}")
    settings(tmp_path, "max_site_pending_fraction = 0.5\n")
    return tmp_path


def options(folder: Path) -> list[Any]:
    return ["--inventory", folder / "inventory", "--at", AT, "--config", folder / "config"]


def test_a_plan_is_tables_a_file_and_a_picture(folder: Path) -> None:
    done = run("plan", *options(folder), "--seed", 4, "-o", folder / "plan", "--plot", folder / "plan.html")
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["A", "B", "C", "popularity"]
    assert rows[-1][:4] == ["popularity", "2", "3", "3"]
    assert "seed 4" in done.stderr
    assert "Plotly.newPlot" in (folder / "plan.html").read_text()
    run("plan", *options(folder), "--seed", 4, "-o", folder / "again")
    assert (folder / "plan").read_bytes() == (folder / "again").read_bytes()
    run("plan", *options(folder), "--seed", 4, "--plot", folder / "plan.svg")
    assert (folder / "plan.svg").stat().st_size > 1_000


def test_a_plan_in_json_has_every_proposal_and_block(folder: Path) -> None:
    report = json.loads(run("plan", *options(folder), "--json").stdout)
    assert [row["decision"] for row in report["decisions"]] == ["copy"] * 3
    assert {(row["block"], row["site"]) for row in report["blocks"]} >= {("/0", "B"), ("/0", "C")}
    assert report["header"]["settings"]["partition"] == "P"


def test_two_plans_differ_where_their_settings_do(folder: Path) -> None:
    run("plan", *options(folder), "--seed", 1, "-o", folder / "one")
    settings(folder, 'target_sites = ["*", "!C"]\nmax_site_pending_fraction = 0.5\n')
    run("plan", *options(folder), "--seed", 1, "-o", folder / "two")
    rows = [json.loads(line) for line in run("diff", folder / "one", folder / "two", "--json").stdout.splitlines()]
    assert ("C", "/0", "copy", 1_000, 0) in [tuple(row.values()) for row in rows]
    assert run("diff", folder / "one", folder / "one").stdout == ""
    assert run("diff", folder / "one", folder / "config").exit_code == 2


def test_an_explanation_says_who_proposes_and_why_sites_take_none(folder: Path) -> None:
    done = run("explain", "/0", *options(folder))
    assert done.exit_code == 0, done.output
    assert "popularity proposes 2 copies: weight 3.00" in done.stdout
    assert "A\tall of it is there or on its way" in done.stdout
    assert json.loads(run("explain", "/5", *options(folder), "--json").stdout)["proposals"] == []
    assert run("explain", "/nothing", *options(folder)).exit_code == 1


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


def test_wrong_settings_end_with_a_reason(folder: Path) -> None:
    for text, said in (
        ("", "no plugin of the dealer is configured"),
        ("[dealer.plugins.popularty]\n", "did you mean 'popularity'"),
        ("[dealer.plugins.popularity]\nthreshold = 0\n", "dealer.plugins.popularity"),
        ("[dealer.plugins.enforcer]\n", "rules is empty"),
        ('[dealer]\npartition = "P"\n[dealer.plugins.popularity]\n', "no configured producer supplies"),
    ):
        (folder / "config").write_text(text)
        done = run("plan", *options(folder))
        assert (done.exit_code, said in done.output) == (2, True), done.output
    settings(folder, 'group = "nobody"\n')
    assert "group 'nobody' is not defined" in run("plan", *options(folder)).output
    assert run("run", "--config", folder / "config", "--at", AT).exit_code == 2


# ---- orders ----------------------------------------------------------------------------------------------------------


def filled(told: Told) -> None:
    """Both blocks of /a at T1 and the first at T2, heard; a partition P of everything, with quotas."""
    told.define()
    told.partition(1_000)
    told.hear("T1", 1, b1=(FILES, 20), b2=(FILES, 20))
    told.hear("T2", 1, b1=(FILES, 20))
    told.hear("T3", 1)


AT_T2 = Proposal(0, None, (1,), "physics")
PLUGINS = {"said": (1, Said(AT_T2))}


def planned(told: Told, **changes: Any) -> Plan:
    made = scene(told.keeper.inventory(), **changes)
    shown = Scene(made.inventory, told.clock(), made.settings, made.left_out, {}, made.archive)
    return planning.make(shown, PLUGINS, 1)


def dealer(told: Told, plugins: Any = PLUGINS) -> ordering.Dealer:
    held = DealerSettings(partition="P", max_site_pending_fraction=1.0)

    def scene_of(inventory: Inventory, now: float, left_out: frozenset[str]) -> Scene:
        return Scene(inventory, now, held, left_out, {}, DatabaseArchive(lambda: nullcontext(told.keeper)))

    return ordering.Dealer(held, plugins, 7, scene_of)


def feed(told: Told) -> list[Any]:
    with told.keeper.database.reading() as connection:
        return list(orders.feed(connection, 0, 10).orders)


def test_a_plan_becomes_a_copy_of_what_lacks_with_its_sources_and_an_owner(told: Told) -> None:
    filled(told)
    done = ordering.order(told.keeper, planned(told), 900.0)
    (written,) = feed(told)
    assert (written.kind, written.site, written.item, written.group) == ("copy", "T2", "/a", "physics")
    assert [(block.name, block.sources) for block in written.blocks] == [("/a#2", ("T1",))]
    assert written.asked_by == f"cycle {done.cycle}"
    # What is ordered is as good as there.
    assert planned(told).decisions["decision"].to_list() != ["copy"]


def test_a_cycle_is_kept_with_its_settings_seed_totals_and_decisions(told: Told) -> None:
    filled(told)
    done = cycle.run(told.keeper, dealer(told), 900.0)
    with told.keeper.database.reading() as connection:
        (kept,) = history.page(connection, CyclesQuery(kind="dealer")).cycles
        decided = history.decisions(connection, done.number).decisions
    assert (kept.outcome, kept.seed, kept.totals["copies"], kept.totals["copied_bytes"]) == ("done", 7, 1, 20)
    assert json.loads(kept.policy)["partition"] == "P"
    assert len(decided) > 0
    assert len(feed(told)) == 1
    # A second cycle finds nothing to copy, and hands over what the first had only ordered.
    cycle.run(told.keeper, dealer(told), 900.0)
    assert len(feed(told)) == 1


def test_what_is_handed_over_changes_its_owner_and_orders_nothing(told: Told) -> None:
    filled(told)
    given = {"said": (1, Said(Proposal(0, None, (0,), "ops")))}
    done = cycle.run(told.keeper, dealer(told, given), 900.0)
    assert (done.written.handed_over, done.written.written) == (1, [])
    groups = told.keeper.inventory().groups["name"]
    assert {groups[group] for _, site, group in told.rows("group") if site == "T1"} == {"ops"}


def test_a_plan_of_an_inventory_that_moved_writes_nothing_unless_told_to_do_the_rest(told: Told) -> None:
    filled(told)
    plan = planned(told)
    told.hear("T2", 2, b1=(FILES, 20), b2=(FILES, 20))
    with pytest.raises(InventoryMoved, match=r"/a#2 at T2: it is there now, or on its way"):
        ordering.order(told.keeper, plan, 900.0)
    assert feed(told) == []
    done = ordering.order(told.keeper, plan, 900.0, holding=True)
    assert (done.written.written, done.left["block"].to_list()) == ([], ["/a#2"])


def test_an_old_plan_is_not_ordered(told: Told) -> None:
    filled(told)
    plan = planned(told, max_plan_age_s=60.0)
    told.clock.now = START_S + 61
    with pytest.raises(PlanOutdated, match="61 s old"):
        ordering.order(told.keeper, plan, 900.0)
    assert feed(told) == []


def test_a_silent_site_stops_a_cycle_and_a_plan_to_it_does_not_hold(told: Told) -> None:
    filled(told)
    plan = planned(told)
    told.clock.now = START_S + 1_000
    told.renew("T1", 1)
    told.renew("T3", 1)
    with pytest.raises(NewsMissing, match="T2"):
        cycle.run(told.keeper, dealer(told), 900.0)
    with pytest.raises(InventoryMoved, match="the site takes no copies now"):
        ordering.order(told.keeper, plan, 900.0)
    done = cycle.run(told.keeper, dealer(told), 900.0, partial=True)
    assert (done.left_out, feed(told)) == (("T2",), [])


class Broken(Said):
    def propose(self, scene: Scene) -> Any:
        raise OSError("the popularity service is away")


def test_a_plugin_that_fails_orders_nothing_and_is_on_record(told: Told) -> None:
    filled(told)
    with pytest.raises(ProducerFailed, match="the popularity service is away"):
        cycle.run(told.keeper, dealer(told, PLUGINS | {"broken": (1, Broken())}), 900.0)
    assert feed(told) == []
    with told.keeper.database.reading() as connection:
        (kept,) = history.page(connection, CyclesQuery(kind="dealer")).cycles
    assert kept.outcome == "failed"


def test_run_and_apply_order_from_the_command_line(told: Told, tmp_path: Path) -> None:
    told.clock.now = time.time()
    filled(told)
    told.keeper.save()
    (tmp_path / "accesses.csv").write_text(f"dataset,at,accesses\n/a,{int(told.clock.now)},2\n")
    settings(tmp_path, "max_site_pending_fraction = 1.0\n")
    common = ["--config", tmp_path / "config", "--database", told.url]
    done = run("plan", *common, "-o", tmp_path / "plan")
    assert done.exit_code == 0, done.output
    done = run("apply", tmp_path / "plan", "--database", told.url, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["orders"]) == 1
    done = run("run", *common)
    assert done.exit_code == 0, done.output
    assert "0 orders written" in done.stdout
    assert run("apply", tmp_path / "plan", "--database", told.url).exit_code == 1
