"""A daemon whose settings change, and which is told so, while it opens what it serves; it prints what it takes over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from reploc import service
from reploc.reload import Reloadable
from reploc.service import Daemon, DaemonSettings
from reploc.telemetry import Metrics

#: Turns of the loop that opening takes, in which the signal arrives.
TURNS = 100


class Changing:
    """Settings that change while the daemon opens."""

    def __init__(self) -> None:
        self.settings = DaemonSettings()

    @asynccontextmanager
    async def compose(self, settings: DaemonSettings) -> AsyncIterator[Daemon]:
        self.settings = replace(settings, log_format="json")
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(TURNS):
            await asyncio.sleep(0.001)
        metrics = Metrics()
        yield Daemon("opening", [], metrics, reloadable=Reloadable(settings, frozenset(["log_format"]), take, metrics))


def take(settings: DaemonSettings) -> None:
    print(settings.log_format)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    changing = Changing()
    service.run(changing.compose, lambda: changing.settings)
