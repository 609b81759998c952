"""Orders in the journal, in SQL: read from a feed, turned into operations page by page, held, cancelled, reported.

A page of files becomes operations in the same transaction that remembers the page, so that no file is left out or comes
twice, whenever the program is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from fileops.journal import close, count, tell
from fileops.lane import Tally, Wish
from fileops.messages import CarriedOrder
from fileops.operation import READY, Event, State, after
from fileops.submissions import cancel_rows, set_rows, submit
from fileops.tables import feeds, in_states, lanes, operations, orders
from reploc import sql

#: The open states, so taken apart that there is an index for each part.
OPEN_PARTS: tuple[tuple[State, ...], ...] = (READY, ("active",), ("held",))
_c = operations.c
_o = orders.c


@dataclass(frozen=True)
class Expanding:
    """An order that is not wholly operations yet: the order as the feed gave it (JSON), the block that is turned into
    operations now, and the LFN up to which it is."""

    id: int
    body: str
    block: int
    after: str


def take(connection: Connection, url: str, after_change: int, read: Sequence[dict[str, object]]) -> None:
    """Writes what a feed said, and how far it was read; orders that are known already only change."""
    for order in read:
        known = connection.execute(select(orders).where(_o.id == order["id"])).first()
        if known is None and not order["cancel"]:
            nothing = dict.fromkeys(
                ("block", "files", "bytes", "files_open", "files_held", "files_done", "bytes_done"), 0
            )
            rest = dict.fromkeys(("files_cancelled", "position", "reported"), 0)
            begun = {"after": "", "reason": "", "version": 1, "state": "expanding"}
            connection.execute(insert(orders).values(order | nothing | rest | begun))
        elif known is not None and order["cancel"] and not known.cancel:
            connection.execute(
                update(orders)
                .where(_o.id == order["id"])
                .values(cancel=True, change=order["change"], version=_o.version + 1)
            )
    sql.upsert(connection, feeds, [{"url": url, "after": after_change}])


def read_up_to(connection: Connection, url: str) -> int:
    """How far a feed was read: what to ask it `after`."""
    return connection.scalar(select(feeds.c.after).where(feeds.c.url == url)) or 0


def to_expand(connection: Connection, limit: int) -> list[Expanding]:
    """Orders that are not wholly operations yet."""
    found = select(_o.id, _o.body, _o.block, _o.after).where(_o.state == "expanding").order_by(_o.id).limit(limit)
    return [Expanding(*row) for row in connection.execute(found)]


def expand(
    connection: Connection, order: int, wishes: Sequence[Wish], block: int, after_lfn: str, now: float, *, last: bool
) -> None:
    """Turns a page of an order's files into operations, and remembers how far it is, in one step."""
    submit(connection, wishes, now)
    values: dict[str, object] = {"block": block, "after": after_lfn, "version": _o.version + 1}
    if last:
        values["state"] = "open"
    connection.execute(update(orders).where(_o.id == order, _o.state == "expanding").values(**values))
    close(connection, [order])


def fail_order(connection: Connection, order: int, words: str) -> None:
    """An order that cannot be carried out at all."""
    connection.execute(
        update(orders).where(_o.id == order).values(state="failed", reason=words, version=_o.version + 1)
    )


def cancel_orders(connection: Connection, now: float) -> int:
    """Cancels the operations of orders that the feed cancelled; how many orders."""
    ids = list(connection.scalars(select(_o.id).where(_o.cancel, _o.state.in_(("expanding", "open")))))
    for order in ids:
        connection.execute(update(orders).where(_o.id == order, _o.state == "expanding").values(state="open"))
        rows = [row for row in _rows_of(connection, order, OPEN_PARTS) if not row.cancel and row.step != "removing"]
        cancel_rows(connection, rows, "the order was cancelled", now)
        close(connection, [order])
    return len(ids)


def to_report(connection: Connection, limit: int) -> list[tuple[int, CarriedOrder]]:
    """Orders that changed since their last report, each behind its version."""
    columns = [_o[name] for name in CarriedOrder.__struct_fields__]
    found = select(_o.version, *columns).where(_o.version > _o.reported).order_by(_o.id).limit(limit)
    return [(row[0], CarriedOrder(*row[1:])) for row in connection.execute(found)]


def reported(connection: Connection, versions: dict[int, int]) -> None:
    """Remembers that orders were reported as they were at a version."""
    if versions:
        connection.execute(
            update(orders).where(_o.id == bindparam("which")).values(reported=bindparam("told")),
            [{"which": order, "told": version} for order, version in versions.items()],
        )


def hold_order(connection: Connection, order: int, words: str, now: float) -> int:
    """Holds all operations of an order that nobody works on; how many."""
    rows = _rows_of(connection, order, [READY])
    set_rows(connection, rows, state="held", reason=words)
    tell(connection, now, [(row.id, Event.HELD, after(row.state, Event.HELD), words) for row in rows])
    count(connection, [Tally(order, row.state, "held", 0) for row in rows])
    connection.execute(update(orders).where(_o.id == order).values(reason=words, version=_o.version + 1))
    return len(rows)


def _rows_of(connection: Connection, order: int, parts: Iterable[Sequence[State]]) -> list[Row[tuple[object, ...]]]:
    """Operations of an order in some states, part by part."""
    of_order = select(operations, lanes.c.order_id).join(lanes, lanes.c.id == _c.lane).where(lanes.c.order_id == order)
    rows: list[Row[tuple[object, ...]]] = []
    for part in parts:
        rows += connection.execute(of_order.where(in_states(_c.state, part)).with_for_update(of=operations))
    return rows
