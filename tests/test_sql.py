"""SQL databases: migrated by number, refused when newer, and their errors in our words, on SQLite and PostgreSQL."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, insert, select

from reploc import sql
from reploc.errors import ConfigInvalid, StoreError, StoreVersion, Unavailable

rows = Table("rows", MetaData(), Column("number", Integer, primary_key=True))


def make(connection: Connection) -> None:
    rows.create(connection)


def fill(connection: Connection) -> None:
    connection.execute(insert(rows), [{"number": number} for number in range(3)])


def fail(connection: Connection) -> None:
    connection.execute(insert(rows).values(number=7))
    connection.execute(insert(rows).values(number=7))


def numbers(connection: Connection) -> list[int]:
    return list(connection.scalars(select(rows.c.number).order_by(rows.c.number)))


def test_a_database_gets_the_migrations_that_it_lacks(database: str) -> None:
    sql.opened(database, "a", [make]).dispose()
    engine = sql.opened(database, "a", [make, fill])
    with engine.begin() as connection:
        assert numbers(connection) == [0, 1, 2]
    engine.dispose()
    sql.opened(database, "a", [make, fill]).dispose()


def test_a_query_is_read_by_column_so_many_rows_at_a_time(database: str) -> None:
    engine = sql.opened(database, "a", [make])
    count = 2 * sql.ROWS_IN_HAND + 7
    with engine.begin() as connection:
        wanted = select(rows.c.number, (-rows.c.number).label("negative")).order_by(rows.c.number)
        assert list(sql.columns(connection, wanted, 10)) == []
        connection.execute(insert(rows), [{"number": number} for number in range(count)])
        parts = list(sql.columns(connection, wanted, sql.ROWS_IN_HAND))
        assert [len(part["number"]) for part in parts] == [sql.ROWS_IN_HAND, sql.ROWS_IN_HAND, 7]
        assert [number for part in parts for number in part["number"]] == list(range(count))
        assert [number for part in parts for number in part["negative"]] == [-number for number in range(count)]
        (whole,) = sql.columns(connection, wanted, 2 * count)
        assert whole["number"] == list(range(count))
        connection.execute(insert(rows).values(number=count))  # whatever is done on the connection afterwards
    engine.dispose()


def test_a_migration_that_fails_leaves_the_version_before_it(database: str) -> None:
    sql.opened(database, "a", [make]).dispose()
    with pytest.raises(StoreError, match=r"(?i)unique"):
        sql.opened(database, "a", [make, fail])
    engine = sql.opened(database, "a", [make, fill])
    with engine.begin() as connection:
        assert numbers(connection) == [0, 1, 2]
    engine.dispose()


def test_a_newer_database_is_refused_and_services_are_counted_apart(database: str) -> None:
    sql.opened(database, "a", [make, fill]).dispose()
    with pytest.raises(StoreVersion, match="of a has version 2, and this program knows 1"):
        sql.opened(database, "a", [make])
    sql.opened(database, "b", [lambda _: None]).dispose()


def test_processes_that_start_together_migrate_once(database: str) -> None:
    starts = [threading.Thread(target=lambda: sql.opened(database, "a", [make, fill]).dispose()) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    engine = sql.opened(database, "a", [make, fill])
    with engine.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(rows)) == 3
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite+nonsense:///x"])
def test_what_is_no_database_is_refused_in_words(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="expected sqlite:///PATH or postgresql"):
        sql.opened(url, "a", [make])


def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open database file"):
        sql.opened(f"sqlite:///{tmp_path}/none/x.db", "a", [make])
    with pytest.raises(Unavailable, match=r"(?i)refused"):
        sql.opened("postgresql+psycopg://postgres@127.0.0.1:1/x", "a", [make])


def test_what_is_no_database_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        sql.opened(f"sqlite:///{path}", "a", [make])
    assert path.read_bytes() == b"not a database at all" * 100
