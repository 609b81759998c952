"""Requests in the database: what people want of copies and deletions, from their asking to their end.

A request says what shall be, not what shall be done: so many copies over some sites, or none there. So it stays open
until that is so, whatever becomes of single orders: `new` while nothing could be ordered, `activated` once something
was, then `completed`. It is `rejected`, with the reason, where it cannot be fulfilled, and `cancelled` by a person.
Ends stay as they are. Who asks again for what is open already is given the number of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, func, insert, select, update

from placement import datasets, intents, orders, tables
from placement.database import DECISIONS, advance
from placement.request_messages import (
    DataRequest,
    DataRequests,
    Requested,
    RequestItem,
    RequestOrder,
    RequestsQuery,
    RequestState,
)
from reploc import names
from reploc.errors import DefinitionUnknown, InventoryInvalid
from reploc.orders import Order

OPEN: tuple[RequestState, ...] = ("new", "activated")
_SITES = msgspec.json.Decoder(list[str])


@dataclass(frozen=True)
class Ruling:
    """What is decided about a request: its state, why, and the sites at which orders were written for it just now."""

    id: int
    state: RequestState
    reason: str = ""
    sites: tuple[str, ...] = ()


# ---- what people say -------------------------------------------------------------------------------------------------


def ask(connection: Connection, items: Sequence[RequestItem], asked_by: str, now: float) -> Requested:
    """Takes requests. Raises DefinitionUnknown and InventoryInvalid, saying what cannot be asked for and why."""
    _require_known(connection, items)
    _require_no_opposite(connection, items)
    ids, joined = [], []
    for item in items:
        told = {
            "kind": item.kind,
            "item": item.item,
            "sites": msgspec.json.encode(sorted(set(item.sites))).decode(),
            "group": item.group,
            "copies": item.copies or 0,
        }
        table = tables.requests
        same = [table.c[name] == value for name, value in told.items()]
        number = connection.scalar(select(table.c.id).where(table.c.state.in_(OPEN), *same))
        if number is not None:
            joined.append(number)
        else:
            made = {"state": "new", "reason": "", "asked_by": asked_by, "created_s": now, "updated_s": now}
            result = connection.execute(insert(table).values(told | made))
            (number,) = result.inserted_primary_key or (0,)
        ids.append(int(number))
    return Requested(ids, joined)


def cancel(connection: Connection, ids: Sequence[int], reason: str, now: float) -> list[int]:
    """Cancels open requests, and the orders that were written for them and no other; those that had not ended.

    Raises DefinitionUnknown for a number that is none's.
    """
    table, known = tables.requests, states(connection, ids)
    if unknown := [number for number in ids if number not in known]:
        raise DefinitionUnknown(f"request {unknown[0]} is not defined")
    gone = [number for number in dict.fromkeys(ids) if known[number] in OPEN]
    if gone:
        values = {"state": "cancelled", "reason": reason, "updated_s": now}
        connection.execute(update(table).where(table.c.id.in_(gone)).values(values))
        _cancel_orders(connection, gone, now)
        advance(connection, DECISIONS)
    return gone


def _cancel_orders(connection: Connection, gone: Collection[int], now: float) -> None:
    links, table = tables.request_orders, tables.requests
    own = select(links.c.order_id).where(links.c.request_id.in_(gone), links.c.written)
    others = select(links.c.order_id).join(table, table.c.id == links.c.request_id).where(table.c.state.in_(OPEN))
    mine = connection.scalars(
        select(tables.orders.c.id)
        .where(tables.orders.c.id.in_(own), tables.orders.c.id.not_in(others), tables.orders.c.state.in_(orders.OPEN))
        .order_by(tables.orders.c.id)
    )
    orders.cancel(connection, list(mine), "the request for it was cancelled", now)


def _require_known(connection: Connection, items: Sequence[RequestItem]) -> None:
    for item in items:
        names.require(item.item, "item")
    single = [item.item for item in items if names.split_block(item.item)[1] is not None]
    whole = [item.item for item in items if names.split_block(item.item)[1] is None]
    known = datasets.places(connection, single).keys() | datasets.ids(connection, whole).keys()
    sites, groups = intents.ids(connection, tables.sites), intents.ids(connection, tables.groups)
    for item in items:
        if item.item not in known:
            raise DefinitionUnknown(f"{item.item!r} is not defined")
        if item.group:
            intents.known_id(groups, item.group, "group")
        matched = _all_matched(item.sites, sites)
        if item.copies is not None and item.kind == "delete":
            raise InventoryInvalid(f"{item.item!r}: a deletion is of what is there, not of {item.copies} copies")
        if item.copies is not None and item.copies > len(matched):
            raise InventoryInvalid(f"{item.item!r}: {item.copies} copies are wanted over {len(matched)} sites")


def _require_no_opposite(connection: Connection, items: Sequence[RequestItem]) -> None:
    """Raises InventoryInvalid: what one request brings another would take away, by turns and for ever."""
    held = intents.ids(connection, tables.sites)
    known = [("another of these requests", each.kind, each.item, each.sites) for each in items]
    known += [(f"request {each.id}", each.kind, each.item, each.sites) for each in opened(connection)]
    by_dataset: dict[str, list[tuple[str, str, str, list[str]]]] = {}
    for each in known:
        by_dataset.setdefault(names.split_block(each[2])[0], []).append(each)
    for item in items:
        mine = _all_matched(item.sites, held)
        for said, kind, other, sites in by_dataset[names.split_block(item.item)[0]]:
            overlap = item.item == other or None in (names.split_block(item.item)[1], names.split_block(other)[1])
            if kind != item.kind and overlap and (common := mine & _all_matched(sites, held)):
                wants = f"{said} asks for the {'copy' if kind == 'copy' else 'deletion'} of {other!r} at {min(common)}"
                raise InventoryInvalid(f"{item.kind} of {item.item!r}: {wants}", hint="cancel that one first")


def _all_matched(words: Iterable[str], sites: dict[str, int]) -> set[str]:
    return {site for word in words for site in intents.meant(sites, word, "site")}


# ---- what becomes of them --------------------------------------------------------------------------------------------


def rule(connection: Connection, rulings: Iterable[Ruling], asked_by: str, now: float) -> int:
    """Puts what was decided on record, in the transaction that wrote the orders on the word of `asked_by`.

    How many requests changed; those that have ended meanwhile stay as they ended.
    """
    table = tables.requests
    opened: dict[str, list[Order]] = {}
    changed = 0
    for ruling in rulings:
        row = connection.execute(select(table).where(table.c.id == ruling.id)).mappings().one_or_none()
        if row is None or row["state"] not in OPEN:
            continue
        if (row["state"], row["reason"]) != (ruling.state, ruling.reason):
            values = {"state": ruling.state, "reason": ruling.reason, "updated_s": now}
            connection.execute(update(table).where(table.c.id == ruling.id).values(values))
            changed += 1
        for site in ruling.sites:
            if site not in opened:
                opened[site] = orders.open_at(connection, site)
            _link(connection, row, [order for order in opened[site] if _serves(order, row)], asked_by)
    return changed


def _serves(order: Order, row: RowMapping) -> bool:
    """Whether an order is about what a request asks for."""
    if order.kind != row["kind"]:
        return False
    return any(row["item"] in (block.name, names.split_block(block.name)[0]) for block in order.blocks)


def _link(connection: Connection, row: RowMapping, found: Sequence[Order], asked_by: str) -> None:
    links = tables.request_orders
    held = set(connection.scalars(select(links.c.order_id).where(links.c.request_id == row["id"])))
    new = [order for order in found if order.id not in held]
    if new:
        told = [{"request_id": row["id"], "order_id": order.id, "written": order.asked_by == asked_by} for order in new]
        connection.execute(insert(links), told)


# ---- reading ---------------------------------------------------------------------------------------------------------


def opened(connection: Connection) -> list[DataRequest]:
    """Every open request, the oldest first."""
    wanted = select(tables.requests).where(tables.requests.c.state.in_(OPEN)).order_by(tables.requests.c.id)
    return _requests(connection, connection.execute(wanted).mappings().all())


def states(connection: Connection, ids: Sequence[int]) -> dict[int, RequestState]:
    """The state of each of some requests; what is none is left out."""
    table, found = tables.requests, {}
    for begin in range(0, len(ids), orders.NUMBERS_AT_ONCE):
        mine = table.c.id.in_(ids[begin : begin + orders.NUMBERS_AT_ONCE])
        found.update(dict(connection.execute(select(table.c.id, table.c.state).where(mine)).all()))
    return found


def page(connection: Connection, asked: RequestsQuery) -> DataRequests:
    """Requests from the newest back."""
    table = tables.requests
    wanted = select(table).where(*_narrowed(asked)).order_by(table.c.id.desc()).limit(asked.limit + 1)
    rows = connection.execute(wanted).mappings().all()
    found = _requests(connection, rows[: asked.limit])
    return DataRequests(found, found[-1].id if len(rows) > asked.limit else None)


def _narrowed(asked: RequestsQuery) -> list[ColumnElement[bool]]:
    table = tables.requests
    said: list[ColumnElement[bool]] = []
    for column, value in ((table.c.state, asked.state), (table.c.kind, asked.kind)):
        if value is not None:
            said.append(column == value)
    if asked.item is not None:
        said.append(orders.of_item(table.c.item, asked.item))
    if asked.site is not None:
        said.append(_holds(table.c.sites, msgspec.json.encode(asked.site).decode()))
    if asked.by is not None:
        said.append(_holds(table.c.asked_by, asked.by))
    if asked.since_s is not None:
        said.append(table.c.created_s >= asked.since_s)
    if asked.until_s is not None:
        said.append(table.c.created_s < asked.until_s)
    if asked.before is not None:
        said.append(table.c.id < asked.before)
    return said


def _holds(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a text stands in a column, as it is written: LIKE would take other cases too on SQLite."""
    return func.replace(column, text, "") != column


