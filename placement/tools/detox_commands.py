"""`reploc placement detox`: plans deletions, explains and compares them, tries policies over time, and orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from placement import cycle
from placement.attributes.producer import Asked, collected, configured
from placement.detox import explanation, ordering, planning, plots, simulation
from placement.detox import plan as plans
from placement.detox.explanation import Explanation
from placement.detox.plan import Plan, PlanHeader
from placement.detox.planning import Run
from placement.detox.simulation import Course, Step
from placement.inventory import Inventory
from placement.pictures import draw
from placement.policy import parser
from placement.policy.bits import Column
from placement.policy.values import ValueUnfit, value_of
from placement.policy.variables import VARIABLES
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
  1  refused: no fresh news of a site, a plan that does not hold or asks for too much, or an unknown name
  2  the command line, the settings, the policy or a file are wrong
  4  a producer failed, or the database cannot be used
"""

_LOCKED = VARIABLES["blockreplica.is_locked"]


# ---- options ---------------------------------------------------------------------------------------------------------


def _run_options(function: F) -> F:
    for option in (
        click.option("--policy", "policy", required=True, type=FILE, metavar="FILE", help="The policy to go by."),
        run_options,
        click.option(
            "--yes-really", is_flag=True, help="A site may lose more in a cycle than max_fraction_of_site allows."
        ),
    ):
        function = option(function)
    return function


class _Prepared:
    """A policy, settings and producers, ready for any inventory."""

    def __init__(
        self, policy: Path, path: Path | None, url: str | None, at: str | None, *, partial: bool, yes_really: bool
    ) -> None:
        self.settings = config.load(PlacementSettings, path, database=url)
        self.text = parser.read_text(policy)
        self.policy = parser.parse(self.text, str(policy)).checked()
        self._file = str(policy)
        self._producers = configured(self.settings.attributes, str(path or "the settings"))
        self.partial, self._yes_really = partial, yes_really
        self._at = at

    def attributes(self, inventory: Inventory, now_s: float) -> Mapping[str, Column]:
        """What producers give; whether a block is locked is always asked, since what is locked never goes."""
        return collected(self.policy.variables() | {_LOCKED}, self._producers, Asked(inventory, now_s))

    def run(self, inventory: Inventory) -> Run:
        """The run on an inventory, at the clock. Raises NewsMissing."""
        now_s = workbench.clock(self._at)
        absent = cycle.left_out(inventory, now_s, self.settings.max_observation_age, partial=self.partial)
        return self.run_at(inventory, now_s, absent)

    def run_at(self, inventory: Inventory, now_s: float, absent: frozenset[str]) -> Run:
        """The run on an inventory at a moment, without some sites."""
        attributes = self.attributes(inventory, now_s)
        detox = self.settings.detox
        return Run(self.policy, self.text, self._file, detox, now_s, attributes, absent, self._yes_really)


@click.group("detox", cls=CommandGroup)
def detox() -> None:
    """Deletion by policy: what would go and why, and the orders that make it go."""


# ---- plans -----------------------------------------------------------------------------------------------------------


