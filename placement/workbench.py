"""What commands share that work on the service's database themselves: its settings, the inventory, the run's clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from placement import parquet
from placement.database import Database
from placement.inventory import Inventory
from placement.keeper import Keeper
from placement.policy import dates
from placement.settings import PlacementSettings
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
