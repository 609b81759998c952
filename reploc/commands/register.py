"""`reploc register` and `reploc unregister`: what a site's catalog holds, one mapping or a file of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import BinaryIO

import click

from reploc import names
from reploc.client import LrcClient
from reploc.commands import input_files, writing
from reploc.commands.input_files import Form, Line
from reploc.commands.options import file_option, format_option, json_option, lrc_option
from reploc.commands.terminal import EXIT_STATUSES
from reploc.wire import SIZE_MAX, DeleteItem, MappingItem, Mode, Written


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

    asyncio.run(writing.write(writing.connector(lrcs), "registered", lines, send, as_json))


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

    asyncio.run(writing.write(writing.connector(lrcs), "unregistered", lines, send, as_json))
