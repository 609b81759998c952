"""A real etcd on free ports of the loopback, started, killed and started again on the same data."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path

from needed import needs_command
from plain_http import ask

from reploc.demo.ports import free_port


class EtcdServer:
    """One etcd, which keeps its ports and its data from start to start."""

    def __init__(self, path: Path, tls: Sequence[str] = ()) -> None:
        """With `tls`, options about certificates, it serves https."""
        needs_command("etcd", "etcd-server")
        self._path = path
        self._tls = tls
        self._client, self._peer, self._metrics = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._client}"

    async def start(self) -> None:
        client, peer = self.url, f"http://127.0.0.1:{self._peer}"
        args = ["--data-dir", str(self._path / "etcd"), "--listen-client-urls", client]
        args += ["--advertise-client-urls", client, "--listen-peer-urls", peer]
        args += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        args += ["--listen-metrics-urls", f"http://127.0.0.1:{self._metrics}", *self._tls]
        with (self._path / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(["etcd", *args], stdout=log, stderr=log)
        for _ in range(600):
            try:
                if (await ask(f"http://127.0.0.1:{self._metrics}/health"))[0] == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(f"etcd does not answer: {(self._path / 'etcd.log').read_text()[-2_000:]}")

    async def nodes(self) -> list[str]:
        """The names of the index nodes that are in it, in the folder that is the default."""
        within = {"key": _text("/reploc/rli/"), "range_end": _text("/reploc/rli0"), "keys_only": True}
        _, said = await ask(self.url + "/v3/kv/range", body=within)
        return [b64decode(one["key"]).decode().removeprefix("/reploc/rli/") for one in said.get("kvs", [])]

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Everything that it ever knew, while it is down."""
        shutil.rmtree(self._path / "etcd")


def _text(raw: str) -> str:
    return b64encode(raw.encode()).decode()
