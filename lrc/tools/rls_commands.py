"""`reploc lrc rls`: the index servers of the Globus RLS that a catalog sends updates to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec

from reploc.client import LrcClient
from reploc.commands import terminal, writing
from reploc.commands.options import CommandGroup, json_option, lrc_option
from reploc.commands.terminal import EXIT_STATUSES
from reploc.errors import BodyInvalid
from reploc.rls.feeding import IndexProgress, PaceBody, RlsFeedStatus


@click.group(cls=CommandGroup, epilog=EXIT_STATUSES)
def rls() -> None:
    """Index servers of the Globus RLS that the catalog sends lists or filters to."""


@rls.command("list", epilog=EXIT_STATUSES)
@lrc_option
@json_option
def list_command(lrcs: tuple[str, ...], as_json: bool) -> None:
    """Lists them: what each is sent, and how far it is."""
    _say(lrcs, lambda client: client.rls_indexes(), as_json)


@rls.command(epilog=EXIT_STATUSES)
@click.argument("url", metavar="URL")
@click.option("--filters", is_flag=True, help="A filter of all names, in the form of the Globus RLS; else lists.")
@click.option("--pattern", metavar="GLOB", help="Lists of the names that match; may be added again with another.")
@lrc_option
@json_option
def add(url: str, filters: bool, pattern: str | None, lrcs: tuple[str, ...], as_json: bool) -> None:
    """Sends updates to the index server at URL, rlsn://HOST[:PORT], from now on."""
    _say(lrcs, lambda client: client.add_rls_index(url, filters=filters, pattern=pattern), as_json)


@rls.command(epilog=EXIT_STATUSES)
@click.argument("url", metavar="URL")
@click.option("--pattern", metavar="GLOB", help="Take this pattern away alone; with its last one the server goes.")
@lrc_option
@json_option
def remove(url: str, pattern: str | None, lrcs: tuple[str, ...], as_json: bool) -> None:
    """Sends no more updates to the index server at URL, which forgets the catalog in its own time."""
    _say(lrcs, lambda client: client.remove_rls_index(url, pattern), as_json)


@rls.command(epilog=EXIT_STATUSES)
@click.argument("options", metavar="NAME=VALUE …", nargs=-1, required=True)
@lrc_option
@json_option
def pace(options: tuple[str, ...], lrcs: tuple[str, ...], as_json: bool) -> None:
    """Changes how updates are sent until the daemon starts anew: settings of [rls], such as buffer_s=5."""
    given = dict(option.partition("=")[::2] for option in options)
    try:
        body = msgspec.convert(given, PaceBody, strict=False)
    except msgspec.ValidationError as wrong:
        raise BodyInvalid(str(wrong)) from wrong
    _say(lrcs, lambda client: client.pace_rls(body), as_json)


def _say(lrcs: tuple[str, ...], ask: Callable[[LrcClient], Awaitable[RlsFeedStatus]], as_json: bool) -> None:
    async def asked() -> RlsFeedStatus:
        async with writing.connector(lrcs)() as client:
            return await ask(client)

    said = asyncio.run(asked())
    if as_json:
        terminal.say_json(said)
        return
    terminal.table(
        ("INDEX", "SENT", ">TOLD", ">LAG", ">EVERY", "TROUBLE"), [_row(one, said.position) for one in said.indexes]
    )


def _row(one: IndexProgress, position: int) -> list[Any]:
    sent = "a filter" if one.filters else ", ".join(one.patterns) or "all names"
    told = "-" if one.told is None else f"{one.told:,} of {position:,}"
    return [one.url, sent, told, f"{one.lag_s:.0f} s", f"{one.interval_s:.0f} s", one.trouble or "-"]
