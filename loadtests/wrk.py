"""Requests by `wrk`, a load generator in C that no Python server outruns: names in turn, or requests as they stand."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

WALK, REQUESTS = (Path(__file__).with_name(name) for name in ("walk.lua", "requests.lua"))
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
        options = [part for header in self.headers for part in ("-H", header)]
        url = f"{self.scheme}://127.0.0.1:{self.port}"
        return _run(WALK, url, seconds, connections, options, [self.path, *map(str, self._order(rng))])

    def _order(self, rng: random.Random) -> tuple[int, int, int]:
        """names, step and start of a walk that visits every name."""
        step = rng.randrange(self.names // 3, self.names // 2)
        while math.gcd(step, self.names) != 1:
            step += 1
        return self.names, step, rng.randrange(self.names)


def sent(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> Walked:
    """Whole requests to a port of the loopback, sent one after the other for so long. Raises as `Walk.run` does."""
    with tempfile.NamedTemporaryFile(prefix="reploc-requests-") as file:
        for request in requests:
            file.write(b"%d\n%s" % (len(request), request))
        file.flush()
        return _run(REQUESTS, f"http://127.0.0.1:{port}", seconds, connections, [], [file.name])


def _run(
    script: Path, url: str, seconds: float, connections: int, options: Sequence[str], arguments: Sequence[str]
) -> Walked:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WrkMissing("wrk is not installed; it is the Debian package wrk: apt-get install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--latency", "-s", str(script), *options]
    done = subprocess.run(
        [*command, url, "--", *arguments], capture_output=True, text=True, timeout=seconds + 60, check=True
    )
    walked = msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Walked)
    assert not walked.failed, f"{walked.failed} of {walked.answers} requests failed:\n{done.stdout}"
    assert walked.answers, f"nothing was answered:\n{done.stdout}"
    return walked
