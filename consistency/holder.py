"""Who checks a site: a name that tells, on the same machine, whether its process is still there."""

from __future__ import annotations

import os
import secrets
import socket


def me() -> str:
    """A name for one run of this process: machine, process, and something of its own."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(8)}"


def is_gone(holder: str) -> bool:
    """Whether the process of a name has certainly ended; of another machine's nobody here knows."""
    host, _, rest = holder.partition("/")
    number = rest.partition("/")[0]
    if host != socket.gethostname() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is there, and somebody else's
    return False
