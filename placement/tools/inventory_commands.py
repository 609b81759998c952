"""`reploc placement inventory`: shows it, pulls it, and takes it out as Parquet and in again."""

from __future__ import annotations

from pathlib import Path

import click

from placement import bulk, parquet
from placement.client import PlacementClient
from placement.settings import PlacementSettings
from placement.tools import workbench
from placement.tools.asking import asked, show, url_option
from placement.tools.workbench import database_option, settings_option
from reploc import config
from reploc.commands import terminal
from reploc.commands.options import json_option
from reploc.commands.terminal import EXIT_STATUSES, Exit, shown_age, shown_bytes


@click.group()
def inventory() -> None:
    """The inventory: what is where."""


@inventory.command("show", epilog=EXIT_STATUSES)
@url_option
@json_option
def show_inventory(url: str | None, as_json: bool) -> None:
    """Shows each site: how old its news is, and what it holds, now and once all orders are done."""
    told = asked(url, PlacementClient.inventory)
    rows = [
        [
            each.name,
            each.status,
            each.storage,
            shown_age(each.age_s) if each.complete or each.age_s is None else f"{shown_age(each.age_s)}, incomplete",
            str(each.dataset_replicas),
            str(each.block_replicas),
            shown_bytes(each.bytes),
            shown_bytes(each.projected_bytes),
        ]
        for each in told.sites
    ]
    columns = ("SITE", "STATUS", "STORAGE", ">NEWS", ">DATASETS", ">BLOCKS", ">HOLDS", ">PROJECTED")
    show(told, columns, rows, as_json=as_json, empty="no sites")
    if not as_json:
        counts = f"{told.datasets:,} datasets, {told.blocks:,} blocks, {told.block_replicas:,} block replicas"
        terminal.note(f"inventory {told.version}: {counts}, {shown_bytes(told.bytes)}")


@inventory.command("pull", epilog=EXIT_STATUSES)
@url_option
@json_option
def pull(url: str | None, as_json: bool) -> None:
    """Makes the service ask the index now what changed."""
    told = asked(url, PlacementClient.pull)
    if as_json:
        terminal.say_json(told)
    else:
        terminal.say(f"read the news of {len(told.changed)} sites anew in {told.seconds:.1f} s")
        for site in told.missing:
            terminal.note(f"no news of {site}")
    if told.missing:
        click.get_current_context().exit(Exit.INCOMPLETE)


@inventory.command("export", epilog=EXIT_STATUSES)
@click.argument("folder", type=click.Path(path_type=Path))
@settings_option
@database_option
def export(folder: Path, path: Path | None, url: str | None) -> None:
    """Writes the inventory into a FOLDER of Parquet files, as the database has it: sites as they were last saved."""
    with workbench.keeper(config.load(PlacementSettings, path, database=url)) as keeper:
        made = keeper.inventory()
        parquet.export(made, folder)
    terminal.say(f"wrote inventory {made.version}: {made.block_replicas.height:,} block replicas")


@inventory.command("import", epilog=EXIT_STATUSES)
@click.argument("folder", type=click.Path(path_type=Path))
@settings_option
@database_option
def import_inventory(folder: Path, path: Path | None, url: str | None) -> None:
    """Defines the groups, partitions, quotas, datasets, blocks and owners of a FOLDER of Parquet files.

    The sites must be defined already. What is where is not taken over: that is for the catalogs to say.
    """
    made = parquet.read(folder)
    with (
        workbench.keeper(config.load(PlacementSettings, path, database=url)) as keeper,
        terminal.progress("datasets", made.datasets.height) as bar,
    ):
        changed = bulk.define(keeper, made, bar.advance)
    terminal.say(f"{changed:,} datasets changed, of {made.datasets.height:,}")
