"""Orders in the database: written by cycles and people, handed to carriers as a feed, and told by them how it went.

What a new order meets decides what becomes of it (`docs/placement.md`, Orders). A block that an open order of the same
kind wants at the same site already joins that order. An open order of the other kind is cancelled; after a
deletion that nobody had begun no copy is needed. A copy makes its group the owner, so that the group that wants what
another one has deleted gets it without anything being moved.

An ended order stays *pending* until the news of its site has reached the catalog position of its last registration or
removal, so that old news is never taken for the state of things. Every change takes the next number of the feed, inside
the one write at a time, so that numbers become visible in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, insert, or_, select, update

from placement import datasets, intents, tables
from placement.database import DECISIONS, ORDERS, advance, count
from placement.intents import Owner
from placement.messages import OrderHistoryQuery, Written
from reploc.errors import DefinitionUnknown, InventoryInvalid, OrderEnded
from reploc.orders import BlockOrder, Order, OrderKind, OrderReport, Orders, OrderState

OPEN: tuple[OrderState, ...] = ("new", "active")
#: What a carrier may say after which state: what has ended stays as it ended, and what is active is not new again.
FOLLOWS: Mapping[str, frozenset[str]] = {
    "new": frozenset({"active", "done", "failed", "cancelled"}),
    "active": frozenset({"active", "done", "failed", "cancelled"}),
    "done": frozenset({"done"}),
    "failed": frozenset({"failed"}),
}
#: The position of an order that was cancelled under its carrier, who has not said yet what it did: no news reaches it.
UNTOLD = 1 << 62
#: Seconds after which a carrier that said nothing of a cancelled order is not waited for any more.
UNTOLD_S = 3_600.0
#: Numbers in one statement: SQLite takes 32,766 parameters.
NUMBERS_AT_ONCE = 10_000
_BLOCKS = msgspec.json.Decoder(tuple[BlockOrder, ...])


@dataclass(frozen=True)
class Wish:
    """Blocks that shall be copied to a site, or deleted there."""

    kind: OrderKind
    item: str
    site: str
    group: str
    blocks: tuple[BlockOrder, ...]


@dataclass(frozen=True)
class Handover:
    """Blocks at a site that shall have another owner; all of a dataset's where `blocks` is empty."""

    item: str
    site: str
    group: str
    blocks: tuple[str, ...] = ()


# ---- writing ---------------------------------------------------------------------------------------------------------


def write(
    connection: Connection,
    wishes: Sequence[Wish],
    handovers: Sequence[Handover] = (),
    *,
    asked_by: str,
    now: float,
    cycle: int | None = None,
) -> Written:
    """Writes orders and changes of owners, all in the transaction of who calls.

    Raises DefinitionUnknown: a site, group, dataset or block that is not defined; InventoryInvalid: wishes that
    contradict each other.
    """
    writing = _Writing(connection, asked_by, now, cycle)
    for wish in wishes:
        writing.wish(wish)
    for handover in handovers:
        writing.handed_over += hand_over(connection, handover)
    written = writing.flush()
    if written or writing.cancelled or writing.handed_over:
        advance(connection, DECISIONS)
    return Written(written, sorted(writing.joined), sorted(writing.cancelled), writing.handed_over)


