"""The databases that everything in SQL is tested on: SQLite in a file, and PostgreSQL, one server for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from needed import needed

from loadtests import postgres
from loadtests.postgres import Postgres

_numbers = count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A running server."""
    needed(postgres.installed(), "postgres: apt-get install postgresql")
    with postgres.running(durable=False) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return empty_postgres(request.getfixturevalue("postgres_server"))


def empty_postgres(server: Postgres) -> str:
    """The URL of a new database of a server."""
    name = f"test_{next(_numbers)}"
    server.do(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://{server.user}@127.0.0.1:{server.port}/{name}"
