"""`reploc placement locks`, `orders` and `history`: what may not go, what is on its way, and what was."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO

import click

from placement.client import PlacementClient
from placement.messages import LockItem, Numbers, WishItem
from placement.tools.asking import asked, moment, show, url_option
from reploc.commands import terminal
from reploc.commands.options import json_option
from reploc.commands.terminal import EXIT_STATUSES, Exit, shown_bytes

BY = click.option("--by", default="", metavar="WHO", help="On whose word.")
STATES = click.Choice(["new", "active", "done", "failed", "cancelled"])


# ---- locks -----------------------------------------------------------------------------------------------------------


@click.group()
def locks() -> None:
    """Locks: what may not be deleted."""


@locks.command("list", epilog=EXIT_STATUSES)
@click.option("--all", "every", is_flag=True, help="Those too that were released or have expired.")
@url_option
@json_option
def list_locks(every: bool, url: str | None, as_json: bool) -> None:
    """Lists the locks that hold."""
    after = 0
    while True:
        page = asked(url, partial(PlacementClient.locks, every=every, after=after))
        rows = [
            [
                str(each.id),
                each.item,
                each.site,
                each.group,
                each.placed_by or "-",
                moment(each.expires_s),
                moment(each.released_s),
                each.comment,
            ]
            for each in page.locks
        ]
        columns = (">ID", "ITEM", "SITE", "GROUP", "BY", "EXPIRES", "RELEASED", "COMMENT")
        show(page, columns, rows, as_json=as_json, empty="no locks")
        if page.next is None:
            return
        after = page.next


@locks.command("place", epilog=EXIT_STATUSES)
@click.argument("item")
@click.option("--site", default="*", show_default=True, help="The sites, a name or a glob pattern.")
@click.option("--group", default="*", show_default=True, help="Whose copies, a name or a glob pattern.")
@click.option("--until", "expires", type=click.DateTime(), help="When it expires, in UTC; else it is released by hand.")
@click.option("--comment", default="", help="Why.")
@BY
@url_option
@json_option
def place_lock(
    item: str, site: str, group: str, expires: datetime | None, comment: str, by: str, url: str | None, as_json: bool
) -> None:
    """Locks a dataset or block (`/dataset#block`), or those that a glob pattern names."""
    until = None if expires is None else expires.replace(tzinfo=UTC).timestamp()
    told = LockItem(item, site, group, until, comment)
    (number,) = asked(url, lambda client: client.lock([told], by))
    say_numbers([number], "placed lock", as_json)


@locks.command("release", epilog=EXIT_STATUSES)
@click.argument("numbers", type=int, nargs=-1, required=True, metavar="ID…")
@BY
@url_option
@json_option
def release_locks(numbers: tuple[int, ...], by: str, url: str | None, as_json: bool) -> None:
    """Releases locks by their numbers."""
    say_numbers(asked(url, lambda client: client.release(numbers, by)), "released lock", as_json)


# ---- orders ----------------------------------------------------------------------------------------------------------


@click.group()
def orders() -> None:
    """Orders: copies and deletions that are on their way."""


@orders.command("list", epilog=EXIT_STATUSES)
@click.option("--state", type=STATES, help="Only those in this state.")
@click.option("--item", help="Only those of this dataset and its blocks, or of this block.")
@click.option("--site", help="Only those at this site.")
@click.option("--cycle", type=int, help="Only those of this cycle.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@url_option
@json_option
def list_orders(cycle: int | None, limit: int, url: str | None, as_json: bool, **told: str | None) -> None:
    """Lists orders from the newest back."""
    asked_for = {**told, "cycle": None if cycle is None else str(cycle), "limit": str(limit)}
    given = {key: value for key, value in asked_for.items() if value is not None}
    page = asked(url, lambda client: client.order_history(**given))
    rows = [
        [
            str(each.id),
            each.kind,
            each.item,
            each.site,
            each.group or "-",
            each.state,
            str(len(each.blocks)),
            shown_bytes(sum(block.bytes for block in each.blocks)),
            each.asked_by,
            moment(each.created_s),
            each.reason,
        ]
        for each in page.orders
    ]
    columns = (">ID", "KIND", "ITEM", "SITE", "GROUP", "STATE", ">BLOCKS", ">SIZE", "BY", "SINCE", "REASON")
    show(page, columns, rows, as_json=as_json, empty="no orders")


@orders.command("copy", epilog=EXIT_STATUSES)
@click.argument("item")
@click.argument("site")
@click.option("--group", default="", help="Who shall own the copy.")
@BY
@url_option
@json_option
def order_copy(item: str, site: str, group: str, by: str, url: str | None, as_json: bool) -> None:
    """Orders a copy of a dataset or block (`/dataset#block`) to a SITE."""
    _order(WishItem("copy", item, site, group), by, url, as_json)


@orders.command("delete", epilog=EXIT_STATUSES)
@click.argument("item")
@click.argument("site")
@BY
@url_option
@json_option
def order_deletion(item: str, site: str, by: str, url: str | None, as_json: bool) -> None:
    """Orders that a dataset or block goes at a SITE; refused where no other copy of it would survive."""
    _order(WishItem("delete", item, site), by, url, as_json)


def _order(item: WishItem, by: str, url: str | None, as_json: bool) -> None:
    told = asked(url, lambda client: client.order([item], by))
    if as_json:
        terminal.say_json(told)
        return
    for numbers, what in ((told.written, "wrote"), (told.joined, "joined"), (told.cancelled, "cancelled")):
        if numbers:
            terminal.say(f"{what} order {', '.join(map(str, numbers))}")
    if told.handed_over:
        terminal.say(f"{told.handed_over} owners changed")


@orders.command("cancel", epilog=EXIT_STATUSES)
@click.argument("numbers", type=int, nargs=-1, required=True, metavar="ID…")
@click.option("--reason", default="", help="Why.")
@url_option
@json_option
def cancel_orders(numbers: tuple[int, ...], reason: str, url: str | None, as_json: bool) -> None:
    """Cancels orders that are open."""
    say_numbers(asked(url, lambda client: client.cancel(numbers, reason)), "cancelled order", as_json)


# ---- history ---------------------------------------------------------------------------------------------------------


@click.command(epilog=EXIT_STATUSES)
@click.option("--kind", help="Only cycles of this kind: detox, dealer.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@url_option
@json_option
def history(kind: str | None, limit: int, url: str | None, as_json: bool) -> None:
    """Lists cycles from the newest back: what decided, on which inventory, and what came of it."""
    given = {"limit": str(limit)} | ({} if kind is None else {"kind": kind})
    page = asked(url, lambda client: client.cycles(**given))
    rows = [
        [
            str(each.id),
            each.kind,
            moment(each.started_s),
            f"{each.ended_s - each.started_s:.1f} s",
            each.outcome,
            str(each.totals.get("orders", "-")),
            each.inventory,
            each.reason,
        ]
        for each in page.cycles
    ]
    columns = (">CYCLE", "KIND", "STARTED", ">TOOK", "OUTCOME", ">ORDERS", "INVENTORY", "REASON")
    show(page, columns, rows, as_json=as_json, empty="no cycles")


@click.command(epilog=EXIT_STATUSES)
@click.argument("number", type=click.IntRange(min=0), metavar="CYCLE")
@click.option("-o", "out", type=click.File("wb", lazy=True), required=True, metavar="FILE", help="Where to write them.")
@url_option
def decisions(number: int, out: BinaryIO, url: str | None) -> None:
    """Writes what a CYCLE decided to a file: of detox the plan, for `detox diff`, of others what their page says."""
    told = asked(url, lambda client: client.decisions(number)).decisions
    out.write(told)
    terminal.note(f"wrote {shown_bytes(len(told))}")


def say_numbers(numbers: list[int], what: str, as_json: bool) -> None:
    """Says what was done; the command is refused where there was nothing to do."""
    if as_json:
        terminal.say_json(Numbers(numbers))
    elif numbers:
        terminal.say(f"{what} {', '.join(map(str, numbers))}")
    if not numbers:
        terminal.note(f"no {what.rpartition(' ')[2]} was open")
        click.get_current_context().exit(Exit.REFUSED)
