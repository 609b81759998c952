"""`reploc locate` and `reploc lookup`: which sites may hold a file, and where its copies are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import click
import msgspec

from reploc.client import RliClient
from reploc.client.locations import Located
from reploc.client.resolve import Lookup
from reploc.commands import discovery, input_files, terminal
from reploc.commands.input_files import Form, Line
from reploc.commands.options import deadline_option, file_option, format_option, json_option, rli_option
from reploc.commands.terminal import EXIT_STATUSES, Exit
from reploc.wire import Location, Resolved

R = TypeVar("R")

LOCATED_COLUMNS = ("LFN", "SITE", ">AGE", "CATALOG")
FOUND_COLUMNS = ("LFN", "SITE", ">SIZE", "PFN")


@dataclass(frozen=True)
class Findings:
    """What one request came to: messages for `--json`, rows for a table, notes on what is lacking, and the status."""

    messages: list[msgspec.Struct]
    rows: list[tuple[str, ...]]
    notes: list[str]
    status: Exit


@click.command(epilog=EXIT_STATUSES)
@click.argument("lfns", nargs=-1, metavar="[LFN]...")
@file_option
@format_option
@deadline_option
@rli_option
@json_option
def locate(
    lfns: tuple[str, ...],
    file: BinaryIO | None,
    form: Form | None,
    deadline_s: float,
    rlis: tuple[str, ...],
    as_json: bool,
) -> None:
    """Says which sites may hold each LFN, as the index knows it, and how old its news are.

    A site is listed falsely now and then (a filter's false positive, or a file just deleted); `reploc lookup` asks the
    sites themselves. With --file each line is an LFN; further columns are of no interest.
    """

    async def ask(client: RliClient, names: list[str]) -> Findings:
        return located_findings(await client.locate(names, deadline_s), names)

    _run(_lines(lfns, file, form), rlis, ask, LOCATED_COLUMNS, as_json)


@click.command(epilog=EXIT_STATUSES)
@click.argument("lfns", nargs=-1, metavar="[LFN]...")
@file_option
@format_option
@deadline_option
@rli_option
@json_option
def lookup(
    lfns: tuple[str, ...],
    file: BinaryIO | None,
    form: Form | None,
    deadline_s: float,
    rlis: tuple[str, ...],
    as_json: bool,
) -> None:
    """Finds the copies of each LFN: asks the index for the sites, and their catalogs for the copies.

    Every PFN that is printed was named by its site's own catalog just now. Sites that could not be asked are named.
    With --file each line is an LFN; further columns are of no interest.
    """

    async def ask(client: RliClient, names: list[str]) -> Findings:
        return found_findings(await client.lookup(names, deadline_s), names)

    _run(_lines(lfns, file, form), rlis, ask, FOUND_COLUMNS, as_json)


def located_findings(located: Located, lfns: list[str]) -> Findings:
    """What is printed of the index's answer about these LFNs."""
    messages = [located.of(lfn) for lfn in lfns]
    rows = [row for message in messages for row in _located_rows(message)]
    notes = [] if located.complete else _lacking(located.said.missing, {}, located.nodes)
    found = all(message.sites for message in messages)
    return Findings(list(messages), rows, notes, _status(located.complete, found))


def found_findings(looked_up: Lookup, lfns: list[str]) -> Findings:
    """What is printed of the catalogs' answers about these LFNs."""
    messages = [looked_up.of(lfn) for lfn in lfns]
    rows = [row for message in messages for row in _found_rows(message)]
    notes = [] if looked_up.complete else _lacking(looked_up.missing, looked_up.unreachable, looked_up.nodes)
    found = all(message.replicas for message in messages)
    return Findings(list(messages), rows, notes, _status(looked_up.complete, found))


def _located_rows(said: Location) -> list[tuple[str, ...]]:
    if not said.sites:
        return [(said.lfn, "nowhere" if said.complete else "unknown", "-", "-")]
    return [(said.lfn, site.site, terminal.shown_age(site.age_s), site.lrc) for site in said.sites]


def _found_rows(said: Resolved) -> list[tuple[str, ...]]:
    if not said.replicas:
        return [(said.lfn, "nowhere" if said.complete else "unknown", "-", "-")]
    return [
        (said.lfn, replica.site, terminal.shown_bytes(replica.size), pfn)
        for replica in said.replicas
        for pfn in replica.pfns
    ]


def _lacking(missing: list[str], unreachable: dict[str, str], nodes: dict[str, str]) -> list[str]:
    """What keeps an answer from being complete; where nobody is to be named, a node that has just started."""
    named = [
        *(f"incomplete: the index has no news of site {site}" for site in missing),
        *(f"incomplete: site {site} could not be asked: {why}" for site, why in unreachable.items()),
        *(f"incomplete: index node {node} could not be asked: {why}" for node, why in nodes.items()),
    ]
    return named or ["incomplete: the index does not know all sites yet; other sites may hold copies"]


def _status(complete: bool, found: bool) -> Exit:
    if not complete:
        return Exit.INCOMPLETE
    return Exit.DONE if found else Exit.REFUSED


def _lines(lfns: tuple[str, ...], file: BinaryIO | None, form: Form | None) -> Iterator[Line[str]]:
    if bool(lfns) == (file is not None):
        raise click.UsageError("expected LFNs or --file" + (", not both" if lfns else ""))
    return input_files.lfns_in(file, form) if file else input_files.named(lfns)


def _run(
    lines: Iterator[Line[str]],
    rlis: tuple[str, ...],
    ask: Callable[[RliClient, list[str]], Awaitable[Findings]],
    columns: tuple[str, ...],
    as_json: bool,
) -> None:
    urls = discovery.find(rlis=rlis).index
    status = asyncio.run(_ask_all(urls, lines, ask, columns, as_json))
    click.get_current_context().exit(status)


async def _ask_all(
    urls: tuple[str, ...],
    lines: Iterator[Line[str]],
    ask: Callable[[RliClient, list[str]], Awaitable[Findings]],
    columns: tuple[str, ...],
    as_json: bool,
) -> Exit:
    """Asks chunk by chunk, prints each answer and every note once; the status is that of the worst chunk."""
    status, noted = Exit.DONE, set[str]()
    with terminal.progress("looked up", printing=True) as bar:
        async with RliClient(urls) as client:
            for chunk in input_files.chunks(lines):
                findings = await ask(client, [line.item for line in chunk])
                _show(findings, columns, as_json)
                for note in findings.notes:
                    if note not in noted:
                        terminal.note(note)
                noted.update(findings.notes)
                status = max(status, findings.status)
                bar.advance(len(chunk))
    return status


def _show(findings: Findings, columns: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        for message in findings.messages:
            terminal.say_json(message)
    else:
        terminal.table(columns, findings.rows)
