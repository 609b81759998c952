"""`reploc lrc upgrade`: a store of an older layout version becomes one of today's."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec import Struct

from lrc.catalog import Catalog
from lrc.upgrade import upgrade
from reploc.commands import terminal
from reploc.commands.options import json_option

EXIT_STATUSES = """\b
Exit status:
  0  the store has the layout version of this reploc
  2  the command line is wrong
  4  the store cannot be upgraded: it is newer, in use or no store, or the disk is full
"""


class Upgrade(Struct, frozen=True):
    """What was upgraded: from one layout version to another, which are the same where there was nothing to do."""

    site: str
    before: int
    after: int
    lfns: int
    mappings: int


@click.command("upgrade", epilog=EXIT_STATUSES)
@click.option(
    "--store", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="The store."
)
@click.option(
    "--backup", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where a copy goes before."
)
@json_option
def upgrade_command(store: Path, backup: Path | None, as_json: bool) -> None:
    """Upgrades a store that an older reploc made, while no daemon has it open.

    It may be interrupted at any moment and begun again: every step from one layout version to the next is done whole or
    not at all, and nothing that the catalog holds is lost. The store cannot be opened by the older reploc afterwards;
    a copy made with --backup can.
    """
    done = upgrade(store, backup.absolute() if backup else None)
    with Catalog.open(store, read_only=True) as catalog:
        state = catalog.state()
    told = Upgrade(state.site, done.before, done.after, state.lfns, state.mappings)
    if as_json:
        terminal.say_json(told)
        return
    held = f"{told.lfns:,} LFNs, {told.mappings:,} mappings"
    step = f"went from layout version {told.before} to" if told.before != told.after else "has layout version"
    terminal.say(f"the catalog of {told.site} {step} {told.after}: {held}")
