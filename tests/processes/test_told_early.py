"""What is told or asked while a daemon, or a worker of it, is not yet there to hear it, is heard in the end."""

import socket
import subprocess
import sys
from pathlib import Path

import counting_child
import msgspec
import opening_child
import pytest
from grid import PATIENCE_S, until

from reploc.workers import Workers, working


class Told(msgspec.Struct):
    """The settings of a worker that counts."""

    folder: str


async def test_a_worker_that_was_slow_to_say_what_it_counts_is_not_behind_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(counting_child.__file__).parent))
    times = 0
    with socket.socket() as listen:
        listen.bind(("127.0.0.1", 0))
        workers = Workers(counting_child.__name__)
        async with working(workers, Told(str(tmp_path)), [listen.dup()], relay="") as crew:

            async def begun() -> bool:
                return (tmp_path / "begun").exists()

            async def behind() -> float:
                """How many questions more it was asked than it has answered."""
                nonlocal times
                times += 1
                said = await crew.counted()
                return times - sum(value for families in said for one in families for _, _, value in one.samples)

            await until(begun, bool, "the worker has begun")
            assert await behind() == 1
            (tmp_path / "may-speak").touch()
            await until(behind, lambda answers: answers == 0, "it says what it counts now")


def test_what_a_daemon_is_told_while_it_opens_is_taken_over_once_it_listens() -> None:
    command = [sys.executable, opening_child.__file__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (0, "json\n"), done.stderr
