"""`reploc fileops`: the daemon of file operations, and what its operators ask and tell it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from fileops import plots, server
from fileops.client import FileopsClient
from fileops.messages import FileopsStatus, OperationItem, OperationSaid, OutcomesSaid, StorySaid
from fileops.operation import ENDED, Kind
from fileops.settings import FileopsSettings
from reploc import config, service
from reploc.commands import terminal
from reploc.commands.options import CommandGroup, json_option
from reploc.commands.terminal import EXIT_STATUSES, Exit
from reploc.wire import BATCH_ITEMS_MAX

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

VARIABLE = "REPLOC_FILEOPS"
DEFAULT_URL = "http://127.0.0.1:39310"
#: Seconds between two looks at operations that are waited for.
LOOK_S = 0.5

SERVE_STATUSES = """\b
Exit status:
  0  told to stop
  2  the command line or the settings are wrong, or the address cannot be listened on
  4  the journal cannot be used
"""
COLUMNS = (">ID", "KIND", "SITE", "STATE", ">TRIES", ">SIZE", "SOURCE", "LFN", "REASON")
ENDED_COLUMNS = ("ENDED", *COLUMNS[:5], ">MOVED", ">SECONDS", *COLUMNS[6:])

url_option: Callable[[F], F] = click.option(
    "--fileops",
    "url",
    metavar="URL",
    help=f"The service, http://HOST:PORT.  [default: ${VARIABLE}, else {DEFAULT_URL}]",
)


@click.group(cls=CommandGroup)
def fileops() -> None:
    """Copies and deletions of files at the sites: the daemon, and its operators' tools."""


@fileops.command(epilog=SERVE_STATUSES)
@click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Settings.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
def serve(path: Path | None, listen: str | None) -> None:
    """Carries out the orders of placement, and what is submitted by hand, until SIGTERM or SIGINT."""
    service.run(server.compose, partial(config.load, FileopsSettings, path, listen=listen))


@fileops.command(epilog=EXIT_STATUSES)
@click.argument("kind", type=click.Choice(["copy", "delete"]))
@click.argument("lfns", nargs=-1, metavar="LFN...")
@click.option("--file", "file", type=click.File("r", encoding="utf-8"), metavar="FILE", help="LFNs, one a line.")
@click.option("--site", required=True, metavar="SITE", help="Where to copy to, or to delete.")
@click.option("--from", "sources", multiple=True, metavar="SITE", help="A site to copy from; several may be given.")
@click.option("--witness", default="", metavar="SITE", help="The site whose copy must survive a deletion.")
@click.option("--last-copy", is_flag=True, help="A deletion may remove the last copy.")
@click.option("--wait", is_flag=True, help="Wait until all are done, held or cancelled.")
@url_option
@json_option
def submit(
    kind: Kind,
    lfns: tuple[str, ...],
    file: TextIO | None,
    site: str,
    sources: tuple[str, ...],
    witness: str,
    last_copy: bool,
    wait: bool,
    url: str | None,
    as_json: bool,
) -> None:
    """Submits copies or deletions of files; what is wanted already is joined."""
    every = [*lfns, *(line.rstrip("\n") for line in (file or ()) if line.strip())]
    if not every:
        raise click.UsageError("expected LFNs, or --file")
    items = [OperationItem(kind, site, lfn, sources, witness, last_copy) for lfn in every]
    ids = _run(url, lambda client: _submitted(client, items))
    if wait:
        said = _run(url, lambda client: _awaited(client, ids))
        _show(said, as_json)
        done = all(each.state == "done" for each in said)
        click.get_current_context().exit(Exit.DONE if done else Exit.REFUSED)
    for number in ids:
        terminal.say(str(number))


async def _submitted(client: FileopsClient, items: Sequence[OperationItem]) -> list[int]:
    ids: list[int] = []
    with terminal.progress("submitted", len(items)) as bar:
        for start in range(0, len(items), BATCH_ITEMS_MAX):
            ids += await client.submit(items[start : start + BATCH_ITEMS_MAX])
            bar.reach(len(ids), len(items))
    return ids


async def _awaited(client: FileopsClient, ids: Sequence[int]) -> list[OperationSaid]:
    """All of these operations, once none is under way any more."""
    rest, found = set(ids), {}
    with terminal.progress("carried out", len(ids)) as bar:
        while rest:
            for number in list(rest):
                said = (await client.operation(number)).operation
                found[number] = said
                if said.state in (*ENDED, "held"):
                    rest.discard(number)
            bar.reach(len(ids) - len(rest), len(ids))
            if rest:
                await asyncio.sleep(LOOK_S)
    return [found[number] for number in ids]