def _requests(connection: Connection, rows: Sequence[RowMapping]) -> list[DataRequest]:
    led = _orders(connection, [row["id"] for row in rows])
    return [
        DataRequest(
            **{name: row[name] for name in _COPIED},
            sites=_SITES.decode(row["sites"]),
            copies=row["copies"] or None,
            orders=led.get(row["id"], []),
        )
        for row in rows
    ]


def _orders(connection: Connection, ids: Sequence[int]) -> Mapping[int, list[RequestOrder]]:
    links, table = tables.request_orders, tables.orders
    columns = [table.c[name] for name in RequestOrder.__struct_fields__]
    led: dict[int, list[RequestOrder]] = {}
    for begin in range(0, len(ids), orders.NUMBERS_AT_ONCE):
        mine = links.c.request_id.in_(ids[begin : begin + orders.NUMBERS_AT_ONCE])
        wanted = select(links.c.request_id, *columns).join(table, table.c.id == links.c.order_id).where(mine)
        for row in connection.execute(wanted.order_by(table.c.id)).mappings():
            told: dict[str, Any] = {name: row[name] for name in RequestOrder.__struct_fields__}
            led.setdefault(row["request_id"], []).append(RequestOrder(**told))
    return led


_COPIED = ("id", "kind", "item", "group", "state", "reason", "asked_by", "created_s", "updated_s")
