"""Daemons as processes of this machine: started, awaited, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reploc.client.transport import HttpTransport, Request
from reploc.errors import DeadlineExceeded, Internal, Unreachable
from reploc.status import Health

#: The `reploc` command of this very interpreter, installed or not.
INTERPRETER = (sys.executable, "-m", "reploc")
#: Seconds that a daemon may take to answer after it was started: it is there in one or two, but many that are started
#: together on a busy machine wait for each other.
START_S = 120.0
#: Seconds that a daemon may take to stop when asked to.
STOP_S = 10.0
#: Seconds between two looks at a daemon that is not there yet.
LOOK_S = 0.05


async def finished(command: list[str], variables: Mapping[str, str] | None = None) -> str:
    """Runs a `reploc` command to its end, with more variables, and gives what it printed.

    Raises Internal with what it said when it fails.
    """
    status, printed, said = await ended(command, variables)
    if status:
        raise Internal(f"reploc {' '.join(command[:2])} ended with status {status}: {said[-300:]}")
    return printed


async def ended(command: list[str], variables: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Runs a `reploc` command to its end, however that is: its exit status, what it printed, and what it said."""
    running = await asyncio.create_subprocess_exec(
        *INTERPRETER,
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(variables or {})},
    )
    printed, said = await running.communicate()
    return running.returncode or 0, printed.decode(), said.decode()


@dataclass
class Process:
    """One daemon: its command, where it answers, where its log goes, and the process while it runs."""

    name: str
    command: list[str]
    url: str
    log: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it in a session of its own, so that a key pressed for the demo does not stop it."""
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(  # noqa: S603 - the command is ours, and no shell reads it
                [*INTERPRETER, *self.command], stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up or to say goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.running is None:
            return
        self.running.send_signal(number)
        try:
            self.running.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
        self.running = None

    async def answering(self) -> None:
        """Waits until it answers. Raises Unreachable with the end of its log when it never does."""
        transport = HttpTransport()
        loop = asyncio.get_running_loop()
        until = loop.time() + START_S
        try:
            while loop.time() < until and self.running is not None and self.running.poll() is None:
                try:
                    await transport.ask(Request("GET", self.url, "/healthz", Health), loop.time() + 1.0)
                    return
                except (Unreachable, DeadlineExceeded):
                    await asyncio.sleep(LOOK_S)
        finally:
            await transport.close()
        said = self.log.read_text(errors="replace").strip().splitlines()[-5:]
        raise Unreachable(f"{self.name} did not answer at {self.url}; its log ends: {' | '.join(said)}")
