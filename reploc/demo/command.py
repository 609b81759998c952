"""`reploc demo`: the whole location service on this machine, shown on real files in under three minutes."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from reploc import config
from reploc.client.concurrency import side_by_side
from reploc.commands.terminal import Exit, say
from reploc.demo import datasets, files, listing
from reploc.demo.consistency import Consistency
from reploc.demo.example import Shown
from reploc.demo.grid import INDEX, SITES, Example, Grid
from reploc.demo.placement import Placement
from reploc.demo.processes import finished
from reploc.demo.story import FIRST_CHAPTER_ACT, Story, heading, played
from reploc.demo.truth import Expected, Opened, listed, opened
from reploc.members import IndexSettings
from reploc.wire import MappingItem

EXIT_STATUSES = """\b
Exit status:
  0  every lookup and every check was right
  1  a lookup or a check was wrong
  2  the command line or the list of files is wrong
  4  a daemon did not start, or the grid did not come to rest
"""


@click.command(epilog=EXIT_STATUSES)
@click.option("--keep", is_flag=True, help="Leave the grid running at the end, with commands to try.")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Play it on a list of files instead: tab-separated lfn, size, checksum, collection; also .zst.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where catalogs, storage and logs go; must be new.  [default: a temporary directory]",
)
@click.option(
    "--config",
    "described",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Show the index that a file's [index] table describes instead, as configs/rls1.toml and its like do.",
)
@click.option("--tls", is_flag=True, help="Over TLS, with an authority, certificates and rules made for it.")
def demo(keep: bool, data: Path | None, directory: Path | None, described: Path | None, tls: bool) -> None:
    """Shows the location service: three sites and four index nodes as processes of this machine, on real files.

    Files are registered, looked up, written, deleted; nodes and a site are killed; and after every act all lookups are
    checked against what is really there. With --config only the index is another, and what is done is shorter.
    """
    shown = Example(index=INDEX) if described is None else config.load(Example, described)
    if not shown.index.nodes:
        raise click.UsageError(f"--config: {described} names no index.nodes")
    began = time.monotonic()
    with _directory(directory, keep) as home:
        grid = Grid(home, tls=tls, index=shown.index, parents=shown.parents)
        try:
            story = asyncio.run(_told(grid, data, in_full=described is None))
            right, wrong = story.verdict.right, len(story.verdict.wrong)
            say("")
            say(f"{right:,} of {right + wrong:,} lookups and checks were right, in {time.monotonic() - began:.0f} s.")
            if keep:
                _kept(grid, story)
        finally:
            if not keep:
                grid.stop()
    click.get_current_context().exit(Exit.REFUSED if wrong else Exit.DONE)


@contextmanager
def _directory(given: Path | None, keep: bool) -> Iterator[Path]:
    if given is not None:
        try:
            given.mkdir(parents=True)
        except FileExistsError as wrong:
            raise click.UsageError(f"--directory: {given} is there already") from wrong
        yield given.resolve()
        return
    home = Path(tempfile.mkdtemp(prefix="reploc-demo-")).resolve()
    try:
        yield home
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


async def _told(grid: Grid, data: Path | None, *, in_full: bool) -> Story | Shown:
    """The whole story, or what any index can show."""
    index = grid.settings
    say(
        f"Three sites ({', '.join(SITES)}) and {len(grid.nodes)} index nodes ({', '.join(grid.nodes)}), "
        f"R = {index.redundancy}, in {grid.directory}"
    )
    if not in_full:
        say(_parameters(index))
        if grid.parents.nodes:
            said = f"{_parameters(grid.parents)}, R = {grid.parents.redundancy}"
            say(f"above it, told by {', '.join(grid.below)}: {said}")
    truth, look = await _registered(grid, data)
    if not in_full:
        shown = Shown(grid, truth, look)
        await shown.told()
        return shown
    story = Story(grid, truth, look)
    await _settled(grid)
    await story.told()
    await _beside(story)
    return story


def _parameters(index: IndexSettings) -> str:
    return f"P_L = {index.lfn_partition}, P_R = {index.site_partition}, S = {index.mode}, C = {index.compression}"


async def _beside(story: Story) -> None:
    """The chapters of the services beside the grid, on datasets of their own; one verdict is for all."""
    held = datasets.made()
    chapters = Story(story.grid, {}, opened, story.verdict)
    acts = [*Placement(chapters, held).acts, *Consistency(chapters, held).acts]
    await played(acts, FIRST_CHAPTER_ACT)


async def _registered(grid: Grid, data: Path | None) -> tuple[dict[str, Expected], Opened]:
    """Starts the grid and fills its catalogs: what is true then, and how a PFN is looked at."""
    prepared = None if data is None else listing.read(data, SITES)
    await grid.start()
    heading(1, "Files are registered in the catalog of each site that holds a copy")
    if prepared is None:
        return await _scanned(grid), opened
    await _loaded(grid, prepared)
    return listing.truth(prepared), listed


async def _scanned(grid: Grid) -> dict[str, Expected]:
    """Copies real files into the sites' storage and scans each into its catalog with `reploc lrc scan`."""
    began = time.monotonic()
    chosen = files.chosen(SITES)
    copies = files.laid_out(chosen, grid.storage)
    say(f"   {len(chosen):,} files of the interpreter's library, {copies:,} copies laid out in {_since(began)}")
    blocks = ["--collection", files.DATASET, "--collection-depth", "2"]
    for site in SITES:
        began = time.monotonic()
        await finished(
            [
                "lrc",
                "scan",
                str(grid.storage[site]),
                "--lrc",
                grid.urls[site],
                "--lfn-prefix",
                files.LFN_PREFIX,
                *blocks,
            ],
            grid.variables,
        )
        async with grid.lrc(site) as catalog:
            status = await catalog.status()
        say(f"   {site}: {status.lfns:,} files scanned, in {status.collections} collections, in {_since(began)}")
    return {
        file.lfn: Expected(
            file.size, file.checksum, {site: (grid.storage[site] / file.relative).as_uri() for site in file.sites}
        )
        for file in chosen
    }


