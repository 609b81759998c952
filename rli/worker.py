"""A worker of an index node: answers from the memory that the main process writes. `python -m rli.worker` runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reploc import service, worker
from reploc.reload import Reloadable
from reploc.service import Daemon
from reploc.telemetry import Metrics
from rli.reading import Reading
from rli.seen import Seen
from rli.server import RELOADABLE
from rli.settings import RliSettings
from rli.shared import Shared


@asynccontextmanager
async def compose(settings: RliSettings, memory: int) -> AsyncIterator[Daemon]:
    """The routes that what is held here answers, over the shared memory of that descriptor."""
    metrics = Metrics()
    shared = Shared(memory, settings.index.slots, settings.matrix_bytes_max)
    yield Daemon(
        name=f"rli {settings.node}, a worker",
        routes=Reading(Seen(settings.index, settings.matrix_bytes_max, shared)).routes(),
        metrics=metrics,
        reloadable=Reloadable(settings, RELOADABLE, service.set_up, metrics),
    )


if __name__ == "__main__":
    worker.run(compose, RliSettings)
