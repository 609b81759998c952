"""The `reploc` command: its own sub-commands, and those of the services that are installed.

A service makes its commands known by an entry point of the group `reploc.commands`. One that cannot be loaded, because
an extra is missing, is listed with the reason and disturbs no other.
"""

from __future__ import annotations

import os
import time
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

import click

from reploc import __version__
from reploc.commands import discovery
from reploc.commands.auth import auth
from reploc.commands.ca import ca
from reploc.commands.lookup import locate, lookup
from reploc.commands.options import CommandGroup
from reploc.commands.register import register, unregister
from reploc.commands.status import status
from reploc.commands.tree import show_tree
from reploc.commands.whoami import whoami
from reploc.demo.command import demo
from reploc.errors import ConfigInvalid
from reploc.security import credentials

ENTRY_POINTS = "reploc.commands"


class ServiceCommands(CommandGroup):
    """A group that also has the commands of every entry point; each is loaded when it is needed."""

    @cached_property
    def _found(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=ENTRY_POINTS)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._found})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is None and cmd_name in self._found:
            return _loaded(self._found[cmd_name])
        return own


def _loaded(point: EntryPoint) -> click.Command:
    """The command of an entry point, or one in its place that says why it cannot be loaded."""
    try:
        command = point.load()
    except Exception as wrong:
        return _unloadable(point, f"{type(wrong).__name__}: {wrong}")
    return command if isinstance(command, click.Command) else _unloadable(point, "it is no click command")


def _unloadable(point: EntryPoint, why: str) -> click.Command:
    def complain(_: tuple[str, ...]) -> None:
        raise ConfigInvalid(
            f"command {point.name!r} ({point.value}) cannot be loaded: {why}",
            hint="it may need an extra of reploc that is not installed",
        )

    return click.Command(
        point.name,
        callback=complain,
        params=[click.Argument(["_"], nargs=-1, type=click.UNPROCESSED)],
        short_help=f"(cannot be loaded: {why})",
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )


@click.group(cls=ServiceCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="reploc")
@click.option("--traceback", is_flag=True, help="Show where an unexpected error came from.")
def cli(traceback: bool) -> None:
    """Where are the copies of this file? Catalogs, index and look-ups of a replica location system.

    Services are found by --lrc and --rli, by the variables REPLOC_LRC and REPLOC_RLI (commas between several), or by
    ~/.config/reploc.toml.
    """
    del traceback
    credentials.use(lambda: discovery.shown(time.monotonic, os.environ))


for command in (register, unregister, locate, lookup, status, show_tree, demo, whoami, auth, ca):
    cli.add_command(command)


def main() -> None:
    """The entry point of the `reploc` command."""
    cli(prog_name="reploc")
