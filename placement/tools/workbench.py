"""What commands share that work on the service's database themselves: its settings, the inventory, the run's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from placement import parquet
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
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


def share(size: int, quota: int | None) -> str:
    """A size as a share of a quota, or as it is where that has no bound."""
    return f"{size / quota:.1%}" if quota is not None and quota > 0 else shown_bytes(size)
