"""A worker of a catalog: reads from the store that the main process writes to. `python -m lrc.worker` runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lrc.catalog import Catalog
from lrc.reading import Reading
from lrc.server import RELOADABLE
from lrc.settings import LrcSettings
from lrc.threads import Threads
from reploc import service, worker
from reploc.reload import Reloadable
from reploc.service import Daemon
from reploc.telemetry import Metrics


@asynccontextmanager
async def compose(settings: LrcSettings, _: int) -> AsyncIterator[Daemon]:
    """The routes that need the store alone, over the store opened for reading."""
    metrics = Metrics()
    with Catalog.open(Path(settings.store), read_only=True) as catalog:
        async with Threads() as threads:
            yield Daemon(
                name=f"lrc {catalog.site}, a worker",
                routes=Reading(catalog, threads).routes(),
                metrics=metrics,
                reloadable=Reloadable(settings, RELOADABLE, service.set_up, metrics),
            )


if __name__ == "__main__":
    worker.run(compose, LrcSettings)
