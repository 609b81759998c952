"""The mixed scenario: jobs that look names up while others are registered, by locust, on two sites and two index nodes.

    python -m loadtests.mixed [--quick] [--names N] [--seconds N]

The framework paper (Giggle, section 2) asks for 1,000 queries and 200 updates a second; the bars are the design's. Each
simulated user keeps an even pace, so that slow answers do not make the load lighter. locust's own part of a latency, a
good half millisecond, counts as ours. A failed request ends the program with a status other than 0.
"""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests import filled_store, servers
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace

AT = "1,000 queries/s with 200 updates/s"
QUERIES = Figure("mixed, queries held", "requests/s", "more", 1_000)
UPDATES = Figure("mixed, updates held", "requests/s", "more", 200)
MEAN = Figure("mixed, mean of queries", "ms", "less", 2.0, AT)
WORST = Figure("mixed, worst of queries", "ms", "less", 1_000, AT)

NAMES, QUICK_NAMES = 200_000, 50_000
USERS_FILE = Path(__file__).with_name("mixed_users.py")
USERS = 100
SITES = ("site-a", "site-b")
SECONDS, QUICK_SECONDS = 60, 15
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
    seconds = scale.seconds or (QUICK_SECONDS if scale.quick else SECONDS)
    with workspace() as folder, ExitStack() as stack:
        index = servers.index_of(2)
        nodes = [servers.node(folder, node.name, index) for node in index.nodes]
        for site in SITES:
            filled_store.fill(folder / site, site, scale.names)
        catalogs = [servers.catalog(folder, site, folder / site, index) for site in SITES]
        for process in nodes:
            stack.enter_context(servers.running(process, ready=False))
        for process in catalogs:
            stack.enter_context(servers.running(process))
        environment = {
            "MIXED_LRCS": ",".join(process.url for process in catalogs),
            "MIXED_RLIS": ",".join(process.url for process in nodes),
            "MIXED_NAMES": str(scale.names),
            "MIXED_SEED": str(scale.seed),
        }
        rows = _locust(folder, environment, seconds)
    yield from _results(rows, f"{seconds} s, 2 sites of {scale.names:,} LFNs, 2 index nodes")


def _locust(folder: Path, environment: dict[str, str], seconds: int) -> list[Row]:
    """Runs locust, whose table goes to the terminal. Raises CalledProcessError where a request failed."""
    command = [sys.executable, "-m", "locust", "-f", str(USERS_FILE), "--headless", "--only-summary"]
    command += [
        "-u",
        str(USERS),
        "-r",
        str(USERS),
        "-t",
        f"{seconds}s",
        "--csv",
        str(folder / "mixed"),
        "--reset-stats",
    ]
    subprocess.run(command, env=os.environ | environment, timeout=seconds + PATIENCE_S, check=True)
    return rows_of(folder / "mixed_stats.csv")


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
    run("The mixed scenario.", measure, NAMES, QUICK_NAMES)
