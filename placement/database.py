"""Placement's database: one write at a time per cluster, readers that never wait, and counters that only rise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, insert, select, update

from placement import tables
from reploc import sql

#: The key of PostgreSQL's advisory lock that a write holds until its commit: "placem" in ASCII.
WRITE_LOCK = 0x706C6163656D
#: The counters: writes of definitions, of intent (owners and locks), and changes of orders, which number their feed.
#: And copies of what was observed, which a service takes over where another one heard later.
DEFINITIONS, INTENT, ORDERS, OBSERVED = "definitions", "intent", "orders", "observed"
#: What people and cycles decide: orders written or called off, locks, owners, definitions. What carriers report of
#: orders does not count: it comes all the time, and makes no decision wrong that was right before it.
DECISIONS = "decisions"


class Database:
    """The database at a URL, brought to the version of this program. Raises as `reploc.sql.opened` does."""

    def __init__(self, url: str) -> None:
        self._engine = sql.opened(url, "placement", tables.MIGRATIONS)
        self._reader = sql.reader(self._engine)

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is alone in the cluster to write, and is kept whole or not at all."""
        with sql.failures("placement's database"), self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(WRITE_LOCK)))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one moment."""
        with sql.failures("placement's database"), self._reader.begin() as connection:
            yield connection


def count(connection: Connection, name: str) -> int:
    """How far a counter is."""
    return connection.scalar(select(tables.counters.c.value).where(tables.counters.c.name == name)) or 0


def counts(connection: Connection) -> dict[str, int]:
    """How far every counter is."""
    held = dict(connection.execute(select(tables.counters.c.name, tables.counters.c.value)).all())
    return {name: held.get(name, 0) for name in (DEFINITIONS, INTENT, ORDERS, OBSERVED, DECISIONS)}


def decisions(connection: Connection) -> int:
    """How many decisions there were: where the count has not moved, what was decided at it may be written."""
    return count(connection, DECISIONS)


def advance(connection: Connection, name: str, by: int = 1) -> int:
    """Raises a counter inside a write; its value before, so that the writer may use those up to `by` above it."""
    before = count(connection, name)
    if before:
        connection.execute(update(tables.counters).where(tables.counters.c.name == name).values(value=before + by))
    else:
        connection.execute(insert(tables.counters).values(name=name, value=by))
    return before
