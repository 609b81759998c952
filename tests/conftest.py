"""Makes what the tests share importable from every folder of tests: its own folder is put on the path.

The databases are fixtures of all tests, so that one PostgreSQL serves all that need it.
"""

from databases import database, postgres_server

__all__ = ["database", "postgres_server"]
