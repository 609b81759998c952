"""Machines on one machine: network namespaces around a router, whose ways are cut and whose links are slowed down.

Every machine has an address and a link of its own. A cut is a rule of the router's that drops what one machine sends to
another without a word, as a broken switch does, so that who waits for an answer learns nothing. Needs root.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from needed import needed, needs_command

from reploc.demo.processes import INTERPRETER, Process

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
#: Bits per second of a slow link: a lookup takes a good while, and a summary of this size of site some seconds.
SLOW_BITS = 64_000

_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """Machines by name, all of which reach each other."""

    def __init__(self, machines: Sequence[str]) -> None:
        self._prefix = f"reploc-{os.getpid()}"
        self._numbers = {name: number for number, name in enumerate(machines, start=1)}
        self._cuts: set[tuple[str, str]] = set()
        self._slow: set[str] = set()

    def address(self, machine: str) -> str:
        return f"10.77.{self._numbers[machine]}.2"

    def _namespace(self, machine: str) -> str:
        return f"{self._prefix}-{machine}"

    @property
    def _router(self) -> str:
        return self._namespace("router")

    def open(self) -> None:
        _run("ip", "netns", "add", self._router)
        _run("ip", "netns", "exec", self._router, "tee", "/proc/sys/net/ipv4/ip_forward", said=b"1")
        for machine, number in self._numbers.items():
            inside, link = self._namespace(machine), f"to{number}"
            _run("ip", "netns", "add", inside)
            _run("ip", "link", "add", "name", "out", "netns", inside, "type", "veth",
                 "peer", "name", link, "netns", self._router)  # fmt: skip
            _run("ip", "-n", inside, "address", "add", f"{self.address(machine)}/24", "dev", "out")
            _run("ip", "-n", self._router, "address", "add", f"10.77.{number}.1/24", "dev", link)
            for namespace, device in ((inside, "lo"), (inside, "out"), (self._router, link)):
                _run("ip", "-n", namespace, "link", "set", device, "up")
            _run("ip", "-n", inside, "route", "add", "default", "via", f"10.77.{number}.1")

    def close(self) -> None:
        for machine in (*self._numbers, "router"):
            subprocess.run(["ip", "netns", "delete", self._namespace(machine)], check=False, capture_output=True)

    # ---- faults --------------------------------------------------------------------------------------------------

    def cut(self, some: Sequence[str], others: Sequence[str]) -> None:
        """Nothing that one of these sends to one of those arrives, nor the other way round."""
        for one in some:
            for other in others:
                for pair in ((one, other), (other, one)):
                    if one != other and pair not in self._cuts:
                        self._rule("add", *pair)
                        self._cuts.add(pair)

    def slow_down(self, machine: str) -> None:
        """What is sent to this machine passes a narrow link."""
        rate = ("tbf", "rate", f"{SLOW_BITS}bit", "burst", "3000", "latency", "5s")
        _run("tc", "-n", self._router, "qdisc", "add", "dev", f"to{self._numbers[machine]}", "root", *rate)
        self._slow.add(machine)

    def mend(self) -> None:
        """All ways are open and fast."""
        while self._cuts:
            self._rule("delete", *self._cuts.pop())
        while self._slow:
            device = f"to{self._numbers[self._slow.pop()]}"
            _run("tc", "-n", self._router, "qdisc", "delete", "dev", device, "root")

    def _rule(self, what: str, source: str, target: str) -> None:
        way = ("from", self.address(source), "to", self.address(target), "blackhole")
        _run("ip", "-n", self._router, "rule", what, *way)

    # ---- what runs there -----------------------------------------------------------------------------------------

    def run(self, machine: str, work: Callable[[], Coroutine[None, None, T]]) -> T:
        """Runs a coroutine whose sockets are those of a machine."""

        def there() -> T:
            with Path(f"/run/netns/{self._namespace(machine)}").open() as namespace:
                if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return asyncio.run(work())

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()

    def placed(self, process: Process, machine: str) -> PlacedProcess:
        """The same daemon, to be started on a machine."""
        prefix = ("ip", "netns", "exec", self._namespace(machine))
        return PlacedProcess(process.name, process.command, process.url, process.log, prefix)


class PlacedProcess(Process):
    """A daemon that is started by another command: on a machine of its own, say, or under another clock."""

    def __init__(self, name: str, command: list[str], url: str, log: Path, prefix: Sequence[str]) -> None:
        super().__init__(name, command, url, log)
        self._prefix = prefix

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [*self._prefix, *INTERPRETER, *self.command], stdout=log, stderr=log, start_new_session=True
            )


@contextmanager
def network(machines: Sequence[str]) -> Iterator[Network]:
    """These machines, as long as the context lasts."""
    needs_command("ip", "iproute2")
    needed(os.geteuid() == 0, "network namespaces: run the tests as root")
    made = Network(machines)
    try:
        made.open()
        yield made
    finally:
        made.close()


def _run(*command: str, said: bytes = b"") -> None:
    done = subprocess.run(command, input=said, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode()}"
