"""`reploc status`: every catalog and index node that is known, with what it holds and how well it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click
import msgspec

from reploc.client import LrcClient, RliNodeClient
from reploc.client.retry import Retrying
from reploc.client.transport import HttpTransport, Transport
from reploc.commands import discovery, terminal
from reploc.commands.discovery import Services
from reploc.commands.options import json_option, lrc_option, rli_option
from reploc.commands.terminal import EXIT_STATUSES, Exit
from reploc.errors import ConfigInvalid, ReplocError
from reploc.status import LrcStatus, RliStatus
from reploc.wire import (
    Answer,
    Members,
)

#: Seconds that one service may take to say how it is: one that needs longer is not well.
STATUS_S = 5.0

#: What fits a terminal of 80 columns; `--json` has the rest.
LRC_COLUMNS = ("CATALOG", "URL", ">UP", ">LFNS", ">MAPPINGS", ">STORE", "INDEX NODES")
RLI_COLUMNS = ("INDEX NODE", "URL", ">UP", ">SLOTS COMPLETE", ">SITES", ">SILENT", ">MEMORY")
PARENT_COLUMNS = ("INDEX NODE", "PARENT", "STATE", ">OWED SLOTS", ">LAG", "ERROR")
SITE_COLUMNS = ("SITE OR NODE BELOW", "URL", "STATE", ">HEARD FROM")


class Down(Answer, frozen=True):
    """A service that did not say how it is, as `--json` prints it."""

    kind: str
    url: str
    code: str
    detail: str


@click.command(epilog=EXIT_STATUSES)
@lrc_option
@rli_option
@json_option
def status(lrcs: tuple[str, ...], rlis: tuple[str, ...], as_json: bool) -> None:
    """Shows the catalogs and index nodes that are given or configured, and those that the index knows."""
    services = discovery.find(lrcs, rlis)
    if not (services.lrcs or services.rlis):
        raise ConfigInvalid("no service is known", hint="name one with --lrc or --rli, or in ~/.config/reploc.toml")
    found = asyncio.run(_ask(services))
    if as_json:
        for said in found:
            terminal.say_json(said)
    else:
        _show(found)
    down = [said for said in found if isinstance(said, Down)]
    worst = Exit.FAILED if len(down) == len(found) else Exit.INCOMPLETE
    click.get_current_context().exit(worst if down else Exit.DONE)


async def _ask(services: Services) -> list[msgspec.Struct]:
    """The status of every service, catalogs first, then the index nodes, then what the index knows of the sites."""
    transport = Retrying(HttpTransport())
    try:
        members = await _members(services.rlis, transport)
        nodes = [member.url for member in members.members if member.kind == "rli"] if members else []
        said = await asyncio.gather(
            *(_lrc(url, transport) for url in services.lrcs),
            *(_rli(url, transport) for url in dict.fromkeys([*services.rlis, *nodes])),
        )
        return [*said, members] if members else list(said)
    finally:
        await transport.close()


async def _members(urls: Sequence[str], transport: Transport) -> Members | None:
    """The members that the first node which answers knows."""
    for url in urls:
        try:
            return await RliNodeClient(url, request_s=STATUS_S, transport=transport).members()
        except ReplocError:
            continue
    return None


async def _lrc(url: str, transport: Transport) -> LrcStatus | Down:
    try:
        return await LrcClient(url, request_s=STATUS_S, transport=transport).status()
    except ReplocError as wrong:
        return Down("lrc", url, wrong.code, wrong.detail)


async def _rli(url: str, transport: Transport) -> RliStatus | Down:
    try:
        return await RliNodeClient(url, request_s=STATUS_S, transport=transport).status()
    except ReplocError as wrong:
        return Down("rli", url, wrong.code, wrong.detail)


def _show(found: Sequence[msgspec.Struct]) -> None:
    terminal.sections(
        [
            (LRC_COLUMNS, [_lrc_row(said) for said in found if isinstance(said, LrcStatus)]),
            (RLI_COLUMNS, [_rli_row(said) for said in found if isinstance(said, RliStatus)]),
            (PARENT_COLUMNS, [row for said in found if isinstance(said, RliStatus) for row in _parent_rows(said)]),
            (SITE_COLUMNS, [row for said in found if isinstance(said, Members) for row in _site_rows(said)]),
        ]
    )
    for said in found:
        if isinstance(said, Down):
            terminal.note(f"{said.code}: {said.detail}")


def _lrc_row(said: LrcStatus) -> tuple[str, ...]:
    current = sum(node.state == "current" for node in said.nodes)
    return (
        said.site,
        said.url,
        terminal.shown_age(said.uptime_s),
        f"{said.lfns:,}",
        f"{said.mappings:,}",
        terminal.shown_bytes(said.store_bytes),
        f"{current} of {len(said.nodes)} current",
    )


def _rli_row(said: RliStatus) -> tuple[str, ...]:
    return (
        said.node,
        said.url,
        terminal.shown_age(said.uptime_s),
        f"{said.slots_complete} of {said.slots_owned}",
        str(said.sites_live),
        str(said.sites_silent),
        terminal.shown_bytes(said.memory_bytes),
    )


def _parent_rows(said: RliStatus) -> list[tuple[str, ...]]:
    return [
        (
            said.node,
            parent.node,
            parent.state,
            str(parent.owed_slots),
            terminal.shown_age(parent.lag_s),
            parent.error,
        )
        for parent in said.parents
    ]


def _site_rows(said: Members) -> list[tuple[str, ...]]:
    return [
        (member.name, member.url, member.state, terminal.shown_age(member.age_s))
        for member in said.members
        if member.kind != "rli"
    ]
