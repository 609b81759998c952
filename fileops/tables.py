"""The journal's tables, and the migrations that make them.

    orders      what a feed of placement asked for, how far it is, and what was reported
    lanes       what operations have in common: order, kind, site, sources, witness, size class
    operations  one copy or one deletion of one file; who holds it, until when, under which fencing number
    stories     what happened to each operation, a line per passage
    links       how copies from one site to another went, exponentially weighted
    remains     attempts at copies that may have left a file under their temporary name
    suspects    copies that turned out bad or absent, for the consistency checker
    feeds       how far each feed of orders was read
    numbers     the last fencing number

At most one operation of a (site, LFN) is active, which a unique index holds: it is the lease that keeps a copy and a
deletion of one path apart, also between runners. Fencing numbers only rise. Times are seconds since the epoch of POSIX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    literal_column,
    text,
)

from fileops.operation import GOING, OPEN, READY, State, Step
from reploc.sql import Migration

metadata = MetaData()
#: SQLite numbers rows by itself only in columns of type INTEGER, which has 64 bits there.
_Id = BigInteger().with_variant(Integer, "sqlite")

orders = Table(
    "fileops_orders",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("body", Text, nullable=False),  # the order as the feed gave it, JSON
    Column("change", BigInteger, nullable=False),  # of the feed, when it was read last
    Column("state", Text, nullable=False),  # expanding, open, done, cancelled, failed
    Column("cancel", Boolean, nullable=False),
    Column("block", Integer, nullable=False),  # the block that is being turned into operations, and
    Column("after", Text, nullable=False),  # the LFN up to which it is
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("files_open", BigInteger, nullable=False),
    Column("files_held", BigInteger, nullable=False),
    Column("files_done", BigInteger, nullable=False),
    Column("bytes_done", BigInteger, nullable=False),
    Column("files_cancelled", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("reported", BigInteger, nullable=False),
)

lanes = Table(
    "fileops_lanes",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("order_id", _Id, nullable=False),  # 0: submitted by hand
    Column("kind", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("sources", Text, nullable=False),  # names of sites, JSON, sorted
    Column("witness", Text, nullable=False),
    Column("large", Boolean, nullable=False),
)
Index(
    "fileops_lanes_what",
    *(lanes.c[name] for name in ("order_id", "kind", "site", "sources", "witness", "large")),
    unique=True,
)

operations = Table(
    "fileops_operations",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("lane", _Id, ForeignKey(lanes.c.id), nullable=False),
    Column("site", Text, nullable=False),
    Column("lfn", Text, nullable=False),
    Column("size", BigInteger),
    Column("checksum", Text),
    Column("collection", Text),
    Column("state", Text, nullable=False),
    Column("due_s", Double, nullable=False),  # a waiting operation is not taken up before; queued: 0
    Column("attempts", Integer, nullable=False),
    Column("fence", BigInteger, nullable=False),  # of the last claim
    Column("runner", Text, nullable=False),
    Column("lease_s", Double, nullable=False),  # the moment until which the runner is believed to be there
    Column("cancel", Boolean, nullable=False),
    Column("step", Text, nullable=False),  # what has begun: fileops.operation.Step
    Column("pfns", Text, nullable=False),  # of the files that may have got their name, or are to be removed, JSON
    Column("failures", Text, nullable=False),  # source → why it cannot be had there, JSON
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("finished_s", Double),
    Column("seconds", Double),  # of the last attempt
    Column("moved", BigInteger),  # bytes that travelled
)
_c = operations.c


def in_states(column: ColumnElement[str], states: Sequence[State]) -> ColumnElement[bool]:
    """Whether a state is one of these, written out: a database takes a partial index only for what it can see to be
    the index's own condition, and a parameter it cannot see."""
    return _among(column, states)


def in_steps(column: ColumnElement[str], steps: Sequence[Step]) -> ColumnElement[bool]:
    """Whether a step is one of these, written out for the same reason."""
    return _among(column, steps)


def _among(column: ColumnElement[str], words: Sequence[str]) -> ColumnElement[bool]:
    return column.in_([literal_column(f"'{word}'") for word in words])


def _written(column: str, words: Sequence[str]) -> str:
    return "{} IN ({})".format(column, ", ".join(f"'{word}'" for word in words))


def _some(condition: str) -> dict[str, Any]:
    """A partial index, for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


Index("fileops_ready", _c.lane, _c.due_s, _c.id, **_some(_written("state", READY)))
Index("fileops_leases", _c.site, _c.lfn, unique=True, **_some(_written("state", ("active",))))
Index("fileops_open", _c.site, _c.lfn, **_some(_written("state", OPEN)))
Index("fileops_held", _c.id, **_some(_written("state", ("held",))))
_going = Index("fileops_going", _c.lfn, **_some(_written("step", GOING)))
_held_of_lane = Index("fileops_held_of_lane", _c.lane, **_some(_written("state", ("held",))))
Index("fileops_finished", _c.finished_s, **_some("finished_s IS NOT NULL"))

stories = Table(
    "fileops_stories",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("operation", _Id, nullable=False, index=True),
    Column("at_s", Double, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("words", Text, nullable=False),
)

links = Table(
    "fileops_links",
    metadata,
    Column("source", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("success", Double, nullable=False),
    Column("rate", Double, nullable=False),
    Column("copies", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("at_s", Double, nullable=False),
)

suspects = Table(
    "fileops_suspects",
    metadata,
    Column("site", Text, primary_key=True),
    Column("lfn", Text, primary_key=True),
    Column("words", Text, nullable=False),
    Column("at_s", Double, nullable=False),
)

remains = Table(
    "fileops_remains",
    metadata,
    Column("operation", _Id, primary_key=True, autoincrement=False),
    Column("fence", BigInteger, primary_key=True, autoincrement=False),  # of the attempt
    Column("site", Text, nullable=False),
    Column("lfn", Text, nullable=False),
    Column("since_s", Double, nullable=False),  # when the attempt ended
    Column("due_s", Double, nullable=False, index=True),  # when it is looked for next
)

drains = Table(
    "fileops_drains", metadata, Column("site", Text, primary_key=True), Column("at_s", Double, nullable=False)
)

feeds = Table(
    "fileops_feeds", metadata, Column("url", Text, primary_key=True), Column("after", BigInteger, nullable=False)
)

numbers = Table(
    "fileops_numbers", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False)
)


def _made(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(insert(numbers).values(name="fence", value=0))


def _indexed(connection: Connection) -> None:
    """Deletions that go on are found by their file, held operations by their order."""
    for index in (_going, _held_of_lane):
        index.create(connection, checkfirst=True)


def _swept(connection: Connection) -> None:
    """What copies may have left is removed."""
    remains.create(connection, checkfirst=True)


#: A change of the tables is a new function at the end of this list; those that stand here are never changed.
MIGRATIONS: list[Migration] = [_made, _indexed, _swept]
