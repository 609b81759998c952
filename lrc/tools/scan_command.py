"""`reploc lrc scan`: what a directory tree holds, registered in its site's catalog."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import quote_from_bytes

import click

from lrc.tools import access
from lrc.tools.access import Access
from lrc.tools.naming import Naming, naming
from lrc.tools.options import STORE_USED, store_option
from lrc.tools.scan import Checksum, Options, Scan, Summary
from reploc.commands import terminal
from reploc.commands.options import json_option, lrc_option
from reploc.commands.terminal import Exit, ProgressBar

#: Threads that read files: beyond it a storage system answers no faster, and each may hold a megabyte.
WORKERS_MAX = 256
#: Directories of a path that may name its collection.
DEPTH_MAX = 64

EXIT_STATUSES = f"""\b
Exit status:
  0  every file is registered
  1  something was not: refused, unreadable, changed meanwhile, or without a name that a catalog takes
  2  the command line or the settings are wrong
  4  {STORE_USED}
"""


@click.command(epilog=EXIT_STATUSES)
@click.argument("root", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--lfn-prefix", default="/", show_default=True, help="What an LFN begins with, before the path below DIR."
)
@click.option("--pfn-prefix", help="What a PFN begins with, before the encoded path.  [default: DIR as a file:// URL]")
@click.option(
    "--checksum",
    type=click.Choice(["none", "adler32", "sha256"]),
    default="adler32",
    show_default=True,
    help="The checksum to register; none reads no file.",
)
@click.option(
    "--collection", metavar="NAME", help="The collection of every file; with a depth, the dataset of the blocks."
)
@click.option(
    "--collection-depth",
    type=click.IntRange(1, DEPTH_MAX),
    metavar="N",
    help="The first N directories below DIR name the collection: NAME#a/b, or without --collection LFN-PREFIXa/b.",
)
@click.option(
    "--exclude",
    "excludes",
    multiple=True,
    metavar="GLOB",
    help="Leave out names (or, with a / in it, paths below DIR) that match, and all below them; may be repeated.",
)
@click.option("--update", is_flag=True, help="Change size, checksum or collection of LFNs that are known with others.")
@click.option(
    "--workers", type=click.IntRange(1, WORKERS_MAX), default=4, show_default=True, help="Threads that read files."
)
@lrc_option
@store_option
@json_option
def scan(
    root: Path,
    lfn_prefix: str,
    pfn_prefix: str | None,
    checksum: Checksum,
    collection: str | None,
    collection_depth: int | None,
    excludes: tuple[str, ...],
    update: bool,
    workers: int,
    lrcs: tuple[str, ...],
    store: Path | None,
    as_json: bool,
) -> None:
    """Registers every regular file below DIR: LFN-PREFIX and PFN-PREFIX, each followed by the path below DIR.

    Paths are percent-encoded in PFNs and stand as they are in LFNs. Symbolic links are not followed. What cannot be
    registered is named and stops nothing else; a scan that was stopped is run again and writes only what is missing.
    """
    # The path that the operator gave is the one that PFNs are to name, whatever links it goes through.
    tree = os.path.abspath(os.fsencode(root))  # noqa: PTH100 - resolving would replace the links
    named = naming(
        lfn_prefix,
        f"file://{quote_from_bytes(tree.rstrip(b'/'))}/" if pfn_prefix is None else pfn_prefix,
        collection=collection,
        collection_depth=collection_depth or 0,
        excludes=excludes,
    )
    options = Options(checksum, workers, update)
    summary = asyncio.run(_scan(tree, named, access.chosen(lrcs, store, read_only=False), options))
    _show(summary, as_json)
    click.get_current_context().exit(Exit.DONE if summary.complete else Exit.REFUSED)


async def _scan(root: bytes, named: Naming, catalog: AbstractAsyncContextManager[Access], options: Options) -> Summary:
    with terminal.progress("scanned") as bar:
        async with catalog as opened:
            return await Scan(root, named, opened, options, _Meter(bar).advance).run()


class _Meter:
    """Files and bytes on one bar, counted from any thread."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._bytes = 0
        self._lock = threading.Lock()

    def advance(self, files: int, size: int) -> None:
        with self._lock:
            self._bytes += size
            self._bar.advance(files)
            self._bar.describe(f"scanned {terminal.shown_bytes(self._bytes)}, files")


def _show(summary: Summary, as_json: bool) -> None:
    if as_json:
        terminal.say_json(summary)
        return
    for trouble in summary.troubles:
        terminal.note(trouble)
    counted = summary.refused + summary.unnamed + summary.unreadable + summary.changed
    if counted > len(summary.troubles):
        terminal.note(f"{counted - len(summary.troubles):,} more are only counted")
    size, rate = terminal.shown_bytes(summary.bytes), terminal.shown_bytes(int(summary.bytes_per_s))
    rows = [
        ("files", f"{summary.files:,}"),
        ("bytes", size),
        ("registered", f"{summary.registered:,}"),
        ("already there", f"{summary.already_there:,}"),
        ("refused", f"{summary.refused:,}"),
        ("without a name", f"{summary.unnamed:,}"),
        ("unreadable", f"{summary.unreadable:,}"),
        ("changed meanwhile", f"{summary.changed:,}"),
        ("links and specials", f"{summary.links + summary.specials:,}"),
        ("excluded", f"{summary.excluded:,}"),
        ("seconds", f"{summary.seconds:.2f}"),
        ("rate", f"{summary.files_per_s:,.0f} files/s, {rate}/s"),
        (f"position of {summary.site}", str(summary.position)),
    ]
    terminal.table(("SCAN", ">"), rows)
