"""What is told or asked while a daemon, or a worker of it, is not yet there to hear it, is heard in the end."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import counting_child
import msgspec
import opening_child
import pytest
from daemon import settings_file
from grid import PATIENCE_S, until

from reploc.demo.ports import free_port
from reploc.demo.processes import INTERPRETER
from reploc.entry import serves
from reploc.supervisor import READY, STOPPING, VARIABLE, tell
from reploc.workers import Workers, working
from rli.settings import RliSettings


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
        async with working(workers, Told(str(tmp_path)), [listen.dup()], relay="", refused=dict) as crew:

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


@pytest.mark.parametrize(
    ("line", "daemon"),
    [
        ("lrc serve --config lrc.toml", True),
        ("--traceback rli serve", True),
        ("lrc scan serve", False),
        ("", False),
    ],
)
def test_only_a_daemon_holds_the_hang_up_of_its_terminal_back(line: str, *, daemon: bool) -> None:
    assert serves(line.split()) == daemon


async def test_a_reload_while_a_daemon_loads_its_modules_is_heard_once_it_listens(tmp_path: Path) -> None:
    settings = settings_file(tmp_path / "rli.toml", RliSettings(node="rli-1"))
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(PATIENCE_S)
        command = [*INTERPRETER, "rli", "serve", "--config", str(settings), "--listen", f"127.0.0.1:{port}"]
        variables = {**os.environ, VARIABLE: str(tmp_path / "notify")}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as daemon:

            async def blocked() -> bool:
                status = Path(f"/proc/{daemon.pid}/status").read_text()
                held = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:"))
                return bool(int(held, 16) & 1 << signal.SIGHUP - 1)

            await until(blocked, bool, "the signal is held back")
            daemon.send_signal(signal.SIGHUP)
            assert supervisor.recv(100).decode() == READY
            socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
            daemon.send_signal(signal.SIGTERM)
            assert supervisor.recv(100).decode() == STOPPING
            _, said = daemon.communicate(timeout=PATIENCE_S)
    assert daemon.returncode == 0
    assert "security.reloaded" in said


async def test_a_supervisor_is_told_by_a_name_of_no_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        name = f"reploc-{os.getpid()}"
        supervisor.bind("\0" + name)
        supervisor.settimeout(PATIENCE_S)
        monkeypatch.setenv(VARIABLE, f"@{name}")
        tell(READY)
        assert supervisor.recv(100).decode() == READY


def test_a_supervisor_that_is_gone_keeps_no_daemon_from_serving(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with caplog.at_level("INFO"):
        tell(READY)
    assert "supervisor.not-told" in caplog.text
