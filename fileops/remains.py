"""What attempts at copies may have left under temporary names, in SQL: noted when one ends badly, looked for again
and again, forgotten when nothing can come any more.

An attempt whose runner died, whose storage did not answer, or whose copy goes on elsewhere without us cannot tidy up
itself, and its operation may be cancelled before another attempt does. Its fencing number is the temporary name, and
no later attempt has it: what stands under it can go, unless the attempt is still under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, exists, func, select, tuple_, update

from fileops.tables import in_states, operations, remains
from reploc import sql

_c = remains.c
#: Attempts that are looked after in one turn.
TURN_MAX = 200
#: Seconds between two looks, however old the attempt is.
PAUSE_S_MAX = 3_600.0


@dataclass(frozen=True)
class Remain:
    """What an attempt to copy `lfn` to `site` may have left: its operation, its fencing number, when it ended."""

    operation: int
    fence: int
    site: str
    lfn: str
    since_s: float


def note(connection: Connection, attempts: Iterable[Remain]) -> None:
    """Remembers what attempts may have left; it is looked for at once."""
    sql.upsert(connection, remains, [{**vars(each), "due_s": each.since_s} for each in attempts])


def take(connection: Connection, now: float, pause_s: float) -> list[Remain]:
    """Attempts to look after now; each is due again after `pause_s`, or after as long as it is old, whoever looks and
    whatever is found. Never one that is still under way."""
    live = exists().where(
        operations.c.id == _c.operation, operations.c.fence == _c.fence, in_states(operations.c.state, ("active",))
    )
    due = (
        select(_c.operation, _c.fence, _c.site, _c.lfn, _c.since_s)
        .where(_c.due_s <= now, ~live)
        .order_by(_c.due_s)
        .limit(TURN_MAX)
        .with_for_update(skip_locked=True, of=remains)
    )
    found = [Remain(*row) for row in connection.execute(due)]
    if found:
        connection.execute(
            update(remains)
            .where(_c.operation == bindparam("which"), _c.fence == bindparam("number"))
            .values(due_s=bindparam("again")),
            [
                {
                    "which": each.operation,
                    "number": each.fence,
                    "again": now + min(max(pause_s, now - each.since_s), PAUSE_S_MAX),
                }
                for each in found
            ],
        )
    return found


def forget(connection: Connection, attempts: Sequence[Remain]) -> None:
    """Forgets attempts that nothing can come from any more."""
    keys = [(each.operation, each.fence) for each in attempts]
    connection.execute(delete(remains).where(tuple_(_c.operation, _c.fence).in_(keys)))


def count(connection: Connection) -> int:
    """How many attempts may have left something."""
    return connection.scalar(select(func.count()).select_from(remains)) or 0
