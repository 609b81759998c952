"""What commands that write do with their items: send them chunk by chunk, name the refused ones, end with a status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import click

from reploc.client import LrcClient
from reploc.commands import discovery, input_files, terminal
from reploc.commands.input_files import Line
from reploc.commands.terminal import REFUSALS_SHOWN_MAX, Exit
from reploc.wire import Answer, ItemError, Written

T = TypeVar("T")


class Refused(Answer, frozen=True):
    """An item that the catalog refused, as `--json` prints it."""

    where: str
    code: str
    message: str


class Done(Answer, frozen=True):
    """The end of a command that writes, as `--json` prints it."""

    done: int
    refused: int
    position: int


def connector(lrcs: tuple[str, ...]) -> Callable[[], LrcClient]:
    """Makes clients of the one catalog that the command line names. Raises ConfigInvalid."""
    url = discovery.find(lrcs=lrcs).lrc
    return lambda: LrcClient(url)


async def write(
    connect: Callable[[], LrcClient],
    what: str,
    lines: Iterator[Line[T]],
    send: Callable[[LrcClient, Sequence[T]], Awaitable[Written]],
    as_json: bool,
) -> None:
    """Sends the items chunk by chunk, names the refused ones, and ends the command with its status."""
    done = refused = position = 0
    with terminal.progress(what) as bar:
        async with connect() as client:
            for chunk in input_files.chunks(lines):
                written = await send(client, [line.item for line in chunk])
                for error in written.errors:
                    _show_refusal(chunk[error.index].where, error, refused, as_json)
                    refused += 1
                done += written.done
                position = max(position, written.position)
                bar.advance(len(chunk))
    _end(what, Done(done, refused, position), as_json)


def _show_refusal(where: str, error: ItemError, earlier: int, as_json: bool) -> None:
    if as_json:
        terminal.say_json(Refused(where, error.code, error.message))
    elif earlier < REFUSALS_SHOWN_MAX:
        terminal.note(f"{where}: {error.code}: {error.message}")
    elif earlier == REFUSALS_SHOWN_MAX:
        terminal.note("more items were refused; they are only counted (--json names all)")


def _end(what: str, done: Done, as_json: bool) -> None:
    if as_json:
        terminal.say_json(done)
    else:
        refused = f", {done.refused:,} refused" if done.refused else ""
        terminal.say(f"{what} {done.done:,}{refused}; the catalog is at position {done.position}")
    click.get_current_context().exit(Exit.REFUSED if done.refused else Exit.DONE)