@fileops.command("list", epilog=EXIT_STATUSES)
@click.option("--state", type=click.Choice(["queued", "active", "waiting", "held", "done", "cancelled"]))
@click.option("--kind", type=click.Choice(["copy", "delete"]))
@click.option("--site", metavar="SITE", help="Only operations at this site.")
@click.option("--order", type=int, metavar="ID", help="Only those of this order of placement.")
@click.option("--lfn", metavar="LFN", help="Only those on this file.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")
@url_option
@json_option
def list_command(url: str | None, as_json: bool, limit: int, **narrowed: Any) -> None:
    """Lists operations, all or narrowed."""

    async def found(client: FileopsClient) -> list[OperationSaid]:
        listed: list[OperationSaid] = []
        async for each in client.operations(**narrowed):
            listed.append(each)
            if len(listed) == limit:
                break
        return listed

    _show(_run(url, found), as_json)


def _show(said: Sequence[OperationSaid], as_json: bool) -> None:
    if as_json:
        for each in said:
            terminal.say_json(each)
    else:
        terminal.table(COLUMNS, [_row(each) for each in said])


def _row(said: OperationSaid) -> tuple[str, ...]:
    return (
        str(said.id),
        said.kind,
        said.site,
        said.state,
        str(said.attempts),
        terminal.shown_bytes(said.size),
        said.source or "-",
        said.lfn,
        said.reason or "-",
    )


@fileops.command(epilog=EXIT_STATUSES)
@click.argument("number", type=int, metavar="ID")
@url_option
@json_option
def story(number: int, url: str | None, as_json: bool) -> None:
    """Tells everything that happened to an operation, and why."""
    said: StorySaid = _run(url, lambda client: client.operation(number))
    if as_json:
        terminal.say_json(said)
        return
    terminal.table(COLUMNS, [_row(said.operation)])
    terminal.say("")
    rows = [(_moment(line.at_s), line.event, line.state, line.words) for line in said.story]
    terminal.table(("WHEN", "EVENT", "STATE", "WHY"), rows)


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


@fileops.command(epilog=EXIT_STATUSES)
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@url_option
@json_option
def cancel(ids: tuple[int, ...], url: str | None, as_json: bool) -> None:
    """Cancels operations. One under way ends at its next step; what it left is registered or removed."""
    _outcomes(_run(url, lambda client: client.cancel(ids)), as_json)


@fileops.command(epilog=EXIT_STATUSES)
@click.argument("ids", type=int, nargs=-1, metavar="[ID...]")
@click.option("--held", is_flag=True, help="All that are held.")
@click.option("--site", metavar="SITE", help="With --held: only those at this site.")
@url_option
@json_option
def release(ids: tuple[int, ...], held: bool, site: str | None, url: str | None, as_json: bool) -> None:
    """Gives operations that are held, or wait for their next try, another try now."""
    if bool(ids) == held:
        raise click.UsageError("expected numbers of operations, or --held")

    async def released(client: FileopsClient) -> OutcomesSaid:
        numbers = ids or [each.id async for each in client.operations(state="held", site=site)]
        outcomes = []
        for start in range(0, len(numbers), BATCH_ITEMS_MAX):
            outcomes += (await client.release(numbers[start : start + BATCH_ITEMS_MAX])).outcomes
        return OutcomesSaid(outcomes)

    _outcomes(_run(url, released), as_json)


def _outcomes(said: OutcomesSaid, as_json: bool) -> None:
    for each in said.outcomes:
        if as_json:
            terminal.say_json(each)
        elif each.code:
            terminal.note(f"{each.code}: {each.message}")
        else:
            terminal.say(f"{each.id} is {each.state}")
    refused = any(each.code for each in said.outcomes)
    click.get_current_context().exit(Exit.REFUSED if refused else Exit.DONE)


@fileops.command(epilog=EXIT_STATUSES)
@url_option
@json_option
def links(url: str | None, as_json: bool) -> None:
    """Shows how copies from each site to each other go: what part succeeds, and how fast."""
    said = _run(url, lambda client: client.links())
    if as_json:
        terminal.say_json(said)
        return
    rows = [
        (
            link.source,
            link.destination,
            f"{link.success:.0%}",
            f"{terminal.shown_bytes(int(link.rate))}/s",
            f"{link.copies:,}",
            f"{link.failures:,}",
            terminal.shown_bytes(link.bytes),
        )
        for link in said.links
    ]
    terminal.table(("FROM", "TO", ">SUCCESS", ">RATE", ">COPIES", ">FAILURES", ">VOLUME"), rows)


