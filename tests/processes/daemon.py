"""Real daemons as processes: their settings files, their end, and what they said on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
from grid import until

from loadtests.servers import listeners
from reploc.config import Settings
from reploc.demo.processes import Process

#: Seconds that a daemon which cannot start may take to say so.
FAIL_S = 60.0


def settings_file(path: Path, settings: Settings, extra: str = "") -> Path:
    """The settings as the TOML file that a daemon is given, with extra lines in front."""
    path.write_text(extra + "\n".join(_lines(msgspec.to_builtins(settings), "")) + "\n")
    return path


def _lines(table: dict[str, object], prefix: str) -> list[str]:
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in table.items() if _plain(value)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"[{prefix}{key}]", *_lines(value, f"{prefix}{key}.")]
        elif not _plain(value):
            assert isinstance(value, list)
            for row in value:
                lines += [f"[[{prefix}{key}]]", *_lines(row, f"{prefix}{key}.")]
    return lines


def _plain(value: object) -> bool:
    return not isinstance(value, dict) and not (isinstance(value, list) and value and isinstance(value[0], dict))


def process(service: str, settings: Path, url: str) -> Process:
    """The daemon of a service, not started yet; its log lies beside its settings."""
    command = [service, "serve", "--config", str(settings)]
    return Process(f"{service} {settings.stem}", command, url, settings.with_suffix(".log"))


def failed(service: str, settings: Path, *options: str) -> tuple[int, list[str]]:
    """The exit status and the lines on standard error, which begin with `reploc: `, of a daemon that cannot start."""
    command = [sys.executable, "-m", "reploc", service, "serve", "--config", str(settings), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FAIL_S, check=False)
    assert done.stdout == ""
    return done.returncode, [line.removeprefix("reploc: ") for line in done.stderr.splitlines()]


def workers_of(pid: int) -> set[int]:
    """The processes that a process started and that have not ended."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.add(int(path.parent.name))
    return found


async def all_listen(daemon: Process, processes: int) -> None:
    """Waits until each process of a daemon listens; the main one answers before its workers do."""
    port = int(daemon.url.rpartition(":")[2])

    async def listening() -> int:
        return listeners(port)

    await until(listening, lambda count: count == processes, f"{processes} processes listen")
