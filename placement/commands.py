"""`reploc placement`: what is where, what should be, and the orders that make the one the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from placement import server
from placement.settings import PlacementSettings
from placement.tools.dealer_commands import dealer
from placement.tools.definition_commands import datasets, groups, inject, owners, partitions, quotas, sites
from placement.tools.detox_commands import detox
from placement.tools.inventory_commands import inventory
from placement.tools.order_commands import decisions, history, locks, orders
from placement.tools.policy_commands import policy
from placement.tools.request_commands import request
from reploc import config, service
from reploc.commands.options import CommandGroup

SERVE_STATUSES = """\b
Exit status:
  0  told to stop
  2  the command line or the settings are wrong, or the address cannot be listened on
  4  the database cannot be used
"""


@click.group(cls=CommandGroup)
def placement() -> None:
    """The placement service: inventory, policies, and the orders that they lead to.

    Commands ask the service at --placement, or at $REPLOC_PLACEMENT, or at http://127.0.0.1:39300.
    """


@placement.command(epilog=SERVE_STATUSES)
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Settings.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
@click.option("--database", metavar="URL", help="The database, instead of the file's.")
def serve(path: Path | None, listen: str | None, database: str | None) -> None:
    """Keeps the inventory, hears the index, and hands out orders, until SIGTERM or SIGINT."""
    service.run(server.compose, partial(config.load, PlacementSettings, path, listen=listen, database=database))


for command in (
    *(sites, groups, partitions, quotas, datasets, owners, inject, inventory, locks, orders, history, decisions),
    *(policy, detox, dealer, request),
):
    placement.add_command(command)
