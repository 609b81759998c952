"""`reploc placement`: what is where, what should be, and the orders that make the one the other."""

from __future__ import annotations

import click

from placement.detox_commands import detox
from placement.policy_commands import policy
from reploc.commands.options import CommandGroup


@click.group(cls=CommandGroup)
def placement() -> None:
    """The placement service: inventory, policies, and the orders that they lead to."""


placement.add_command(detox)
placement.add_command(policy)
