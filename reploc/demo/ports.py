"""Ports of the loopback for daemons that are started a moment later, and again on the same port.

What the kernel gives out when it is asked for any port it also gives to the next connection that anybody opens; where
many are opened, a daemon that is about to listen, or to listen again, finds its port taken now and then. So a port is
drawn from below those.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

#: Where Linux says which ports it gives to connections: the first and the last.
GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: The first port that is drawn: below are those of well-known services.
FIRST = 10_000
#: Ports that must be there to draw from, or else the kernel is asked: two who draw at once rarely draw the same.
COUNT_MIN = 2_000
#: Draws before the kernel is asked.
TRIES = 1_000

_drawn: set[int] = set()


def free_port() -> int:
    """A port of the loopback that nothing listens on now, and that this process was not given before."""
    end = _first_given()
    for _ in range(TRIES if end - FIRST >= COUNT_MIN else 0):
        port = FIRST + secrets.randbelow(end - FIRST)
        if port not in _drawn and _bound(port):
            _drawn.add(port)
            return port
    return _bound(0)


def _first_given() -> int:
    try:
        return int(GIVEN.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0  # another system, whose kernel is asked


def _bound(port: int) -> int:
    """The port, or any for 0, if it can be bound; 0 if not."""
    with socket.socket() as found:
        try:
            found.bind(("127.0.0.1", port))
        except OSError:
            return 0
        bound: int = found.getsockname()[1]
        return bound