class _Writing:
    """One writing of orders: what is open at each site that it meets, and what it has decided."""

    def __init__(self, connection: Connection, asked_by: str, now: float, cycle: int | None) -> None:
        self.joined: set[int] = set()
        self.cancelled: set[int] = set()
        self.handed_over = 0
        self._connection = connection
        self._told = {"asked_by": asked_by, "created_s": now, "cycle_id": cycle}
        self._sites = intents.ids(connection, tables.sites)
        self._open: dict[str, dict[str, Order]] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        self._rows: list[dict[str, Any]] = []

    def wish(self, wish: Wish) -> None:
        intents.known_id(self._sites, wish.site, "site")
        met: dict[int, Order] = {}
        wanted = []
        for block in wish.blocks:
            if self._kinds.setdefault((wish.site, block.name), wish.kind) != wish.kind:
                raise InventoryInvalid(f"{block.name!r} at {wish.site} shall be copied and deleted at once")
            order = self._opened(wish.site).get(block.name)
            if order is not None and order.kind == wish.kind:
                self.joined.add(order.id)
                continue
            if order is not None:
                met[order.id] = order
            if order is None or order.state != "new" or order.kind == "copy":
                wanted.append(block)
        for order in met.values():
            self._cancel_for(order, wish)
        if wish.kind == "copy" and wish.group:
            blocks = tuple(block.name for block in wish.blocks)
            self.handed_over += hand_over(self._connection, Handover(wish.item, wish.site, wish.group, blocks))
        if wanted:
            self._add(wish, wanted)

    def _opened(self, site: str) -> dict[str, Order]:
        """The open order about each block at a site."""
        if site not in self._open:
            self._open[site] = {
                block.name: order for order in open_at(self._connection, site) for block in order.blocks
            }
        return self._open[site]

    def _cancel_for(self, order: Order, wish: Wish) -> None:
        """Cancels an open order that a wish is the opposite of; blocks that it is not about are ordered again."""
        _cancel(self._connection, order.id, order.state, f"{wish.kind} of {wish.item} is wanted instead", self._told)
        self.cancelled.add(order.id)
        gone = {block.name for block in wish.blocks}
        held = self._opened(order.site)
        for block in order.blocks:
            held.pop(block.name, None)
        if rest := [block for block in order.blocks if block.name not in gone]:
            self._add(Wish(order.kind, order.item, order.site, order.group, ()), rest, order.asked_by)

    def _add(self, wish: Wish, blocks: Sequence[BlockOrder], asked_by: str | None = None) -> None:
        told = self._told if asked_by is None else self._told | {"asked_by": asked_by}
        self._rows.append(
            {
                **told,
                "kind": wish.kind,
                "item": wish.item,
                "site": wish.site,
                "group": wish.group,
                "blocks": msgspec.json.encode(blocks),
                "state": "new",
                "files": sum(block.files for block in blocks),
                "files_done": 0,
                "bytes": sum(block.bytes for block in blocks),
                "bytes_done": 0,
                "position": 0,
                "reason": "",
                "pending": True,
            }
        )

    def flush(self) -> list[int]:
        """Inserts what was decided; the numbers of the orders."""
        if not self._rows:
            return []
        before = advance(self._connection, ORDERS, len(self._rows))
        rows = [row | {"change": before + number} for number, row in enumerate(self._rows, 1)]
        self._connection.execute(insert(tables.orders), rows)
        table = tables.orders
        return list(
            self._connection.scalars(select(table.c.id).where(table.c.change > before).order_by(table.c.change))
        )


def hand_over(connection: Connection, told: Handover) -> int:
    """Gives blocks at a site to a group; how many records of owners changed. Raises DefinitionUnknown."""
    site = intents.known_id(intents.ids(connection, tables.sites), told.site, "site")
    group = intents.known_id(intents.ids(connection, tables.groups), told.group, "group")
    dataset = told.item.partition("#")[0]
    found = datasets.ordinals(connection, dataset)
    if found is None:
        raise DefinitionUnknown(f"dataset {dataset!r} is not defined")
    held = found.blocks
    unknown = [name for name in told.blocks if name not in held]
    if unknown:
        raise DefinitionUnknown(f"block {unknown[0]!r} is not defined")
    whole = intents.of(connection, found.id, site)
    mine = intents.blocks_of(connection, found.id, site, group) | {held[name] for name in told.blocks}
    if not told.blocks or mine == set(held.values()):
        changed = intents.drop_blocks(connection, found.id, site, held.values())
        kept = whole or Owner(found.id, None, site, group)
        return changed + intents.own(connection, [Owner(found.id, None, site, group, kept.growing, kept.custodial)])
    if whole is not None and whole.group_id == group:
        return intents.drop_blocks(connection, found.id, site, [held[name] for name in told.blocks])
    return intents.own(connection, [Owner(found.id, held[name], site, group) for name in told.blocks])


