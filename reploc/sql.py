"""A service's SQL database: opened, brought to its version by numbered migrations, and its errors in our words.

SQLite by default (`sqlite:///PATH`), PostgreSQL where several processes share it (`postgresql+psycopg://…`). Each
service keeps a list of migrations; what was applied stands in a table of its own, so that several services may share a
database. A newer database is refused in words. On SQLite every transaction takes the write lock at its begin, so that
two writers wait for each other instead of failing half-way, and a commit is on disk before it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeAlias

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Row,
    Select,
    String,
    Table,
    create_engine,
    event,
    exc,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from reploc.errors import ConfigInvalid, StoreError, StoreVersion, Unavailable

#: Brings a database from the version before it to its own, inside one transaction.
Migration: TypeAlias = Callable[[Connection], object]

EXPECTED = "sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
#: Seconds that one writer waits for another on SQLite: the longest transaction takes well under one.
BUSY_S = 30.0
#: The key of PostgreSQL's advisory lock under which one process migrates while others wait: "reploc" in ASCII.
MIGRATION_LOCK = 0x7265706C6F63
#: Rows that are in hand at once when many are read by column. With more of them the collector of cyclic garbage comes
#: by while they live (its youngest generation is 700 objects), and takes longer than all the rest.
ROWS_IN_HAND = 500
#: The execution option of what only reads.
READING = "reploc_reading"

_versions = Table(
    "reploc_versions",
    MetaData(),
    Column("service", String, primary_key=True),
    Column("version", Integer, nullable=False),
)


def opened(
    url: str, service: str, migrations: Sequence[Migration], *, connections: int = 5, idle_s: float | None = None
) -> Engine:
    """The database at a URL, migrated to the version of `migrations`: the number of them.

    On PostgreSQL a transaction that stands still for `idle_s`, because its process was paused, is ended there, so that
    what it has locked holds up nobody any longer.

    Raises ConfigInvalid: no URL of a database that is known; StoreVersion: a newer version made it; Unavailable or
    StoreError: it cannot be reached or used.
    """
    engine = _engine(url, connections, idle_s)
    try:
        with failures(url), engine.begin() as connection:
            _migrate(connection, service, migrations)
    except BaseException:
        engine.dispose()
        raise
    return engine


def reader(engine: Engine) -> Engine:
    """The same database for transactions that only read: each sees one moment, waits for no writer and delays none."""
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(**{READING: True})


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], added: Collection[str] = ()
) -> None:
    """Writes rows in the place of those with the same primary key, whoever else writes them at the same moment; the
    columns `added` are added to what stands there."""
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    keys = [column.name for column in table.primary_key]
    values = {
        column.name: column + made.excluded[column.name] if column.name in added else made.excluded[column.name]
        for column in table.columns
        if column.name not in keys
    }
    if rows:
        connection.execute(made.on_conflict_do_update(index_elements=keys, set_=values), rows)


def columns(connection: Connection, wanted: Select[Any], rows_at_once: int) -> Iterator[dict[str, list[Any]]]:
    """What a query finds, as the values of each column by name, so many rows at a time; nothing where it finds none."""
    # A server would send all rows at once; SQLite reads each when it is asked for.
    streamed = connection.dialect.supports_server_side_cursors
    rows = connection.execute(wanted, execution_options={"stream_results": streamed})
    parts = rows.partitions(ROWS_IN_HAND)
    while some := list(islice(map(_turned, parts), max(rows_at_once // ROWS_IN_HAND, 1))):
        yield {name: list(chain.from_iterable(values)) for name, *values in zip(rows.keys(), *some, strict=True)}


def _turned(rows: Sequence[Row[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Whatever the database raises, as an error of the tree that begins with `what`."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as wrong:
        raise Unavailable(f"{what}: {_said(wrong)}") from wrong
    except exc.SQLAlchemyError as wrong:
        if isinstance(wrong, exc.DBAPIError) and wrong.connection_invalidated:
            raise Unavailable(f"{what}: {_said(wrong)}") from wrong
        raise StoreError(f"{what}: {_said(wrong)}") from wrong


def _engine(url: str, connections: int, idle_s: float | None) -> Engine:
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
        if name == "sqlite":
            engine = create_engine(parsed, connect_args={"timeout": BUSY_S, "check_same_thread": False})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        if name == "postgresql":
            idle = f"-c idle_in_transaction_session_timeout={int(1e3 * (idle_s or 0))}"  # milliseconds; 0: no limit
            return create_engine(parsed, pool_size=connections, pool_pre_ping=True, connect_args={"options": idle})
    except exc.ArgumentError as wrong:
        raise ConfigInvalid(f"{url[:80]!r} is no database; expected {EXPECTED}") from wrong
    except ModuleNotFoundError as wrong:
        raise ConfigInvalid(f"{wrong}", hint="it comes with the extra reploc[postgresql]") from wrong
    raise ConfigInvalid(f"database {name!r} is not known; expected {EXPECTED}")


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `_begin_sqlite` says, not at the first write
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _migrate(connection: Connection, service: str, migrations: Sequence[Migration]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
    _versions.create(connection, checkfirst=True)
    own = _versions.c.service == service
    found = connection.scalar(select(_versions.c.version).where(own))
    if (version := found or 0) > len(migrations):
        raise StoreVersion(
            f"the database of {service} has version {version}, and this program knows {len(migrations)} at most",
            hint="use the newer program that made it",
        )
    for migration in migrations[version:]:
        migration(connection)
    if found is None:
        connection.execute(insert(_versions).values(service=service, version=len(migrations)))
    elif version < len(migrations):
        connection.execute(update(_versions).where(own).values(version=len(migrations)))


def _said(wrong: exc.SQLAlchemyError) -> str:
    """What the driver said, on one line, without the statement and its parameters, which may be long."""
    cause = wrong.orig if isinstance(wrong, exc.DBAPIError) and wrong.orig is not None else wrong
    return str(cause).strip().splitlines()[0][:300] if str(cause).strip() else type(cause).__name__
