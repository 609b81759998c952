"""The scenario of `make loadtest`: jobs that look names up while others are registered, by locust, headless.

    python -m loadtests.scenario [--quick] [--names N] [--seconds N]

Each simulated user keeps an even pace, so that slow answers do not make the load lighter. locust takes most of a core
and measures itself along, so that no bar is held to what it says: `mixed.py` measures those. A failed request ends the
program with a status other than 0.
"""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtests.figure import Figure, Result
from loadtests.mixed_grid import grid
from loadtests.program import Scale, run, workspace

QUERIES = Figure("scenario, queries held", "requests/s", "more")
UPDATES = Figure("scenario, updates held", "requests/s", "more")
MEAN = Figure("scenario, mean of queries as locust sees it", "ms", "less")
WORST = Figure("scenario, worst of queries as locust sees it", "ms", "less")

NAMES, QUICK_NAMES, TOY_NAMES = 200_000, 50_000, 5_000
USERS_FILE = Path(__file__).with_name("scenario_users.py")
USERS = 100
#: Locust counts from before it has loaded, and writes its table once a second: a busy machine takes a while to both.
SECONDS, QUICK_SECONDS, TOY_SECONDS = 60, 15, 8
#: Seconds beyond its own time that locust may take to start and to stop.
PATIENCE_S = 60


@dataclass(frozen=True)
class Row:
    """What locust says of one kind of request."""

    name: str
    requests: int
    failures: int
    mean_ms: float
    worst_ms: float
    rate: float


def measure(scale: Scale) -> Iterator[Result]:
    """Rates and latencies over one run, at two sites that hold the same `scale.names` names."""
    seconds = scale.seconds or scale.of(SECONDS, QUICK_SECONDS, TOY_SECONDS)
    with workspace() as folder, grid(scale, folder) as servers:
        environment = {
            "SCENARIO_LRCS": ",".join(catalog.url for catalog in servers.catalogs),
            "SCENARIO_RLIS": ",".join(node.url for node in servers.nodes),
            "SCENARIO_NAMES": str(scale.names),
            "SCENARIO_SEED": str(scale.seed),
        }
        rows = _locust(folder, environment, seconds)
    yield from _results(rows, f"{seconds} s, 2 sites of {scale.names:,} LFNs, 2 index nodes")


def _locust(folder: Path, environment: dict[str, str], seconds: int) -> list[Row]:
    """Runs locust, whose table goes to the terminal. Raises CalledProcessError where a request failed."""
    command = [sys.executable, "-m", "locust", "-f", str(USERS_FILE), "--headless", "--only-summary", "--reset-stats"]
    command += ["-u", str(USERS), "-r", str(USERS), "-t", f"{seconds}s", "--csv", str(folder / "scenario")]
    subprocess.run(command, env=os.environ | environment, timeout=seconds + PATIENCE_S, check=True)
    return rows_of(folder / "scenario_stats.csv")


def rows_of(stats: Path) -> list[Row]:
    """The rows of locust's table, without its sum."""
    with stats.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                line["Name"],
                int(line["Request Count"]),
                int(line["Failure Count"]),
                float(line["Average Response Time"]),
                float(line["Max Response Time"]),
                float(line["Requests/s"]),
            )
            for line in csv.DictReader(file)
            if line["Name"] != "Aggregated"
        ]


def _results(rows: list[Row], scale: str) -> Iterator[Result]:
    assert not any(row.failures for row in rows), [row for row in rows if row.failures]
    queries = [row for row in rows if row.name.startswith("query")]
    updates = [row for row in rows if row.name.startswith("update")]
    count = sum(row.requests for row in queries)
    each = "; ".join(f"{row.name} {row.mean_ms:.1f} ms" for row in rows)
    yield Result(QUERIES, scale, (sum(row.rate for row in queries),))
    yield Result(UPDATES, scale, (sum(row.rate for row in updates),))
    yield Result(MEAN, scale, (math.fsum(row.mean_ms * row.requests for row in queries) / count,), note=each)
    yield Result(WORST, scale, (max(row.worst_ms for row in queries),))


if __name__ == "__main__":
    run("The scenario of lookups and registrations.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