def disown(connection: Connection, dataset: str, site: str, blocks: Sequence[str]) -> int:
    """Forgets who owns blocks that were deleted at a site, and who owns the dataset there when all of it was.

    Of a dataset replica of which some was deleted nothing new is wanted: it does not grow any more.
    """
    site_id = intents.ids(connection, tables.sites).get(site)
    found = datasets.ordinals(connection, dataset)
    if found is None or site_id is None:
        return 0
    gone = [found.blocks[name] for name in blocks if name in found.blocks]
    changed = intents.drop_blocks(connection, found.id, site_id, gone)
    if set(found.blocks) <= set(blocks):
        changed += intents.own(connection, [Owner(found.id, None, site_id, None)])
    elif gone and (whole := intents.of(connection, found.id, site_id)) is not None:
        changed += intents.own(connection, [replace(whole, growing=False)])
    return changed


# ---- what carriers report --------------------------------------------------------------------------------------------


def report(connection: Connection, reports: Iterable[OrderReport], now: float) -> None:
    """Takes over what carriers say; a repeated or late report changes nothing.

    Raises DefinitionUnknown: there is no such order; OrderEnded: it ended otherwise, and the report says so again.
    """
    for told in reports:
        row = connection.execute(select(tables.orders).where(tables.orders.c.id == told.id)).mappings().one_or_none()
        if row is None:
            raise DefinitionUnknown(f"order {told.id} is not defined")
        if row["state"] == "cancelled":
            if told.state != "active":
                _note_end(connection, row, told.position)
        elif told.state in FOLLOWS[row["state"]]:
            _take(connection, row, told, now)
        elif told.state != "active":
            raise OrderEnded(f"order {told.id} is {row['state']}; it cannot become {told.state}")


def _take(connection: Connection, row: RowMapping, told: OrderReport, now: float) -> None:
    ended = told.state not in OPEN
    values = {
        "state": told.state,
        "files": max(told.files, row["files"] if not told.files else 0),
        "files_done": told.files_done,
        "bytes": max(told.bytes, row["bytes"] if not told.bytes else 0),
        "bytes_done": told.bytes_done,
        "position": max(told.position, row["position"]),
        "reason": told.reason,
    }
    if all(row[name] == value for name, value in values.items()):
        return
    values["change"] = advance(connection, ORDERS) + 1
    if ended and row["ended_s"] is None:
        values["ended_s"] = now
        if told.state == "done" and row["kind"] == "delete":
            blocks = [block.name for block in _BLOCKS.decode(row["blocks"])]
            disown(connection, row["item"].partition("#")[0], row["site"], blocks)
    connection.execute(update(tables.orders).where(tables.orders.c.id == row["id"]).values(values))


def _note_end(connection: Connection, row: RowMapping, position: int) -> None:
    """A carrier that hears late of a cancellation says what it did until then: its position counts."""
    if row["position"] == UNTOLD or position > row["position"]:
        values = {"position": position, "pending": True, "change": advance(connection, ORDERS) + 1}
        connection.execute(update(tables.orders).where(tables.orders.c.id == row["id"]).values(values))


def cancel(connection: Connection, ids: Sequence[int], reason: str, now: float) -> list[int]:
    """Cancels open orders; those that had not ended. Raises DefinitionUnknown for a number that is none's."""
    cancelled = []
    for number in ids:
        state = connection.scalar(select(tables.orders.c.state).where(tables.orders.c.id == number))
        if state is None:
            raise DefinitionUnknown(f"order {number} is not defined")
        if state in OPEN:
            _cancel(connection, number, state, reason, {"created_s": now})
            cancelled.append(number)
    if cancelled:
        advance(connection, DECISIONS)
    return cancelled


def _cancel(connection: Connection, number: int, state: str, reason: str, told: Mapping[str, Any]) -> None:
    values = {
        "state": "cancelled",
        "reason": reason,
        "ended_s": told["created_s"],
        "change": advance(connection, ORDERS) + 1,
        "position": UNTOLD if state == "active" else 0,
    }
    connection.execute(update(tables.orders).where(tables.orders.c.id == number).values(values))


# ---- positions -------------------------------------------------------------------------------------------------------


def observed(connection: Connection, positions: Mapping[str, int], now: float) -> int:
    """Takes ended orders out of the pending ones whose site's news has reached their position; how many."""
    numbers = list(connection.scalars(select(tables.orders.c.id).where(_settled(positions, now))))
    if numbers:
        advance(connection, ORDERS)
        for begin in range(0, len(numbers), NUMBERS_AT_ONCE):
            chosen = tables.orders.c.id.in_(numbers[begin : begin + NUMBERS_AT_ONCE])
            connection.execute(update(tables.orders).where(chosen).values(pending=False))
    return len(numbers)