@fileops.command(epilog=EXIT_STATUSES)
@click.option("--site", default="", metavar="SITE", help="Only this site.  [default: all]")
@click.option("--undo", is_flag=True, help="Give it operations again.")
@click.option("--wait", is_flag=True, help="Wait until none is under way at the service.")
@url_option
@json_option
def drain(site: str, undo: bool, wait: bool, url: str | None, as_json: bool) -> None:
    """Begins no new operations, in all or at a site; those under way end. What waits goes on after --undo."""

    async def drained(client: FileopsClient) -> FileopsStatus:
        await client.drain(site, undo=undo)
        with terminal.progress("operations under way") as bar:
            while (status := await client.status()).active and wait:
                bar.reach(status.active, status.active)
                await asyncio.sleep(LOOK_S)
        return status

    said = _run(url, drained)
    if as_json:
        terminal.say_json(said)
    else:
        closed = ", ".join(name or "all sites" for name in said.drained) or "no site"
        terminal.say(f"drained: {closed}; {said.active} operations are under way")


@fileops.command(epilog=EXIT_STATUSES)
@click.option(
    "--hours", type=click.FloatRange(0, min_open=True), default=24.0, show_default=True, help="The last ones."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw them, as HTML.")
@url_option
@json_option
def history(hours: float, plot: Path | None, url: str | None, as_json: bool) -> None:
    """Shows the operations that ended lately; --plot draws volume, rates, and flows between sites."""
    since = time.time() - hours * 3600

    async def ended(client: FileopsClient) -> list[OperationSaid]:
        found = []
        with terminal.progress("operations") as bar:
            async for each in client.operations("/v1/history", since_s=since):
                found.append(each)
                bar.advance(1)
        return found

    said = _run(url, ended)
    if plot is None and as_json:
        _show(said, as_json)
        return
    if plot is None:
        terminal.table(ENDED_COLUMNS, [_ended_row(each) for each in said])
        return
    plots.draw(said, _run(url, lambda client: client.links()).links, plot)
    terminal.say(f"{len(said):,} operations are drawn in {plot}")


def _ended_row(said: OperationSaid) -> tuple[str, ...]:
    took = terminal.shown_bytes(said.moved), f"{said.seconds or 0.0:.2f}"
    number, kind, site, state, tries, _, *rest = _row(said)
    return (_moment(said.finished_s or 0.0), number, kind, site, state, tries, *took, *rest)


@fileops.command(epilog=EXIT_STATUSES)
@url_option
@json_option
def status(url: str | None, as_json: bool) -> None:
    """Shows what the service is and has to do, and the orders that it carries out."""
    said = _run(url, lambda client: client.status())
    orders = _run(url, lambda client: client.carried())
    if as_json:
        terminal.say_json(said)
        terminal.say_json(orders)
        return
    waiting = ", ".join(f"{count:,} {state}" for state, count in sorted(said.states.items())) or "nothing to do"
    terminal.say(f"{said.runner}: {waiting}" + (f"; feed: {said.feed_error}" if said.feed_error else ""))
    if said.remains:
        terminal.say(f"what {said.remains:,} copies that were given up may have left is looked for")
    if (fts3 := said.fts3) is not None:
        proxy = "" if fts3.proxy_until_s is None else f", its proxy is good until {_moment(fts3.proxy_until_s)}"
        wrong = f"; {fts3.error}" if fts3.error else ""
        terminal.say(f"{fts3.url}: {fts3.copies:,} copies in {fts3.jobs:,} jobs{proxy}{wrong}")
    rows = [
        (
            str(order.id),
            order.kind,
            order.site,
            order.state,
            f"{order.files_done:,}/{order.files:,}",
            terminal.shown_bytes(order.bytes_done),
            f"{order.files_held:,}",
            order.item,
            order.reason or "-",
        )
        for order in orders.orders
    ]
    terminal.table((">ORDER", "KIND", "SITE", "STATE", ">FILES", ">VOLUME", ">HELD", "ITEM", "REASON"), rows)


def _run(url: str | None, ask: Callable[[FileopsClient], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with FileopsClient(url or os.environ.get(VARIABLE, DEFAULT_URL)) as client:
            return await ask(client)

    return asyncio.run(asked())
