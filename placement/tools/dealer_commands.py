"""`reploc placement dealer`: plans copies, explains and compares plans, and orders."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from placement import cycle
from placement.attributes.producer import Asked, collected
from placement.attributes.producer import configured as configured_producers
from placement.dealer import explanation, ordering, planning, plots
from placement.dealer import plan as plans
from placement.dealer.archive import DatabaseArchive
from placement.dealer.explanation import Explanation
from placement.dealer.plan import Plan, PlanHeader
from placement.dealer.plugin import Archive, Scene, configured, needed
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.settings import PlacementSettings
from placement.tools import workbench
from placement.tools.workbench import (
    FILE,
    database_option,
    holding_option,
    inventory_option,
    out_option,
    plot_option,
    run_options,
    settings_option,
)
from reploc import config
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, json_option
from reploc.commands.terminal import shown_bytes
from reploc.errors import ConfigInvalid

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = """\b
Exit status:
  0  done
  1  refused: no fresh news of a site, a plan that does not hold, or an unknown name
  2  the command line, the settings or a file are wrong
  4  a plugin or producer failed, or the database cannot be used
"""
#: A seed that nobody chose is below this: it is to be read, and typed again.
SEEDS = 10**9


def _run_options(function: F) -> F:
    seed = "What chance begins with, to repeat a plan; else drawn."
    return click.option("--seed", type=click.IntRange(0), metavar="N", help=seed)(run_options(function))


class _Prepared:
    """Settings, plugins and producers, ready for any inventory."""

    def __init__(self, path: Path | None, url: str | None, at: str | None, *, partial: bool, seed: int | None) -> None:
        self.settings = config.load(PlacementSettings, path, database=url)
        where = str(path or "the settings")
        self.plugins = configured(self.settings.dealer.plugins, where)
        if not self.plugins:
            raise ConfigInvalid(f"{where}: no plugin of the dealer is configured", hint="add [dealer.plugins.NAME]")
        self._producers = configured_producers(self.settings.attributes, where)
        self._at, self._partial = at, partial
        self.seed = secrets.randbelow(SEEDS) if seed is None else seed

    def scene(self, inventory: Inventory, archive: Archive) -> Scene:
        """The scene of an inventory, at the clock. Raises NewsMissing."""
        now_s = workbench.clock(self._at)
        absent = cycle.left_out(inventory, now_s, self.settings.max_observation_age, partial=self._partial)
        return self.scene_at(inventory, now_s, absent, archive)

    def scene_at(self, inventory: Inventory, now_s: float, absent: frozenset[str], archive: Archive) -> Scene:
        """The scene of an inventory at a moment, without some sites."""
        attributes = collected(needed(self.plugins), self._producers, Asked(inventory, now_s))
        return Scene(inventory, now_s, self.settings.dealer, absent, attributes, archive)

    def scene_of(self, folder: Path | None) -> Scene:
        """The scene of the database's inventory, or of an exported one: then a plugin may still ask the database."""
        return self.scene(
            workbench.inventory(self.settings, folder), DatabaseArchive(partial(workbench.keeper, self.settings))
        )

    def decider(self, keeper: Keeper) -> ordering.Dealer:
        """What decides in a cycle over a database."""
        archive = DatabaseArchive(lambda: nullcontext(keeper))
        return ordering.Dealer(
            self.settings.dealer,
            self.plugins,
            self.seed,
            lambda inventory, now_s, absent: self.scene_at(inventory, now_s, absent, archive),
        )


@click.group("dealer", cls=CommandGroup)
def dealer() -> None:
    """Copies by demand and by rule: what would be copied where and why, and the orders for it."""