def any_observed(connection: Connection, positions: Mapping[str, int], now: float) -> bool:
    """Whether `observed` would find something: a question that needs no write."""
    return connection.scalar(select(tables.orders.c.id).where(_settled(positions, now)).limit(1)) is not None


def _settled(positions: Mapping[str, int], now: float) -> ColumnElement[bool]:
    table = tables.orders
    here = [and_(table.c.site == site, table.c.position <= at) for site, at in positions.items()]
    unheard = and_(table.c.position == UNTOLD, table.c.ended_s <= now - UNTOLD_S)
    return and_(table.c.pending, table.c.state.not_in(OPEN), or_(table.c.position == 0, unheard, *here))


# ---- reading ---------------------------------------------------------------------------------------------------------


def feed(connection: Connection, after: int, limit: int, carries: Callable[[str], bool] = lambda _: True) -> Orders:
    """Orders that changed behind a place of the feed, of the sites that `carries` says yes to."""
    table = tables.orders
    while True:
        later = select(table).where(table.c.change > after).order_by(table.c.change).limit(limit)
        rows = connection.execute(later).mappings().all()
        found = tuple(_order(row) for row in rows if carries(row["site"]))
        last = rows[-1]["change"] if rows else max(after, count(connection, ORDERS))
        if found or len(rows) < limit:
            return Orders(found, last)
        after = last


def pending(connection: Connection) -> list[Order]:
    """Open orders, and ended ones that are not observed yet."""
    table = tables.orders
    counts = table.c.pending & (table.c.state.in_(OPEN) | (table.c.position > 0))
    return [_order(row) for row in connection.execute(select(table).where(counts).order_by(table.c.id)).mappings()]


def failed_since(connection: Connection, moment: float) -> set[tuple[str, str]]:
    """Blocks and sites of copies that failed since a moment."""
    table = tables.orders
    late = (table.c.kind == "copy") & (table.c.state == "failed") & (table.c.ended_s >= moment)
    rows = connection.execute(select(table.c.site, table.c.blocks).where(late))
    return {(block.name, site) for site, blocks in rows for block in _BLOCKS.decode(blocks)}


def history(connection: Connection, asked: OrderHistoryQuery) -> Orders:
    """Orders from the newest back; `next` is what to ask `before` next, 0 on the last page."""
    table = tables.orders
    wanted = select(table).order_by(table.c.id.desc()).limit(asked.limit + 1)
    for column, value in ((table.c.state, asked.state), (table.c.site, asked.site), (table.c.cycle_id, asked.cycle)):
        if value is not None:
            wanted = wanted.where(column == value)
    if asked.item is not None:
        wanted = wanted.where(of_item(table.c.item, asked.item))
    if asked.before is not None:
        wanted = wanted.where(table.c.id < asked.before)
    rows = connection.execute(wanted).mappings().all()
    page = tuple(_order(row) for row in rows[: asked.limit])
    return Orders(page, page[-1].id if len(rows) > asked.limit else 0)


def of_item(column: ColumnElement[str], item: str) -> ColumnElement[bool]:
    """Whether a column names an item, or a block of it where it is a dataset."""
    blocks = f"{item}#"
    return or_(column == item, func.substr(column, 1, len(blocks)) == blocks)


def open_at(connection: Connection, site: str) -> list[Order]:
    """The open orders at a site, the oldest first."""
    table = tables.orders
    here = (table.c.site == site) & table.c.pending & table.c.state.in_(OPEN)
    return [_order(row) for row in connection.execute(select(table).where(here).order_by(table.c.id)).mappings()]


def _order(row: RowMapping) -> Order:
    told: dict[str, Any] = {name: row[name] for name in _COPIED}
    return Order(**told, blocks=_BLOCKS.decode(row["blocks"]))


_COPIED = (
    "id",
    "kind",
    "item",
    "site",
    "group",
    "state",
    "asked_by",
    "created_s",
    "change",
    "files_done",
    "bytes_done",
    "reason",
)
