"""What comes into the journal, in SQL: wishes become operations, which are cancelled and released.

A wish that is open already is joined. One that is the opposite of an open operation on the same file and site cancels
it: what was wanted last holds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, func, insert, select, update

from fileops.journal import IDS_MAX, count, lane_of, tell
from fileops.lane import Lane, Tally, Wish
from fileops.operation import OPEN, READY, Event, State, after
from fileops.tables import drains, in_states, lanes, operations, orders
from reploc import sql
from reploc.errors import OperationUnknown, OperationUnready

_c = operations.c


# ---- wishes ----------------------------------------------------------------------------------------------------------


def submit(connection: Connection, wishes: Sequence[Wish], now: float) -> list[int]:
    """The operations of these wishes, new or joined, in their order; all wishes are of one order."""
    lane_ids: dict[Lane, int] = {}
    for wish in wishes:
        lane = _lane(wish)
        if lane not in lane_ids:
            lane_ids[lane] = lane_of(connection, lane, lane.sources)
    opened = _open_at(connection, wishes)
    found: dict[tuple[int, str], int] = {(row.lane, row.lfn): row.id for row in opened if not row.cancel}
    new: dict[tuple[int, str], Wish] = {}
    for wish in wishes:
        key = lane_ids[_lane(wish)], wish.lfn
        if key not in found:
            new.setdefault(key, wish)
    _cancel_opposites(connection, opened, list(new.values()), now)
    found |= dict(zip(new, _inserted(connection, new, now), strict=True))
    return [found[lane_ids[_lane(wish)], wish.lfn] for wish in wishes]


def _lane(wish: Wish) -> Lane:
    return Lane(0, wish.order, wish.kind, wish.site, tuple(sorted(wish.sources)), wish.witness, wish.large)


def _open_at(connection: Connection, wishes: Sequence[Wish]) -> list[Row[tuple[object, ...]]]:
    """Open operations on the same files and sites."""
    found: list[Row[tuple[object, ...]]] = []
    by_site: dict[str, list[str]] = {}
    for wish in wishes:
        by_site.setdefault(wish.site, []).append(wish.lfn)
    for site, lfns in by_site.items():
        for start in range(0, len(lfns), IDS_MAX):
            some = lfns[start : start + IDS_MAX]
            found += connection.execute(
                select(operations, lanes.c.kind, lanes.c.order_id)
                .join(lanes, lanes.c.id == _c.lane)
                .where(_c.site == site, _c.lfn.in_(some), in_states(_c.state, OPEN))
            ).all()
    return found


def _inserted(connection: Connection, new: dict[tuple[int, str], Wish], now: float) -> list[int]:
    if not new:
        return []
    rows = [
        {
            "lane": lane,
            "site": wish.site,
            "lfn": lfn,
            "size": wish.size,
            "checksum": wish.checksum,
            "collection": wish.collection,
            "state": "queued",
            "due_s": 0.0,
            "attempts": 0,
            "fence": 0,
            "runner": "",
            "lease_s": 0.0,
            "cancel": False,
            "step": "",
            "pfns": "[]",
            "failures": "{}",
            "source": "",
            "reason": "",
            "created_s": now,
        }
        for (lane, lfn), wish in new.items()
    ]
    made = insert(operations).returning(_c.id, sort_by_parameter_order=True)
    ids = list(connection.scalars(made, rows))
    order = next(iter(new.values())).order
    words = f"by order {order}" if order else "by hand"
    tell(connection, now, [(each, Event.SUBMITTED, "queued", words) for each in ids])
    if order:
        size = sum(wish.size or 0 for wish in new.values())
        connection.execute(
            update(orders)
            .where(orders.c.id == order)
            .values(
                files=orders.c.files + len(ids),
                bytes=orders.c.bytes + size,
                files_open=orders.c.files_open + len(ids),
                version=orders.c.version + 1,
            )
        )
    return ids


def _cancel_opposites(
    connection: Connection, opened: Sequence[Row[tuple[object, ...]]], wishes: Sequence[Wish], now: float
) -> None:
    wanted = {(wish.site, wish.lfn): wish.kind for wish in wishes}
    against = [row for row in opened if wanted.get((row.site, row.lfn), row.kind) != row.kind and not row.cancel]
    cancel_rows(connection, against, "the opposite was asked for", now)


# ---- cancelling and releasing ----------------------------------------------------------------------------------------


def cancel(connection: Connection, operation: int, words: str, now: float) -> str:
    """Cancels one operation; the state since then. One that is under way ends at its next step. Raises
    OperationUnknown, or OperationUnready: it has ended, or its file is half removed."""
    row = _row(connection, operation)
    if row.state not in OPEN:
        raise OperationUnready(f"operation {operation} is {row.state} already")
    if row.step == "removing":
        raise OperationUnready(f"operation {operation} has unregistered its file already; it must remove it too")
    cancel_rows(connection, [row], words, now)
    return str(_row(connection, operation).state)


def cancel_rows(connection: Connection, rows: Sequence[Row[tuple[object, ...]]], words: str, now: float) -> None:
    """Cancels rows of operations that have their order with them.

    Ends those that nobody works on; those whose file may stand at the storage already are taken up once more, to
    register it or to remove it; those under way are told."""
    idle = [row for row in rows if row.state != "active" and not row.step]
    told = [row for row in rows if row.state == "active" and row.step != "removing"]
    placed = [row for row in rows if row.state != "active" and row.step == "placing"]
    set_rows(connection, idle, state="cancelled", reason=words, finished_s=now, cancel=True)
    set_rows(connection, told, cancel=True)
    set_rows(connection, placed, state="queued", due_s=0.0, cancel=True)
    tell(connection, now, [(row.id, Event.CANCELLED, after(row.state, Event.CANCELLED), words) for row in idle])
    tell(connection, now, [(row.id, Event.CANCELLED, row.state, f"asked to: {words}") for row in told])
    tell(connection, now, [(row.id, Event.CANCELLED, "queued", f"to be undone: {words}") for row in placed])
    count(connection, [Tally(row.order_id, row.state, "cancelled", 0) for row in idle])
    count(connection, [Tally(row.order_id, row.state, "queued", 0) for row in placed])


def set_rows(connection: Connection, rows: Sequence[Row[tuple[object, ...]]], **values: object) -> None:
    """Writes the same values into many operations."""
    if rows:
        connection.execute(
            update(operations).where(_c.id == bindparam("op")).values(**values), [{"op": row.id} for row in rows]
        )


def release(connection: Connection, operation: int, now: float) -> None:
    """Gives a held or waiting operation another try, with all its sources. Raises OperationUnknown, or
    OperationUnready."""
    row = _row(connection, operation)
    state = after(row.state, Event.RELEASED)
    home = Lane(row.lane, row.order_id, row.kind, row.site, (), row.witness, row.large)
    sources = {*json.loads(row.sources), *json.loads(row.failures)}
    lane = lane_of(connection, home, sorted(sources))
    connection.execute(
        update(operations)
        .where(_c.id == operation)
        .values(state=state, lane=lane, due_s=0.0, attempts=0, failures="{}", reason="")
    )
    tell(connection, now, [(operation, Event.RELEASED, state, "by hand")])
    count(connection, [Tally(row.order_id, row.state, state, 0)])


def _row(connection: Connection, operation: int) -> Row[tuple[object, ...]]:
    row = connection.execute(
        select(operations, lanes.c.kind, lanes.c.order_id, lanes.c.sources, lanes.c.witness, lanes.c.large)
        .join(lanes, lanes.c.id == _c.lane)
        .where(_c.id == operation)
        .with_for_update(of=operations)
    ).first()
    if row is None:
        raise OperationUnknown(f"there is no operation {operation}")
    return row


# ---- what the schedule begins with -----------------------------------------------------------------------------------


def ready_lanes(connection: Connection, now: float) -> list[Lane]:
    """The lanes in which an operation is due."""
    due = exists().where(_c.lane == lanes.c.id, in_states(_c.state, READY), _c.due_s <= now)
    return [lane(row) for row in connection.execute(select(lanes).where(due))]


def lane(row: Row[tuple[object, ...]]) -> Lane:
    """A row of lanes."""
    return Lane(row.id, row.order_id, row.kind, row.site, tuple(json.loads(row.sources)), row.witness, row.large)


def waiting(connection: Connection) -> dict[str, int]:
    """How many operations are in each open state. Each count is an index's alone, and quick over millions: among those
    that a runner may take up, the queued ones are due since ever."""
    since_ever = in_states(_c.state, READY), _c.due_s <= 0
    later = in_states(_c.state, READY), _c.due_s > 0
    wanted: dict[State, tuple[ColumnElement[bool], ...]] = {
        "queued": since_ever,
        "waiting": later,
        "active": (in_states(_c.state, ("active",)),),
        "held": (in_states(_c.state, ("held",)),),
    }
    counted = {state: connection.scalar(select(func.count()).where(*which)) for state, which in wanted.items()}
    return {state: count for state, count in counted.items() if count}


def drain(connection: Connection, site: str, now: float, *, on: bool) -> None:
    """Gives a site (empty: all) no new operations, or again."""
    if on:
        sql.upsert(connection, drains, [{"site": site, "at_s": now}])
    else:
        connection.execute(drains.delete().where(drains.c.site == site))


def drained(connection: Connection) -> frozenset[str]:
    """The sites that get no new operations; empty text among them: none does."""
    return frozenset(connection.scalars(select(drains.c.site)))