@detox.command("plan", epilog=STATUSES)
@_run_options
@inventory_option
@out_option
@plot_option
@json_option
def plan_command(
    policy: Path,
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    yes_really: bool,
    folder: Path | None,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Decides what would go, and changes nothing."""
    prepared = _Prepared(policy, path, url, at, partial=partial, yes_really=yes_really)
    inventory = workbench.inventory(prepared.settings, folder)
    made = planning.make(inventory, prepared.run(inventory))
    _show(made, out, plot, as_json=as_json)


@detox.command("run", epilog=STATUSES)
@_run_options
@out_option
@plot_option
@json_option
def run_command(
    policy: Path,
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    yes_really: bool,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Plans and orders: decides what goes, and writes the orders for it."""
    workbench.require_now(at)
    prepared = _Prepared(policy, path, url, at, partial=partial, yes_really=yes_really)
    decider = ordering.Detox(prepared.text, prepared.run_at)
    with workbench.keeper(prepared.settings) as keeper:
        try:
            done = cycle.run(keeper, decider, prepared.settings.max_observation_age, partial=partial)
        finally:
            # What a plan that is too much would have done is what a person wants to see.
            if decider.plan is not None:
                _show(decider.plan, out, plot, as_json=as_json)
    workbench.say_done(done, as_json=as_json)


@detox.command("apply", epilog=STATUSES)
@click.argument("file", type=FILE, metavar="PLAN")
@settings_option
@database_option
@holding_option
@click.option("--yes-really", is_flag=True, help="Do a plan that max_fraction_of_site cut short.")
@json_option
def apply_command(
    file: Path, path: Path | None, url: str | None, holding: bool, yes_really: bool, as_json: bool
) -> None:
    """Writes the orders of a plan, if everything is still as the plan has it."""
    settings = config.load(PlacementSettings, path, database=url)
    producers = configured(settings.attributes, str(path or "the settings"))
    made = plans.read(file)
    with workbench.keeper(settings) as keeper:
        done = ordering.order(
            keeper,
            made,
            settings.max_observation_age,
            attributes_of=lambda inventory, now_s: collected({_LOCKED}, producers, Asked(inventory, now_s)),
            holding=holding,
            yes_really=yes_really,
        )
    workbench.say_ordered(done, as_json=as_json)


class PlanReport(Struct, frozen=True):
    """A plan, as `--json` prints it: its header, and every deletion and change of owner, block by block."""

    header: PlanHeader
    blocks: list[dict[str, Any]]


def _show(made: Plan, out: Path | None, plot: Path | None, *, as_json: bool) -> None:
    workbench.keep(made, out, plot, plots.of_plan)
    if as_json:
        terminal.say_json(PlanReport(made.header, made.blocks.to_dicts()))
        return
    terminal.table(_COLUMNS, _site_rows(made))
    for note in made.header.notes:
        terminal.note(note)
    workbench.note_left_out(made.header.left_out)
    if made.header.over:
        terminal.note(f"cut short by max_fraction_of_site: {', '.join(made.header.over)}")


_COLUMNS = ("site", "", ">quota", ">before", ">protected", ">kept", ">candidates", ">deleted", ">vetoed", ">after")


def _site_rows(made: Plan) -> list[tuple[str, ...]]:
    rows = []
    for site in made.header.sites:
        state = "unreleased" if site.unreleased else "triggered" if site.triggered else ""
        sizes = (site.protected, site.kept, site.candidates, site.deleted, site.vetoed)
        before, after = workbench.share(site.before, site.quota), workbench.share(site.after, site.quota)
        rows.append((site.site, state, workbench.shown_quota(site.quota), before, *map(shown_bytes, sizes), after))
    return rows


@detox.command("diff", epilog=STATUSES)
@click.argument("old", type=FILE, metavar="PLAN")
@click.argument("new", type=FILE, metavar="PLAN")
@json_option
def diff_command(old: Path, new: Path, as_json: bool) -> None:
    """Shows where two plans decide otherwise, such as those of an old policy and a new one."""
    found = plans.differing(plans.read(old), plans.read(new))
    workbench.say_differing(
        found,
        DiffReport,
        ("site", "dataset", "first plan", "second plan", ">bytes"),
        lambda row: (row["site"], row["dataset"], row["old"], row["new"], shown_bytes(row["bytes"])),
        as_json=as_json,
    )


class DiffReport(Struct, frozen=True):
    """A dataset replica on which two plans decide otherwise, as `--json` prints it."""

    site: str
    dataset: str
    old: str
    new: str
    bytes: int


# ---- explanations ----------------------------------------------------------------------------------------------------


@detox.command("explain", epilog=STATUSES)
@click.argument("replica", metavar="SITE:DATASET")
@_run_options
@inventory_option
@json_option
def explain_command(
    replica: str,
    policy: Path,
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    yes_really: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Shows line by line how a policy looks at one dataset replica, with values, and what becomes of it."""
    site, _, dataset = replica.partition(":")
    if not site or not dataset:
        raise ConfigInvalid(f"{replica!r} is no dataset replica; expected SITE:DATASET")
    prepared = _Prepared(policy, path, url, at, partial=partial, yes_really=yes_really)
    inventory = workbench.inventory(prepared.settings, folder)
    run = prepared.run(inventory)
    begun, _ = planning.begun(inventory, run)
    told = explanation.explain(begun, site, dataset, run.now_s)
    if as_json:
        terminal.say_json(told)
    else:
        _say_explanation(told)


def _say_explanation(told: Explanation) -> None:
    state = "triggered" if told.triggered else "not triggered"
    terminal.say(f"{told.dataset} at {told.site} ({state}): {told.blocks} blocks, {shown_bytes(told.bytes)}")
    for line in told.lines:
        terminal.say(f"{line.line:>5}  {line.text}")
        terminal.say(f"       {line.outcome}")
        for each in line.predicates:
            terminal.say(f"         {'yes' if each.holds else 'no '}  {each.predicate}  ({each.saw})")
    for sentence in told.outcome:
        terminal.say(sentence)


# ---- simulations -----------------------------------------------------------------------------------------------------


@detox.command("simulate", epilog=STATUSES)
@_run_options
@inventory_option
@click.option("--cycles", type=click.IntRange(1, 10_000), default=30, show_default=True, help="How many cycles.")
@click.option("--every", "every_h", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True,
              metavar="HOURS", help="Hours between cycles.")  # fmt: skip
@click.option("--growth", default="0", show_default=True, metavar="SIZE", help="What arrives in a day, such as 50TB.")
@click.option("--seed", type=int, default=1, show_default=True, help="What chance begins with.")
@plot_option
@json_option
def simulate_command(
    policy: Path,
    path: Path | None,
    url: str | None,
    at: str | None,
    partial: bool,
    yes_really: bool,
    folder: Path | None,
    cycles: int,
    every_h: float,
    growth: str,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Runs many cycles in memory against growing data, and shows how full the sites become."""
    prepared = _Prepared(policy, path, url, at, partial=partial, yes_really=yes_really)
    course = Course(cycles, every_h * 3_600, _size(growth), seed)
    inventory = workbench.inventory(prepared.settings, folder)
    run = prepared.run(inventory)
    steps: list[Step] = []
    with terminal.progress("cycles", cycles) as bar:
        for step in simulation.simulate(inventory, run, course, prepared.attributes):
            steps.append(step)
            bar.advance(1)
    if plot is not None:
        draw(plots.of_simulation(steps, planning.watermarks(run.policy)), plot)
    if as_json:
        for step in steps:
            terminal.say_json(step)
        return
    terminal.table(_STEPS, [_step_row(step) for step in steps])


_STEPS = (">cycle", "at", ">datasets", ">arrived", ">before", ">deleted", ">after", ">protected", ">fullest")


def _step_row(step: Step) -> tuple[str, ...]:
    sites = [site for site in step.sites if site.quota is not None and site.quota > 0]
    quota = sum(site.quota or 0 for site in sites)
    before, after, protected = (sum(getattr(s, name) for s in sites) for name in ("before", "after", "protected"))
    fullest = max((site.after / (site.quota or 1) for site in sites), default=0.0)
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(step.at))
    shares = (
        workbench.share(before, quota),
        shown_bytes(step.deleted),
        workbench.share(after, quota),
        workbench.share(protected, quota),
    )
    return (str(step.cycle), when, f"{step.datasets:,}", shown_bytes(step.arrived), *shares, f"{fullest:.1%}")


def _size(text: str) -> int:
    try:
        found = value_of(VARIABLES["dataset.size"], "==", text)
    except ValueUnfit as wrong:
        raise ConfigInvalid(f"--growth: {wrong.said}; expected {wrong.expected}") from wrong
    assert isinstance(found, float)
    return int(found)