@dealer.command("plan", epilog=STATUSES)
@_run_options
@inventory_option
@out_option
@plot_option
@json_option
def plan_command(
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    seed: int | None,
    folder: Path | None,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Decides what would be copied, and changes nothing."""
    prepared = _Prepared(path, url, at, partial=partial, seed=seed)
    made = planning.make(prepared.scene_of(folder), prepared.plugins, prepared.seed)
    _show(made, out, plot, as_json=as_json)


@dealer.command("run", epilog=STATUSES)
@_run_options
@out_option
@plot_option
@json_option
def run_command(
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    seed: int | None,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Plans and orders: decides what is copied where, and writes the orders for it."""
    workbench.require_now(at)
    prepared = _Prepared(path, url, at, partial=partial, seed=seed)
    with workbench.keeper(prepared.settings) as keeper:
        decider = prepared.decider(keeper)
        done = cycle.run(keeper, decider, prepared.settings.max_observation_age, partial=partial)
    assert decider.plan is not None
    _show(decider.plan, out, plot, as_json=as_json)
    workbench.say_done(done, as_json=as_json)


@dealer.command("apply", epilog=STATUSES)
@click.argument("file", type=FILE, metavar="PLAN")
@settings_option
@database_option
@holding_option
@json_option
def apply_command(file: Path, path: Path | None, url: str | None, holding: bool, as_json: bool) -> None:
    """Writes the orders of a plan, if everything is still as the plan has it."""
    settings = config.load(PlacementSettings, path, database=url)
    made = plans.read(file)
    with workbench.keeper(settings) as keeper:
        done = ordering.order(keeper, made, settings.max_observation_age, holding=holding)
    workbench.say_ordered(done, as_json=as_json)


@dealer.command("explain", epilog=STATUSES)
@click.argument("item", metavar="ITEM")
@_run_options
@inventory_option
@json_option
def explain_command(
    item: str,
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    seed: int | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Shows who proposes copies of a dataset or block, and why each site may get one or not."""
    prepared = _Prepared(path, url, at, partial=partial, seed=seed)
    told = explanation.explain(prepared.scene_of(folder), prepared.plugins, item)
    if as_json:
        terminal.say_json(told)
    else:
        _say_explanation(told)


@dealer.command("diff", epilog=STATUSES)
@click.argument("old", type=FILE, metavar="PLAN")
@click.argument("new", type=FILE, metavar="PLAN")
@json_option
def diff_command(old: Path, new: Path, as_json: bool) -> None:
    """Shows what only one of two plans does, such as those of old settings and new ones with one seed."""
    found = plans.differing(plans.read(old), plans.read(new))
    workbench.say_differing(
        found,
        DiffReport,
        ("site", "dataset", "", ">first plan", ">second plan"),
        lambda row: (row["site"], row["dataset"], row["decision"], shown_bytes(row["old"]), shown_bytes(row["new"])),
        as_json=as_json,
    )


class DiffReport(Struct, frozen=True):
    """What two plans do differently with a dataset at a site, in bytes, as `--json` prints it."""

    site: str
    dataset: str
    decision: str
    old: int
    new: int


class PlanReport(Struct, frozen=True):
    """A plan, as `--json` prints it: its header, what became of every proposal, and every block that goes somewhere."""

    header: PlanHeader
    decisions: list[dict[str, Any]]
    blocks: list[dict[str, Any]]


def _show(made: Plan, out: Path | None, plot: Path | None, *, as_json: bool) -> None:
    workbench.keep(made, out, plot, plots.of_plan)
    if as_json:
        terminal.say_json(PlanReport(made.header, made.decisions.to_dicts(), made.blocks.to_dicts()))
        return
    terminal.table(_SITES, _site_rows(made))
    terminal.table(_PLUGINS, _plugin_rows(made))
    terminal.note(f"seed {made.header.seed}")
    for plugin in made.header.plugins:
        for reason, count in plugin.rejected.items():
            terminal.note(f"{plugin.plugin}: {count:,} rejected: {reason}")
    workbench.note_left_out(made.header.left_out)


_SITES = ("site", "", ">quota", ">before", ">pending", ">copies", ">copied", ">handed over", ">after")
_PLUGINS = ("plugin", ">priority", ">proposals", ">copies", ">copied", ">handed over", ">rejected")


def _site_rows(made: Plan) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for site in made.header.sites:
        before, after = workbench.share(site.before, site.quota), workbench.share(site.after, site.quota)
        counts = (f"{site.copies:,}", shown_bytes(site.copied), f"{site.handed_over:,}")
        quota = workbench.shown_quota(site.quota)
        rows.append((site.site, site.standing, quota, before, shown_bytes(site.pending), *counts, after))
    return rows


def _plugin_rows(made: Plan) -> list[tuple[str, ...]]:
    return [
        (
            each.plugin,
            str(each.priority),
            f"{each.proposals:,}",
            f"{each.copies:,}",
            shown_bytes(each.copied),
            f"{each.handed_over:,}",
            f"{sum(each.rejected.values()):,}",
        )
        for each in made.header.plugins
    ]


def _say_explanation(told: Explanation) -> None:
    terminal.say(f"{told.item}: {told.blocks} blocks with files, {shown_bytes(told.bytes)}; {told.said}")
    for wish in told.proposals:
        terminal.say(f"{wish.plugin} proposes {wish.copies} copies: {wish.why}")
    if not told.proposals:
        terminal.say("no plugin proposes a copy")
    terminal.table(
        ("site", "", ">lacking"), [(site.site, site.reason, shown_bytes(site.lacking)) for site in told.sites]
    )
