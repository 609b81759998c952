"""What a daemon says to whoever started it and waits for it: systemd, by a datagram to the socket that it names.

The protocol is `sd_notify(3)`: lines `KEY=value` to the socket in the variable NOTIFY_SOCKET, a path or, after an `@`,
a name in the abstract namespace. Without the variable nobody waits, and nothing is said.
"""

from __future__ import annotations

import os
import socket

from reploc import telemetry

#: Settings are loaded, the port listens, and signals are heard. Whether the service can do its work `/readyz` says.
READY = "READY=1"
#: Told to stop; what is under way is being finished.
STOPPING = "STOPPING=1"
#: Where the one who waits is found.
VARIABLE = "NOTIFY_SOCKET"


def tell(state: str) -> None:
    """Says a state. One that nobody takes is logged: the daemon serves all the same."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(state.encode(), "\0" + name[1:] if name.startswith("@") else name)
    except OSError as wrong:
        telemetry.event("supervisor.not-told", state=state, socket=name, detail=str(wrong))
