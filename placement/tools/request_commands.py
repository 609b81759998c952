"""`reploc placement request`: copies and deletions that people want, and how they stand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import BinaryIO

import click

from placement.request_messages import DataRequest, RequestBody, Requested, RequestItem
from placement.tools.asking import asked, decoded, moment, show, url_option
from placement.tools.order_commands import BY, say_numbers
from reploc.commands import terminal
from reploc.commands.options import json_option
from reploc.commands.terminal import EXIT_STATUSES, shown_bytes
from reploc.wire import PAGE_ITEMS

STATES = click.Choice(["new", "activated", "completed", "rejected", "cancelled"])


@click.group("request")
def request() -> None:
    """Requests: what people want to be copied or deleted, until it is so."""


@request.command("copy", epilog=EXIT_STATUSES)
@click.argument("item")
@click.argument("sites", nargs=-1, required=True, metavar="SITE…")
@click.option("--copies", type=click.IntRange(min=1), help="How many copies over the sites; else one at each of them.")
@click.option("--group", default="", help="Who shall own the copies.")
@BY
@url_option
@json_option
def request_copy(
    item: str, sites: tuple[str, ...], copies: int | None, group: str, by: str, url: str | None, as_json: bool
) -> None:
    """Asks for copies of a dataset or block (`/dataset#block`) over SITEs, which are names or glob patterns."""
    _ask([RequestItem("copy", item, list(sites), group, copies)], by, url, as_json)


@request.command("delete", epilog=EXIT_STATUSES)
@click.argument("item")
@click.argument("sites", nargs=-1, required=True, metavar="SITE…")
@BY
@url_option
@json_option
def request_deletion(item: str, sites: tuple[str, ...], by: str, url: str | None, as_json: bool) -> None:
    """Asks that a dataset or block goes at SITEs, as soon as it is not locked and another copy survives."""
    _ask([RequestItem("delete", item, list(sites))], by, url, as_json)


@request.command("import", epilog=EXIT_STATUSES)
@click.argument("file", type=click.File("rb"))
@BY
@url_option
@json_option
def import_requests(file: BinaryIO, by: str, url: str | None, as_json: bool) -> None:
    """Makes the requests of a JSON FILE, all or nothing: {"requests": [{"kind": "copy", "item": …, "sites": […]}]}."""
    told = decoded(file, RequestBody)
    _ask(told.requests, by or told.asked_by, url, as_json)


def _ask(items: list[RequestItem], by: str, url: str | None, as_json: bool) -> None:
    told: Requested = asked(url, lambda client: client.ask(items, by))
    if as_json:
        terminal.say_json(told)
        return
    new = [number for number in told.ids if number not in told.joined]
    for numbers, what in ((new, "made"), (told.joined, "joined")):
        if numbers:
            terminal.say(f"{what} request {', '.join(map(str, numbers))}")


@request.command("list", epilog=EXIT_STATUSES)
@click.option("--state", type=STATES, help="Only those in this state.")
@click.option("--kind", type=click.Choice(["copy", "delete"]), help="Only those for copies, or for deletions.")
@click.option("--item", help="Only those of this dataset and its blocks, or of this block.")
@click.option("--site", help="Only those that name this site.")
@click.option("--by", help="Only those of whom this text names.")
@click.option("--since", type=click.DateTime(), help="Only those made since then, in UTC.")
@click.option("--until", type=click.DateTime(), help="Only those made before then, in UTC.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@url_option
@json_option
def list_requests(
    since: datetime | None, until: datetime | None, limit: int, url: str | None, as_json: bool, **told: str | None
) -> None:
    """Lists requests from the newest back."""
    given = {key: value for key, value in told.items() if value is not None}
    given |= {name: _seconds(when) for name, when in (("since_s", since), ("until_s", until)) if when is not None}
    left = limit
    while left:
        given["limit"] = str(min(left, PAGE_ITEMS))
        page = asked(url, lambda client: client.requests(**given))
        show(page, _COLUMNS, [_row(each) for each in page.requests], as_json=as_json, empty="no requests")
        left -= len(page.requests)
        if page.next is None:
            return
        given["before"] = str(page.next)


_COLUMNS = (">ID", "KIND", "ITEM", "SITES", ">COPIES", "GROUP", "STATE", "ORDERS", ">ARRIVED", "BY", "SINCE", "REASON")


def _row(each: DataRequest) -> list[str]:
    done, size = (sum(getattr(order, name) for order in each.orders) for name in ("bytes_done", "bytes"))
    return [
        str(each.id),
        each.kind,
        each.item,
        ",".join(each.sites),
        "each" if each.copies is None else str(each.copies),
        each.group or "-",
        each.state,
        ",".join(f"{order.id}:{order.state}" for order in each.orders) or "-",
        f"{shown_bytes(done)} of {shown_bytes(size)}" if each.orders else "-",
        each.asked_by,
        moment(each.created_s),
        each.reason,
    ]


def _seconds(when: datetime) -> str:
    return str(int(when.replace(tzinfo=UTC).timestamp()))


@request.command("cancel", epilog=EXIT_STATUSES)
@click.argument("numbers", type=int, nargs=-1, required=True, metavar="ID…")
@click.option("--reason", default="", help="Why.")
@url_option
@json_option
def cancel_requests(numbers: tuple[int, ...], reason: str, url: str | None, as_json: bool) -> None:
    """Cancels requests that are open, and the orders that were written for them alone."""
    say_numbers(asked(url, lambda client: client.cancel_requests(numbers, reason)), "cancelled request", as_json)
