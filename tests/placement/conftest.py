"""Keepers over SQLite in a file, and over one database of PostgreSQL that is emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import empty_postgres
from sqlalchemy import delete
from stores import Told, telling

from loadtests.postgres import Postgres
from placement import tables
from placement.database import Database


@pytest.fixture(scope="session")
def placement_postgres(postgres_server: Postgres) -> str:
    """The URL of the database of PostgreSQL."""
    return empty_postgres(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of placement with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'placement.db'}"
    url: str = request.getfixturevalue("placement_postgres")
    database = Database(url)
    with database.writing() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
    database.close()
    return url


@pytest.fixture
def told(store: str) -> Iterator[Told]:
    """A keeper over it."""
    with telling(store) as made:
        yield made
