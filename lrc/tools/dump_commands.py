"""`reploc lrc dump` and `reploc lrc load`: a whole catalog as NDJSON, written and read."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from lrc.tools import access
from lrc.tools import dump as dumps
from lrc.tools.access import Access
from lrc.tools.load import Load, LoadMode, Summary
from lrc.tools.options import STORE_USED, store_option
from reploc.commands import terminal
from reploc.commands.options import json_option, lrc_option
from reploc.commands.terminal import Exit

DUMP_STATUSES = f"""\b
Exit status:
  0  everything was written
  2  the command line or the settings are wrong
  4  {STORE_USED}; or FILE cannot be written
"""
LOAD_STATUSES = f"""\b
Exit status:
  0  every line is loaded
  1  lines were refused
  2  the command line or the settings are wrong, or FILE is no dump
  4  {STORE_USED}
"""


# ---- dump ------------------------------------------------------------------------------------------------------------


@click.command(epilog=DUMP_STATUSES)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write there instead of to standard output.",
)
@lrc_option
@store_option
def dump(output: Path | None, lrcs: tuple[str, ...], store: Path | None) -> None:
    """Writes everything that a catalog holds as NDJSON: a header, one LFN a line with all its PFNs, the values of
    attributes, and the number of lines.

    With --store the store is only read, also beside a running daemon. FILE appears when all of it is on disk.
    """
    catalog = access.chosen(lrcs, store, read_only=True)
    if output is None:
        asyncio.run(_dump(catalog, sys.stdout.buffer, printing=True))
        return
    with _written(output) as file:
        asyncio.run(_dump(catalog, file, printing=False))


async def _dump(catalog: AbstractAsyncContextManager[Access], file: BinaryIO, *, printing: bool) -> None:
    async with catalog as opened:
        origin = await opened.origin()
        attributes = await opened.attributes()
        file.write(dumps.header_line(origin, attributes))
        count = 0
        total = origin.lfns + sum(one.values for one in attributes)
        with terminal.progress("dumped lines", total, printing=printing) as bar:
            async for lines, more in dumps.pieces(opened, attributes):
                file.write(lines)
                count += more
                bar.advance(more)
        file.write(dumps.end_line(count))
    file.flush()


class _Unwritable(click.FileError):
    exit_code = Exit.FAILED


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file to write. It takes its name, and the place of an older one, when everything is on disk."""
    special = path.exists() and not path.is_file()
    part = path if special else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            if not special:
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
    except OSError as wrong:
        raise _Unwritable(str(path), wrong.strerror or str(wrong)) from wrong
    finally:
        if not special:
            part.unlink(missing_ok=True)


# ---- load ------------------------------------------------------------------------------------------------------------


@click.command(epilog=LOAD_STATUSES)
@click.argument("file", type=click.File("rb"))
@click.option(
    "--mode",
    type=click.Choice(["put", "create"]),
    default="put",
    show_default=True,
    help="create: each LFN must be new. put: it may be there, with other PFNs or with the same.",
)
@click.option("--update", is_flag=True, help="With put: change size, checksum or collection of LFNs that are known.")
@lrc_option
@store_option
@json_option
def load(
    file: BinaryIO, mode: LoadMode, update: bool, lrcs: tuple[str, ...], store: Path | None, as_json: bool
) -> None:
    """Registers what a dump holds; FILE is - for standard input.

    A line that is refused, because it is no LFN with its PFNs or because the catalog says no, is named by its number
    and stops no other.
    """
    if update and mode == "create":
        raise click.UsageError("--update changes LFNs that are known, and with --mode create there are none")
    summary = asyncio.run(_load(file, access.chosen(lrcs, store, read_only=False), mode, update))
    if as_json:
        terminal.say_json(summary)
    else:
        _show(summary)
    click.get_current_context().exit(Exit.REFUSED if summary.refused else Exit.DONE)


async def _load(file: BinaryIO, catalog: AbstractAsyncContextManager[Access], mode: LoadMode, update: bool) -> Summary:
    with terminal.progress("loaded bytes", _size(file)) as bar:
        async with catalog as opened:
            return await Load(file, opened, mode, update, lambda _, size: bar.advance(size)).run()


def _size(file: BinaryIO) -> int | None:
    """The bytes of a file; None for a pipe, which has no end to see."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None


def _show(summary: Summary) -> None:
    for refusal in summary.refusals:
        terminal.note(refusal)
    if summary.refused > len(summary.refusals):
        terminal.note(f"{summary.refused - len(summary.refusals):,} more lines were refused; they are only counted")
    rows = [
        ("lines", f"{summary.lines:,}"),
        ("refused", f"{summary.refused:,}"),
        ("mappings", f"{summary.mappings:,}"),
        ("values", f"{summary.values:,}"),
        ("seconds", f"{summary.seconds:.2f}"),
        ("rate", f"{summary.mappings_per_s:,.0f} mappings/s"),
        (f"position of {summary.site}", str(summary.position)),
    ]
    terminal.table((f"LOAD FROM {summary.from_site}", ">"), rows)
