"""`reploc locate` and `reploc lookup`: which sites may hold a file, and where its copies are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import click
import msgspec

from reploc.client import RliClient, demands
from reploc.client.listing import LFNS_LISTED, LFNS_LISTED_MAX, Listed
from reploc.client.locations import Located
from reploc.client.resolve import Lookup
from reploc.commands import discovery, input_files, terminal
from reploc.commands.input_files import Form, Line
from reploc.commands.options import (
    collection_option,
    deadline_option,
    file_option,
    format_option,
    json_option,
    max_age_option,
    rli_option,
)
from reploc.commands.terminal import EXIT_STATUSES, Exit
from reploc.names import require_site
from reploc.wire import UNORDERED, Existence, Location, Resolved

R = TypeVar("R")

LOCATED_COLUMNS = ("LFN", "SITE", ">AGE", "CATALOG")
EXISTS_COLUMNS = ("LFN", "EXISTS")
FOUND_COLUMNS = ("LFN", "SITE", ">SIZE", "PFN")


@dataclass(frozen=True)
class Findings:
    """What one request came to: messages for `--json`, rows for a table, notes on what is lacking, and the status."""

    messages: list[msgspec.Struct]
    rows: list[tuple[str, ...]]
    notes: list[str]
    status: Exit


class ExistsLine(msgspec.Struct, frozen=True):
    """What `locate --exists --json` prints of one LFN: `yes` where its site's catalog has confirmed it, `maybe` where
    the index alone has been asked, `no`, or `unknown` because not all sites were heard."""

    lfn: str
    exists: str


@click.command(epilog=EXIT_STATUSES)
@click.argument("lfns", nargs=-1, metavar="[LFN]...")
@click.option("--exists", "only_exists", is_flag=True, help="Say only whether any site has it.")
@click.option("--verify", is_flag=True, help="List only sites whose catalog says that it holds the LFN.")
@click.option("--pattern", metavar="GLOB", help="List all LFNs that match, of an index that is told whole names.")
@click.option(
    "--limit",
    type=click.IntRange(1, LFNS_LISTED_MAX),
    default=LFNS_LISTED,
    show_default=True,
    metavar="NUMBER",
    help="List at most so many LFNs that match.",
)
@collection_option
@max_age_option
@file_option
@format_option
@deadline_option
@rli_option
@json_option
def locate(
    lfns: tuple[str, ...],
    only_exists: bool,
    verify: bool,
    pattern: str | None,
    limit: int,
    collection: str | None,
    max_age_s: float | None,
    file: BinaryIO | None,
    form: Form | None,
    deadline_s: float,
    rlis: tuple[str, ...],
    as_json: bool,
) -> None:
    """Says which sites may hold each LFN, as the index knows it, and how old its news are.

    A site is listed falsely now and then (a filter's false positive, or a file just deleted), unless --verify is given;
    `reploc lookup` names the copies too. With --file each line is an LFN; further columns are of no interest.
    With --pattern there are no LFNs to name: those that match are listed, once all index nodes were asked.
    """
    if pattern is not None:
        if lfns or file is not None or only_exists or verify or collection is not None or max_age_s is not None:
            raise click.UsageError("--pattern lists what the index holds: it goes with --limit, --deadline and --rli")
        urls = discovery.find(rlis=rlis).index
        click.get_current_context().exit(asyncio.run(_list_all(urls, pattern, limit, deadline_s, as_json)))

    async def ask(client: RliClient, names: list[str]) -> Findings:
        located = await client.locate(names, deadline_s, max_age_s=max_age_s, verify=verify, collection=collection)
        return existence_findings(located, names, verify=verify) if only_exists else located_findings(located, names)

    columns = EXISTS_COLUMNS if only_exists else LOCATED_COLUMNS
    _run(_lines(lfns, file, form), rlis, ask, columns, as_json)


@click.command(epilog=EXIT_STATUSES)
@click.argument("lfns", nargs=-1, metavar="[LFN]...")
@max_age_option
@collection_option
@click.option("--client-site", metavar="SITE", help="List the copies nearest to this site first.")
@file_option
@format_option
@deadline_option
@rli_option
@json_option
def lookup(
    lfns: tuple[str, ...],
    max_age_s: float | None,
    collection: str | None,
    client_site: str | None,
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
    services = discovery.find(rlis=rlis)
    site = require_site(client_site) if client_site else services.client_site

    async def ask(client: RliClient, names: list[str]) -> Findings:
        found = await client.lookup(
            names,
            deadline_s,
            max_age_s=max_age_s,
            client_site=site,
            nearness=services.nearness,
            collection=collection,
        )
        return found_findings(found, names)

    _run(_lines(lfns, file, form), rlis, ask, FOUND_COLUMNS, as_json)


def located_findings(located: Located, lfns: list[str]) -> Findings:
    """What is printed of the index's answer about these LFNs."""
    messages = [located.of(lfn) for lfn in lfns]
    rows = [row for message in messages for row in _located_rows(message)]
    notes = [] if located.complete else _located_lacking(located)
    found = all(message.sites for message in messages)
    return Findings(list(messages), rows, notes, _status(located.complete, found))


def listed_findings(listed: Listed) -> Findings:
    """What is printed of all LFNs that match a pattern."""
    messages = listed.messages()
    rows = [row for message in messages for row in _located_rows(message)]
    lacking = _lacking(listed.missing, {}, listed.nodes, []) if listed.missing or listed.nodes else []
    if listed.cut:
        lacking.append(f"incomplete: there may be more than {len(messages)} LFNs; narrow the pattern or raise --limit")
    notes = [] if listed.complete else lacking or _lacking([], {}, {}, [])
    return Findings(list(messages), rows, notes, _status(listed.complete, bool(messages)))


def existence_findings(located: Located, lfns: list[str], *, verify: bool) -> Findings:
    """What is printed of the same answer where only existence was asked for."""
    said = demands.existence(located.said)
    of = _existence_of(said, "yes" if verify else "maybe")
    messages = [ExistsLine(lfn, of[lfn]) for lfn in lfns]
    rows = [(message.lfn, message.exists) for message in messages]
    notes = _located_lacking(located) if said.unknown else []
    return Findings(list(messages), list(rows), notes, _status(not said.unknown, found=not said.nowhere))


def _existence_of(said: Existence, held: str) -> dict[str, str]:
    parts = ((held, said.may_hold), ("no", said.nowhere), ("unknown", said.unknown))
    return {lfn: word for word, part in parts for lfn in part}


def _located_lacking(located: Located) -> list[str]:
    said = located.said
    unverified = dict.fromkeys(said.unverified, "it did not say whether it holds the LFN")
    return _lacking(said.missing, unverified, located.nodes, said.stale)


def found_findings(looked_up: Lookup, lfns: list[str]) -> Findings:
    """What is printed of the catalogs' answers about these LFNs."""
    messages = [looked_up.of(lfn) for lfn in lfns]
    rows = [row for message in messages for row in _found_rows(message)]
    why = (looked_up.missing, looked_up.unreachable, looked_up.nodes, looked_up.stale)
    notes = [] if looked_up.complete else _lacking(*why)
    if looked_up.ordering.reason and looked_up.ordering != UNORDERED:
        by = looked_up.ordering.by.replace("_", " ")
        notes.append(f"copies are ordered by {by}: {looked_up.ordering.reason}")
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


def _lacking(missing: list[str], unreachable: dict[str, str], nodes: dict[str, str], stale: list[str]) -> list[str]:
    named = [
        *(f"incomplete: the index has no news of site {site}" for site in missing),
        *(f"incomplete: the news of site {site} is too old, and it could not be asked" for site in stale),
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


async def _list_all(urls: tuple[str, ...], pattern: str, limit: int, deadline_s: float, as_json: bool) -> Exit:
    """Prints all LFNs that match, and what is lacking."""
    async with RliClient(urls) as client:
        findings = listed_findings(await client.matching(pattern, limit, deadline_s))
    _show(findings, LOCATED_COLUMNS, as_json)
    for note in findings.notes:
        terminal.note(note)
    return findings.status


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
