"""Makes what the tests share importable from every folder of tests: its own folder is put on the path.

Services in the process of a test do not notice that a busy machine paused it (`steady_clock.py`). The databases are
fixtures of all tests, so that one PostgreSQL serves all that need it. How fast a machine draws examples or runs them
says nothing of what is tested.
"""

from databases import database, postgres_server
from hypothesis import HealthCheck, settings
from steady_clock import SteadyClock

__all__ = ["database", "postgres_server"]

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

SteadyClock().install()