async def _loaded(grid: Grid, prepared: dict[str, list[MappingItem]]) -> None:
    """Registers a list of files at its sites, all sites at once."""

    async def load(site: str) -> None:
        began = time.monotonic()
        async with grid.lrc(site) as catalog:
            written = await catalog.put(prepared[site])
        if written.errors:
            raise click.ClickException(f"{site} refused {len(written.errors)} files: {written.errors[0].message}")
        took = time.monotonic() - began
        say(f"   {site}: {written.done:,} files registered in {took:.1f} s ({written.done / took:,.0f}/s, durable)")

    await side_by_side(load, SITES, len(SITES))


async def _settled(grid: Grid) -> None:
    began = time.monotonic()
    await grid.settled()
    say(f"   every index node holds the summaries of every site {_since(began)} later")


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"


def _kept(grid: Grid, story: Story | Shown) -> None:
    """Says how to go on with a grid that was left running."""
    lfn = next(lfn for lfn, expected in story.truth.items() if len(expected.pfns) > 1)
    nodes = " ".join(f"--rli {grid.urls[node]}" for node in grid.asked[:2])
    running = [str(each.running.pid) for each in grid.processes.values() if each.running is not None]
    say("")
    say("The grid is still running. Try:")
    if grid.safety is not None:
        said = " ".join(f"{name}={shlex.quote(value)}" for name, value in grid.safety.variables.items())
        say(f"   export {said}")
    for command in (
        f"reploc lookup {nodes} {shlex.quote(lfn)}",
        f"reploc locate {nodes} {shlex.quote(lfn)}",
        f"reploc status {nodes} --lrc {grid.urls[SITES[0]]}",
        f"reploc register --lrc {grid.urls[SITES[0]]} /my/file file:///etc/hostname",
        f"reploc lookup {nodes} /my/file",
    ):
        say(f"   {command}")
    say(f"End it with: kill {' '.join(running)}; rm -r {shlex.quote(str(grid.directory))}")
