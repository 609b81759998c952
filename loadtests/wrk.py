"""Single requests by `wrk`, a load generator in C that no Python server outruns; it walks the names of the world."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

SCRIPT = Path(__file__).with_name("walk.lua")
#: Connections, each with one request in flight: enough to keep one process busy, few enough for its queue to be short.
CONNECTIONS = 32


class WrkMissing(Exception):
    """wrk is not installed."""


class Walked(msgspec.Struct, frozen=True):
    """What wrk saw; latencies in milliseconds. `failed` counts answers with another status, and none at all."""

    answers: int
    seconds: float
    failed: int
    mean_ms: float
    p99_ms: float
    worst_ms: float

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


@dataclass(frozen=True)
class Walk:
    """A path that is asked about one name after the other, of `names`. `headers` are like `Accept: */*`."""

    port: int
    path: str
    names: int
    scheme: str = "http"
    headers: Sequence[str] = ()

    def run(self, seconds: float, rng: random.Random, connections: int = CONNECTIONS) -> Walked:
        """Asks for so long. Raises WrkMissing, and AssertionError where a request failed."""
        wrk = shutil.which("wrk")
        if wrk is None:
            raise WrkMissing("wrk is not installed; it is the Debian package wrk: apt-get install wrk")
        command = [wrk, "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--latency", "-s", str(SCRIPT)]
        command += [part for header in self.headers for part in ("-H", header)]
        command += [f"{self.scheme}://127.0.0.1:{self.port}", "--", self.path, *map(str, self._order(rng))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
        walked = msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Walked)
        assert not walked.failed, f"{walked.failed} of {walked.answers} requests failed:\n{done.stdout}"
        assert walked.answers, f"nothing was answered:\n{done.stdout}"
        return walked

    def _order(self, rng: random.Random) -> tuple[int, int, int]:
        """names, step and start of a walk that visits every name."""
        step = rng.randrange(self.names // 3, self.names // 2)
        while math.gcd(step, self.names) != 1:
            step += 1
        return self.names, step, rng.randrange(self.names)
