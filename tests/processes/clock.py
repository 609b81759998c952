"""A time of day of their own for some daemons, as the kernel would show it after a step, by libfaketime."""

from pathlib import Path

from namespaces import PlacedProcess
from needed import needed

from reploc.demo.processes import Process


class Clock:
    """The time of day that some processes are shown: the machine's, and so many days more."""

    def __init__(self, path: Path) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        needed(found, "libfaketime: apt-get install faketime")
        self._library = found[0]
        self._path = path
        self.step(0)

    def step(self, days: int) -> None:
        self._path.write_text(f"{days:+}d")

    def shown_to(self, process: Process) -> PlacedProcess:
        told = {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": self._path,
            "FAKETIME_CACHE_DURATION": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        }
        prefix = ["env", *(f"{name}={value}" for name, value in told.items())]
        return PlacedProcess(process.name, process.command, process.url, process.log, prefix)
