"""`reploc register` and `reploc unregister`: what a site's catalog holds, one mapping or a file of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar

import click

from reploc import names
from reploc.client import LrcClient
from reploc.commands import discovery, input_files, terminal
from reploc.commands.input_files import Form, Line
from reploc.commands.options import file_option, format_option, json_option, lrc_option
from reploc.commands.terminal import EXIT_STATUSES, REFUSALS_SHOWN_MAX, Exit
from reploc.wire import SIZE_MAX, Answer, DeleteItem, ItemError, MappingItem, Mode, Written

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


@click.command(epilog=EXIT_STATUSES)
@click.argument("lfn", required=False)
@click.argument("pfn", required=False)
@click.option("--size", type=click.IntRange(0, SIZE_MAX), metavar="BYTES", help="The file's size.")
@click.option("--checksum", metavar="ALGORITHM:HEX", help="The file's checksum, as adler32:… or sha256:….")
@click.option("--collection", metavar="NAME", help="The collection that the LFN belongs to.")
@click.option("--update", is_flag=True, help="Change size, checksum or collection of a known LFN.")
@click.option(
    "--mode",
    type=click.Choice(["put", "create", "add"]),
    default="put",
    show_default=True,
    help="create: the LFN must be new. add: it must be known. put: either.",
)
@file_option
@format_option
@lrc_option
@json_option
def register(
    lfn: str | None,
    pfn: str | None,
    size: int | None,
    checksum: str | None,
    collection: str | None,
    update: bool,
    mode: Mode,
    file: BinaryIO | None,
    form: Form | None,
    lrcs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Registers that the file LFN has a copy at PFN, in one site's catalog.

    With --file each line is a mapping: LFN, PFN, size, checksum and collection between tabs (the last three may be left
    out), or as NDJSON an object with those keys. An item that is refused is named and stops no other.
    """
    if file is None:
        if lfn is None or pfn is None:
            raise click.UsageError("expected LFN and PFN, or --file")
        item = MappingItem(names.require(lfn), names.require(pfn, "pfn"), size, checksum, collection)
        lines = iter([Line(lfn, item)])
    else:
        if any(given is not None for given in (lfn, size, checksum, collection)):
            raise click.UsageError("with --file everything stands in the file: no LFN, PFN or attribute beside it")
        lines = input_files.mappings_in(file, form)

    async def send(client: LrcClient, items: Sequence[MappingItem]) -> Written:
        return await client.write(items, mode, update=update)

    asyncio.run(_write(_client(lrcs), "registered", lines, send, as_json))


@click.command(epilog=EXIT_STATUSES)
@click.argument("lfn", required=False)
@click.argument("pfn", required=False)
@file_option
@format_option
@lrc_option
@json_option
def unregister(
    lfn: str | None,
    pfn: str | None,
    file: BinaryIO | None,
    form: Form | None,
    lrcs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Removes the mapping of LFN to PFN from one site's catalog, or without PFN all mappings of LFN.

    No file is touched. With --file each line is LFN and PFN between tabs, or an LFN alone; or as NDJSON an object with
    the keys lfn and pfn.
    """
    if file is None:
        if lfn is None:
            raise click.UsageError("expected LFN, or --file")
        item = DeleteItem(names.require(lfn), None if pfn is None else names.require(pfn, "pfn"))
        lines = iter([Line(lfn, item)])
    else:
        if lfn is not None:
            raise click.UsageError("expected LFN or --file, not both")
        lines = input_files.deletions_in(file, form)

    async def send(client: LrcClient, items: Sequence[DeleteItem]) -> Written:
        return await client.delete(items)

    asyncio.run(_write(_client(lrcs), "unregistered", lines, send, as_json))


def _client(lrcs: tuple[str, ...]) -> Callable[[], LrcClient]:
    url = discovery.find(lrcs=lrcs).lrc
    return lambda: LrcClient(url)


async def _write(
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
