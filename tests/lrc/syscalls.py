"""The writes and syncs of a process, in their order, as the kernel sees them (ptrace, on Linux).

A tracer waits for every child of its own process, so it is one: this file is run as a program by `traced`.
"""

import ctypes
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_SYSCALL, _INFO = 24, 0x420E
_SEIZE, _INTERRUPT = 0x4206, 0x4207
#: Mark system calls, follow threads, and kill what is traced when the tracer ends.
_OPTIONS = 0x1 | 0x8 | 0x100000
_WALL = 0x40000000
_ENTRY, _EXIT = 1, 2

NUMBERS = {
    "x86_64": {1: "write", 18: "pwrite", 20: "writev", 26: "msync", 74: "fsync", 75: "fdatasync", 296: "pwritev"},
    "aarch64": {64: "write", 66: "writev", 68: "pwrite", 70: "pwritev", 82: "fsync", 83: "fdatasync", 227: "msync"},
}


class _Info(ctypes.Structure):
    """The kernel's `struct ptrace_syscall_info`, with its union read as that of an entry."""

    _fields_ = [
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64),
    ]


@dataclass(frozen=True)
class Call:
    """One call: a write as it begins, a sync when it has ended. `through` says that the file is open for O_DSYNC."""

    name: str
    fd: int
    path: str
    through: bool


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, thread, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def traced(command: Sequence[str], until_writes: int) -> list[Call]:
    """Run a command, and kill it when it has written `until_writes` times to its standard output."""
    tracer = [sys.executable, __file__, str(until_writes), *command]
    said = subprocess.run(tracer, check=True, stdout=subprocess.PIPE, timeout=120).stdout
    return [Call(**call) for call in json.loads(said)]


def _traced(command: Sequence[str], until_writes: int) -> list[Call]:
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    calls: list[Call] = []
    try:
        _ptrace(_SEIZE, child.pid, 0, _OPTIONS)
        _ptrace(_INTERRUPT, child.pid)
        for call in _calls():
            calls.append(call)
            if sum(one.fd == 1 for one in calls) == until_writes:
                return calls
    finally:
        child.kill()
        _reap()
        child.wait()
    raise AssertionError(f"the process ended after {len(calls)} calls")


def _calls() -> Iterator[Call]:
    entered: dict[int, Call | None] = {}
    while True:
        try:
            thread, status = os.waitpid(-1, _WALL)
        except ChildProcessError:
            return
        if not os.WIFSTOPPED(status):
            continue
        stopped = os.WSTOPSIG(status)
        deliver = 0
        if stopped == signal.SIGTRAP | 0x80:
            info = _info(thread)
            if info.op == _ENTRY:
                call = entered[thread] = _call(thread, info)
                if call and "write" in call.name:
                    yield call
            elif info.op == _EXIT and (call := entered.pop(thread, None)) and "sync" in call.name:
                yield call
        elif status >> 16 == 0:
            deliver = stopped
        _ptrace(_SYSCALL, thread, 0, deliver)


def _reap() -> None:
    """Wait for every thread: a process ends for its parent when its tracer has taken leave of each of them."""
    while True:
        try:
            os.waitpid(-1, _WALL)
        except ChildProcessError:
            return


def _info(thread: int) -> _Info:
    info = _Info()
    _ptrace(_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info))
    return info


def _call(thread: int, info: _Info) -> Call | None:
    name = NUMBERS[platform.machine()].get(info.number)
    if name is None:
        return None
    fd = info.args[0] if name != "msync" else -1
    try:
        path = str(Path(f"/proc/{thread}/fd/{fd}").readlink())
        flags = Path(f"/proc/{thread}/fdinfo/{fd}").read_text().split("flags:")[1].split()[0]
    except OSError:
        return Call(name, fd, "", False)
    return Call(name, fd, path, bool(int(flags, 8) & os.O_DSYNC))


if __name__ == "__main__":
    print(json.dumps([asdict(call) for call in _traced(sys.argv[2:], int(sys.argv[1]))]))
