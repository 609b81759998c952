"""Real XRootD servers for tests: those of the figures' programs, or the reason why there are none."""

from collections.abc import Iterator
from contextlib import contextmanager

from needed import needs_command

from loadtests import xrootd
from loadtests.xrootd import XrootdServer, self_signed, user

__all__ = ["XrootdServer", "running", "self_signed", "user"]


@contextmanager
def running(count: int = 1) -> Iterator[list[XrootdServer]]:
    """So many servers while the context lasts."""
    needs_command("xrootd", "xrootd-server")
    with xrootd.running(count) as servers:
        yield servers
