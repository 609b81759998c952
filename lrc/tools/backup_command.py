"""`reploc lrc backup`: a copy of a store, made while its daemon serves."""

from __future__ import annotations

import time
from pathlib import Path

import click
from msgspec import Struct

from lrc.catalog import Catalog
from reploc.commands import terminal
from reploc.commands.options import json_option

EXIT_STATUSES = """\b
Exit status:
  0  the copy is whole and on disk
  2  the command line is wrong
  4  the store cannot be read, or the copy cannot be written, or not there
"""


class Backup(Struct, frozen=True):
    """What was copied: the catalog as it stood at `position`."""

    site: str
    position: int
    lfns: int
    mappings: int
    bytes: int
    seconds: float


@click.command(epilog=EXIT_STATUSES)
@click.option(
    "--store", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="The store."
)
@click.option(
    "--to", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR", help="Where the copy goes."
)
@json_option
def backup(store: Path, to: Path, as_json: bool) -> None:
    """Copies a store into a directory that is absent or empty, also beside a running daemon.

    The copy is the catalog as it stood at one moment, with every write acknowledged before the command began. It is a
    store: `reploc lrc serve --store` opens it. The store may grow for as long as the copy takes.
    """
    done = _copied(store, to)
    if as_json:
        terminal.say_json(done)
        return
    held = f"{done.lfns:,} LFNs, {done.mappings:,} mappings, {terminal.shown_bytes(done.bytes)}"
    terminal.say(f"the catalog of {done.site} at position {done.position} is in {to}: {held}")


def _copied(store: Path, to: Path) -> Backup:
    started = time.monotonic()
    to = to.absolute()
    with Catalog.open(store, read_only=True) as catalog:
        catalog.store.copy(to)
    with Catalog.open(to, read_only=True) as copy:
        state = copy.state()
        return Backup(
            site=state.site,
            position=state.position,
            lfns=state.lfns,
            mappings=state.mappings,
            bytes=copy.store_bytes(),
            seconds=time.monotonic() - started,
        )
