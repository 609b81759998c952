"""What the journal tells who asks, in SQL: operations, stories, links, orders, history, suspects."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, Row, Select, delete, select

from fileops.links import COUNTS, Link
from fileops.messages import (
    CarriedOrder,
    HistoryQuery,
    OperationSaid,
    OperationsQuery,
    OperationsSaid,
    PassageSaid,
    StorySaid,
    Suspect,
)
from fileops.tables import lanes, links, operations, orders, stories, suspects
from reploc import sql
from reploc.errors import OperationUnknown

_c = operations.c
#: Rows of history that are forgotten in one transaction.
FORGOTTEN_MAX = 1_000


def listed(connection: Connection, query: OperationsQuery) -> OperationsSaid:
    """A page of operations."""
    narrowed = {
        _c.state: query.state,
        lanes.c.kind: query.kind,
        _c.site: query.site,
        lanes.c.order_id: query.order,
        _c.lfn: query.lfn,
    }
    found = _operations().where(_c.id > query.after)
    for column, value in narrowed.items():
        if value is not None:
            found = found.where(column == value)
    return _page(connection, found, query.limit)


def history(connection: Connection, query: HistoryQuery) -> OperationsSaid:
    """A page of operations that ended in a time."""
    found = _operations().where(
        _c.id > query.after, _c.finished_s.is_not(None), _c.finished_s >= query.since_s, _c.finished_s <= query.until_s
    )
    return _page(connection, found, query.limit)


def _page(connection: Connection, found: Select[tuple[object, ...]], limit: int) -> OperationsSaid:
    rows = connection.execute(found.order_by(_c.id).limit(limit + 1)).all()
    said = [_said(row) for row in rows[:limit]]
    return OperationsSaid(said, said[-1].id if len(rows) > limit else None)


def story(connection: Connection, operation: int) -> StorySaid:
    """An operation with its story. Raises OperationUnknown."""
    row = connection.execute(_operations().where(_c.id == operation)).first()
    if row is None:
        raise OperationUnknown(f"there is no operation {operation}")
    told = connection.execute(
        select(stories.c.at_s, stories.c.event, stories.c.state, stories.c.words)
        .where(stories.c.operation == operation)
        .order_by(stories.c.id)
    )
    return StorySaid(_said(row), [PassageSaid(*passage) for passage in told])


def _operations() -> Select[tuple[object, ...]]:
    return select(operations, lanes.c.kind, lanes.c.order_id, lanes.c.sources, lanes.c.witness).join(
        lanes, lanes.c.id == _c.lane
    )


def _said(row: Row[tuple[object, ...]]) -> OperationSaid:
    return OperationSaid(
        id=row.id,
        kind=row.kind,
        site=row.site,
        lfn=row.lfn,
        state=row.state,
        order=row.order_id,
        sources=tuple(sorted({*json.loads(row.sources), *json.loads(row.failures)})),
        witness=row.witness,
        size=row.size,
        checksum=row.checksum,
        collection=row.collection,
        attempts=row.attempts,
        source=row.source,
        runner=row.runner,
        reason=row.reason,
        due_s=row.due_s,
        created_s=row.created_s,
        finished_s=row.finished_s,
        seconds=row.seconds,
        moved=row.moved,
    )


def known_links(connection: Connection) -> list[Link]:
    """All links, as they were written last."""
    names = Link.__dataclass_fields__
    return [Link(*row) for row in connection.execute(select(*(links.c[name] for name in names)))]


def keep_links(connection: Connection, changed: Sequence[Link]) -> None:
    """Writes links that changed, whose counts are what is to be added: other runners add theirs."""
    rows = [{name: getattr(link, name) for name in Link.__dataclass_fields__} for link in changed]
    sql.upsert(connection, links, rows, added=COUNTS)


def carried(connection: Connection, limit: int) -> list[CarriedOrder]:
    """The newest orders."""
    columns = [orders.c[name] for name in CarriedOrder.__struct_fields__]
    found = connection.execute(select(*columns).order_by(orders.c.id.desc()).limit(limit))
    return [CarriedOrder(*row) for row in found]


def suspected(connection: Connection, limit: int) -> list[Suspect]:
    """Copies that turned out bad."""
    columns = [suspects.c[name] for name in Suspect.__struct_fields__]
    found = connection.execute(select(*columns).order_by(suspects.c.site, suspects.c.lfn).limit(limit))
    return [Suspect(*row) for row in found]


def forget(connection: Connection, before_s: float) -> int:
    """Forgets operations that ended before a moment, with their stories; how many, a bounded number at once."""
    old = select(_c.id).where(_c.finished_s < before_s).limit(FORGOTTEN_MAX)
    ids = list(connection.scalars(old))
    connection.execute(delete(stories).where(stories.c.operation.in_(ids)))
    connection.execute(delete(operations).where(_c.id.in_(ids)))
    return len(ids)
