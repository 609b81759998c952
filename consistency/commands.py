"""`reploc consistency`: compare a site's catalog with its storage, look at runs, release them, and know of losses."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import polars as pl
from msgspec.structs import replace

from consistency import dumps, running
from consistency.compare import FINDINGS
from consistency.deep import Deep, DeepReport
from consistency.history import History, Lost
from consistency.report import STATUS, Report
from consistency.settings import ConsistencySettings
from consistency.tally import Tally
from reploc import config
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, json_option
from reploc.commands.terminal import EXIT_STATUSES
from reploc.errors import ConfigInvalid, ReplocError

F = TypeVar("F", bound=Callable[..., Any])

CHECK_STATUSES = """\b
Exit status:
  0  done, and within its limits
  1  held: a limit was crossed, and an operator must release the run
  2  the command line or the settings are wrong
  3  failed: what was seen is not to be believed, or too little was
  4  an error; the next run goes on where this one stopped
"""

config_option: Callable[[F], F] = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("/etc/reploc/consistency.toml"),
    show_default=True,
    metavar="FILE",
    help="Settings.",
)


@click.group(cls=CommandGroup)
def consistency() -> None:
    """Catalogs and storage: what is missing, orphaned or damaged, and mending it."""


@consistency.command(epilog=CHECK_STATUSES)
@click.argument("site")
@click.option("--act/--no-act", default=None, help="Do everything about confirmed findings, or nothing, this time.")
@click.option(
    "--dump", "file", metavar="FILE", help="A dump of the storage in place of a listing; a pattern: the newest."
)
@config_option
@json_option
def check(site: str, act: bool | None, file: str | None, path: Path, as_json: bool) -> None:
    """Compares the catalog of SITE with its storage. A run that was killed goes on where it stopped."""
    settings = config.load(ConsistencySettings, path)
    if file is not None:
        settings = settings.with_dump(site, file)
    if act is not None:
        told = replace(settings.actions, missing=act, orphans=act, empty_directories=act)
        settings = replace(settings, actions=told)
    try:
        report = asyncio.run(_checked(settings, site))
    except ConfigInvalid:
        raise
    except ReplocError as wrong:
        terminal.complain(wrong)
        click.get_current_context().exit(STATUS["broken"])
    _show(report, as_json)
    click.get_current_context().exit(STATUS[report.state])


async def _checked(settings: ConsistencySettings, site: str) -> Report:
    async with running.opening(settings, site) as opening:
        with terminal.progress("directories listed") as bar:
            return await running.checked(opening, lambda done, _files, waiting: bar.reach(done, done + waiting))


@consistency.command("deep", epilog=CHECK_STATUSES)
@click.argument("site")
@config_option
@json_option
def read_again(site: str, path: Path, as_json: bool) -> None:
    """Reads files of SITE again, behind where the last call stopped, and compares their checksums."""
    settings = config.load(ConsistencySettings, path)

    async def done() -> DeepReport:
        async with running.opening(settings, site) as opening:
            deep = Deep(site, settings.deep, opening.history, opening.client, opening.paths, opening.door)
            with terminal.progress("files read") as bar:
                return await deep.run(lambda files, _bytes: bar.reach(files, settings.deep.files))

    report = asyncio.run(done())
    if as_json:
        terminal.say_json(report)
    else:
        terminal.say(f"{report.files} files read, {terminal.shown_bytes(report.bytes)} in {report.seconds:g} s")
        for what, lfns in (("damaged", report.damaged), ("missing", report.missing), ("not read", report.unread)):
            terminal.say("\n".join([f"{len(lfns)} {what}", *(f"  {lfn}" for lfn in lfns)]))
    click.get_current_context().exit(STATUS["failed"] if report.unread else STATUS["done"])


@consistency.command("history", epilog=EXIT_STATUSES)
@click.argument("site", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Runs at the most.")
@config_option
@json_option
def show_history(site: str | None, limit: int, path: Path, as_json: bool) -> None:
    """Shows the newest runs, of SITE or of all."""
    with _history(path) as kept:
        reports = kept.reports(site, limit)
    if as_json:
        for report in reports:
            terminal.say_json(report)
        return
    columns = (">RUN", "SITE", "STATE", "BEGAN", ">FILES", ">MISSING", ">ORPHANS", ">DAMAGED", ">UNKNOWN", "REASON")
    terminal.table(columns, [_row(report) for report in reports])


@consistency.command("show", epilog=EXIT_STATUSES)
@click.argument("run", type=click.IntRange(1))
@click.option("--list", "kind", type=click.Choice(FINDINGS), help="The paths of one kind, one a line, as raw bytes.")
@config_option
@json_option
def show_run(run: int, kind: str | None, path: Path, as_json: bool) -> None:
    """Shows one run, or the paths that it found."""
    with _history(path) as kept:
        report, found = kept.report(run), kept.findings(run) if kind else None
    if found is None:
        _show(report, as_json)
        return
    rows = found.filter(pl.col("seen") & (pl.col("kind") == kind))
    _say_paths(rows["path"])


@consistency.command(epilog=CHECK_STATUSES)
@click.argument("run", type=click.IntRange(1))
@config_option
@json_option
def release(run: int, path: Path, as_json: bool) -> None:
    """Makes a run count that is held, and does what the settings allow about what it confirms."""
    settings = config.load(ConsistencySettings, path)

    async def done() -> Report:
        with _history(path) as kept:
            site = kept.report(run).site
        async with running.opening(settings, site) as opening:
            return await running.released(opening, run, getpass.getuser())

    _show(asyncio.run(done()), as_json)


@consistency.command(epilog=EXIT_STATUSES)
@click.argument("site", required=False)
@config_option
@json_option
def lost(site: str | None, path: Path, as_json: bool) -> None:
    """Lists the files that no site has any more."""
    with _history(path) as kept:
        files = kept.lost(site)
    if as_json:
        for file in files:
            terminal.say_json(file)
        return
    terminal.table(("SITE", ">SIZE", "SINCE", "KNOWN TO", "LFN"), [_lost_row(file) for file in files])


@consistency.command(epilog=EXIT_STATUSES)
@click.argument("site")
@click.argument("lfn")
@config_option
@json_option
def acknowledge(site: str, lfn: str, path: Path, as_json: bool) -> None:
    """Takes note that you know of a loss: the mapping of LFN at SITE goes."""
    settings = config.load(ConsistencySettings, path)

    async def done() -> None:
        async with running.opening(settings, site) as opening:
            report = await running.acknowledged(opening, lfn, getpass.getuser())
        if as_json:
            terminal.say_json(report)
        else:
            terminal.say("\n".join([f"{report.unregistered} mappings unregistered", *report.failures]))

    asyncio.run(done())


@consistency.command(epilog=CHECK_STATUSES)
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("storage", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--fields", default=",".join(dumps.FIELDS), show_default=True, help="What the lines hold, in order.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), help="Where lists are kept meanwhile.")
@click.option("--list", "kind", type=click.Choice(FINDINGS), help="The paths of one kind, one a line, as raw bytes.")
@json_option
def compare(
    before: Path, storage: Path, after: Path | None, fields: str, work: Path | None, kind: str | None, as_json: bool
) -> None:
    """Compares dumps alone: of a catalog BEFORE the storage was listed, of STORAGE, and of the catalog AFTER."""
    found = dumps.compare(before, storage, after, dumps.fields(fields), work)
    if kind:
        _say_paths(found.paths(kind))
    elif as_json:
        terminal.say_json(found.tally)
    else:
        _show_tally(found.tally)


# ---- what is shown ---------------------------------------------------------------------------------------------------


@contextmanager
def _history(path: Path) -> Iterator[History]:
    kept = History(config.load(ConsistencySettings, path).database)
    try:
        yield kept
    finally:
        kept.close()


def _say_paths(paths: Iterable[bytes]) -> None:
    """Paths as they are, one a line."""
    for path in paths:
        sys.stdout.buffer.write(path + b"\n")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _row(report: Report) -> list[str]:
    kinds = report.tally.kinds
    counts = [str(kinds[kind].files) for kind in ("missing", "orphan", "damaged", "unknown")]
    reason = "; ".join(report.reasons)
    return [
        str(report.run), report.site, report.state, _moment(report.began_at), str(report.tally.scanned.files),
        *counts, reason,
    ]  # fmt: skip


def _lost_row(file: Lost) -> list[str]:
    return [file.site, terminal.shown_bytes(file.size), _moment(file.since), file.acknowledged_by or "", file.lfn]


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        terminal.say_json(report)
        return
    terminal.say(f"run {report.run} of {report.site}: {report.state}")
    for reason in report.reasons:
        terminal.say(f"  {reason}")
    _show_tally(report.tally)
    done, listing = report.actions, report.listing
    terminal.say(
        f"{listing.directories} directories listed, {listing.failed} not; {report.empty_directories} hold no file"
    )
    if report.confirmed:
        terminal.say("confirmed: " + ", ".join(f"{count} {kind}" for kind, count in report.confirmed.items()))
    if done.recopied or done.lost or done.quarantined or done.removed_directories or done.spared:
        terminal.say(
            f"{done.recopied} copies ordered, {done.unregistered} mappings unregistered, {done.lost} lost, "
            f"{done.quarantined} moved to the trash, {done.removed_directories} directories removed, "
            f"{done.spared} left as they are"
        )
    for failure in done.failures:
        terminal.say(f"  {failure}")


def _show_tally(tally: Tally) -> None:
    shown = [(kind, count) for kind, count in tally.kinds.items() if count.files or kind in FINDINGS]
    rows = [[kind, str(count.files), terminal.shown_bytes(count.bytes)] for kind, count in shown]
    terminal.table(("WHAT", ">FILES", ">BYTES"), rows)
