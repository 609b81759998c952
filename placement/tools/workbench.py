"""What commands share that work on the service's database themselves: settings, inventory, the run's clock, plans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
import polars as pl
from msgspec import Struct

from placement import parquet
from placement.cycle import Outcome
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.pictures import Picture, draw
from placement.plan_files import Ordered
from placement.policy import dates
from placement.settings import PlacementSettings
from reploc.commands import terminal
from reploc.commands.terminal import shown_bytes
from reploc.errors import ConfigInvalid

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False)

settings_option: Callable[[F], F] = click.option(
    "--config", "path", type=FILE, metavar="FILE", help="The service's settings."
)
database_option: Callable[[F], F] = click.option(
    "--database", "url", metavar="URL", help="The service's database, instead of the file's."
)
inventory_option: Callable[[F], F] = click.option(
    "--inventory",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="An exported inventory (Parquet) instead of the database.",
)
at_option: Callable[[F], F] = click.option(
    "--at", "at", metavar="TIME", help="The run's clock instead of now, such as '2026-01-31 12:00'."
)
partial_option: Callable[[F], F] = click.option(
    "--partial", is_flag=True, help="Leave READY sites without fresh news out instead of stopping."
)
plot_option: Callable[[F], F] = click.option(
    "--plot", "plot", type=FILE, metavar="FILE", help="Draw a picture: .html, .svg or .png."
)
out_option: Callable[[F], F] = click.option(
    "-o", "out", type=FILE, metavar="PLAN", help="Write the plan to a file, for apply and diff."
)
holding_option: Callable[[F], F] = click.option(
    "--holding", is_flag=True, help="Do what still holds, and leave what does not."
)


def run_options(function: F) -> F:
    """The options of every command that plans."""
    for option in (settings_option, database_option, at_option, partial_option):
        function = option(function)
    return function


@contextmanager
def keeper(settings: PlacementSettings) -> Iterator[Keeper]:
    """The inventory's keeper, over the database."""
    store = Database(settings.database)
    try:
        yield Keeper(store)
    finally:
        store.close()


def inventory(settings: PlacementSettings, folder: Path | None) -> Inventory:
    """The inventory as the database has it, or as it was when it was exported into a folder."""
    if folder is not None:
        return parquet.read(folder)
    with keeper(settings) as kept:
        return kept.inventory()


def clock(at: str | None) -> float:
    """The run's moment: now, or what `--at` says. Raises ConfigInvalid."""
    now = time.time()
    if at is None:
        return now
    try:
        return dates.moment(at).at(now)
    except dates.DateInvalid as wrong:
        raise ConfigInvalid(f"--at: {wrong}; expected {dates.FORMS}") from wrong


def require_now(at: str | None) -> None:
    """Raises ConfigInvalid: orders were to be written at another moment than now."""
    if at is not None:
        raise ConfigInvalid("--at is for plans that change nothing; orders are written now")


class PlanFile(Protocol):
    """A plan of whatever kind."""

    def encoded(self) -> bytes:
        """Its file's bytes."""


P = TypeVar("P", bound=PlanFile)


def keep(made: P, out: Path | None, plot: Path | None, picture_of: Callable[[P], Picture]) -> None:
    """Writes a plan's file and its picture, where they are wanted."""
    if out is not None:
        out.write_bytes(made.encoded())
    if plot is not None:
        draw(picture_of(made), plot)


def note_left_out(sites: tuple[str, ...]) -> None:
    """Prints which sites a plan leaves out."""
    if sites:
        terminal.note(f"left out, without fresh news: {', '.join(sites)}")


def say_differing(
    found: pl.DataFrame,
    report: type[Struct],
    columns: tuple[str, ...],
    row_of: Callable[[dict[str, Any]], tuple[str, ...]],
    *,
    as_json: bool,
) -> None:
    """Prints where two plans differ, a row each."""
    if as_json:
        for row in found.iter_rows(named=True):
            terminal.say_json(report(**row))
    else:
        terminal.table(columns, [row_of(row) for row in found.iter_rows(named=True)])


class OrdersReport(Struct, frozen=True):
    """What was ordered, as `--json` prints it; `left` are blocks that do not hold any more, with reasons."""

    cycle: int
    orders: list[int]
    joined: list[int]
    cancelled: list[int]
    handed_over: int
    left: list[dict[str, Any]]


def say_ordered(ordered: Ordered, *, as_json: bool) -> None:
    """Prints what came of a plan."""
    written = ordered.written
    left = ordered.left.select("site", "block", "reason").to_dicts() if len(ordered.left) else []
    if as_json:
        terminal.say_json(
            OrdersReport(ordered.cycle, written.written, written.joined, written.cancelled, written.handed_over, left)
        )
        return
    for each in left:
        terminal.say(f"left: {each['block']} at {each['site']}: {each['reason']}")
    terminal.say(f"cycle {ordered.cycle}: {len(written.written)} orders written, {len(written.joined)} joined")


def say_done(done: Outcome, *, as_json: bool) -> None:
    """Prints what came of a cycle."""
    say_ordered(Ordered(done.number, done.written, pl.DataFrame()), as_json=as_json)


def shown_quota(quota: int | None) -> str:
    """A quota: `-` where there is none, and none below zero is a bound."""
    return "-" if quota is None else "unlimited" if quota < 0 else shown_bytes(quota)


def share(size: int, quota: int | None) -> str:
    """A size as a share of a quota, or as it is where that has no bound."""
    return f"{size / quota:.1%}" if quota is not None and quota > 0 else shown_bytes(size)
