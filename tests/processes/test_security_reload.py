"""SIGHUP and the guard of a real daemon: what its files say now holds at once, in every process of it, or nothing does.

The files change without changing in time, size or place, so that only the signal can have told the daemon of it.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from daemon import all_listen, process, settings_file, workers_of
from grid import until
from parties import AUDIENCE, ISSUER, Parties, ask, jwk

from lrc.settings import LrcSettings
from reploc.demo.ports import free_port
from reploc.demo.processes import Process
from reploc.members import IndexSettings
from reploc.security.settings import AuditSettings, AuthorizationSettings, IssuerSettings, TokenSettings

#: Bytes of every file, filled up with lines that say nothing.
SIZE = 16 << 10
#: Connections after which each of three processes was met by all but one in ten thousand runs.
CONNECTIONS = 25
ADMITTED = '[[rules]]\nsubject = "*/CN=stranger"\nroles = ["reader"]\n'


@dataclass(frozen=True)
class Files:
    """The files that a daemon reads, all of one size and time."""

    folder: Path

    def change(self, name: str, content: str | bytes) -> None:
        """Writes into the file where it lies, unseen."""
        raw = content.encode() if isinstance(content, str) else content
        path = self.folder / name
        path.touch(0o600)
        with path.open("r+b") as file:
            file.write(raw.ljust(SIZE, b"\n"))
        os.utime(path, (1_000_000_000, 1_000_000_000))

    def path(self, name: str) -> str:
        return str(self.folder / name)


@dataclass(frozen=True)
class Guarded:
    """A catalog that runs, its files, and who asks it."""

    parties: Parties
    files: Files
    daemon: Process
    processes: int

    @contextmanager
    def unseen(self) -> Iterator[Files]:
        """The files, to be changed while no process of the daemon looks; then it is told of it."""
        assert self.daemon.running is not None
        main = self.daemon.running.pid
        every = [main, *workers_of(main)]
        for pid in every:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield self.files
        finally:
            for pid in every:
                os.kill(pid, signal.SIGCONT)
        self.daemon.running.send_signal(signal.SIGHUP)

    async def asked(self, name: str = "", token: str = "") -> int:
        """The status of a lookup; 0 where there is no connection."""
        try:
            url = self.daemon.url + "/v1/replicas?lfn=/store/a"
            return (await ask(url, self.parties.context(name), token))[0]
        except aiohttp.ClientError:
            return 0

    async def everywhere(self, name: str = "", token: str = "") -> set[int]:
        """What all of its processes say."""
        return {await self.asked(name, token) for _ in range(CONNECTIONS if self.processes > 1 else 1)}

    async def reloads(self, outcome: str) -> float:
        """How many looks at the files came to this, in all processes together."""
        connector = aiohttp.TCPConnector(ssl=self.parties.context("operator"))
        session = aiohttp.ClientSession(connector=connector)
        async with session, session.get(self.daemon.url + "/metrics") as answer:
            lines = (await answer.text()).splitlines()
        name = f'reploc_security_reloads_total{{outcome="{outcome}"}}'
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def shown(self) -> str:
        """The name in the certificate that the daemon shows."""
        host, _, port = self.daemon.url.removeprefix("https://").partition(":")
        context = self.parties.context("reader")
        raw = socket.create_connection((host, int(port)), timeout=20)
        with context.wrap_socket(raw, server_hostname=host) as connection:
            subject: Any = (connection.getpeercert() or {})["subject"]
        return dict(pair for part in subject for pair in part)["commonName"]


def keys(*found: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"keys": found})


def guarded(parties: Parties, folder: Path, processes: int) -> Guarded:
    """The catalog, not started yet, over files with what the parties have."""
    (folder / "live").mkdir()
    files = Files(folder / "live")
    for name in ("service.pem", "service.key", "crl.pem"):
        files.change(name, Path(parties.path(name)).read_bytes())
    files.change("jwks.json", keys(jwk(parties.signing.public_key(), "one")))
    files.change("rules.toml", (parties.directory / "rules.toml").read_text())
    certificate, key, crls = (files.path(name) for name in ("service.pem", "service.key", "crl.pem"))
    issuer = IssuerSettings(issuer=ISSUER, audience=[AUDIENCE], keys=files.path("jwks.json"))
    listen = f"127.0.0.1:{free_port()}"
    told = LrcSettings(
        site="site-a",
        store=str(folder / "store"),
        listen=listen,
        workers=processes,
        index=IndexSettings(nodes=[]),
        audit=AuditSettings(file=str(folder / "audit.jsonl")),
        tls=parties.tls(certificate=certificate, key=key, crls=crls),
        tokens=TokenSettings(issuers=[issuer]),
        authorization=AuthorizationSettings(rules=files.path("rules.toml")),
    )
    daemon = process("lrc", settings_file(folder / "lrc.toml", told), f"https://{listen}")
    return Guarded(parties, files, daemon, processes)


@pytest.mark.parametrize("processes", [1, 3])
async def test_what_the_files_say_holds_from_the_signal_on_or_nothing_of_it(tmp_path: Path, processes: int) -> None:
    parties = Parties.meet(tmp_path / "parties")
    parties.authority.issue_host("next", ["127.0.0.1"])
    later = rsa.generate_private_key(65537, 2048)
    group: Any = {"wlcg.groups": ["/cms/production"]}
    old, new = parties.token(**group), parties.token(later, kid="later", **group)
    here = guarded(parties, tmp_path, processes)
    here.daemon.start()
    try:
        await all_listen(here.daemon, processes)
        await until(lambda: here.everywhere("writer"), lambda said: said == {404}, "the catalog answers")
        assert await here.everywhere("stranger") == {403}
        assert (await here.everywhere(token=old), await here.everywhere(token=new)) == ({404}, {401})
        running = here.daemon.running

        parties.authority.revoke("writer")
        with here.unseen() as files:
            for name, source in (("crl.pem", "crl.pem"), ("service.pem", "next.pem"), ("service.key", "next.key")):
                files.change(name, Path(parties.path(source)).read_bytes())
            files.change("rules.toml", (parties.directory / "rules.toml").read_text() + ADMITTED)
            files.change("jwks.json", keys(jwk(later.public_key(), "later")))
        await until(lambda: here.reloads("taken"), lambda count: count == processes, "every process has taken them")
        await holds(here, old, new)

        parties.authority.revoke("reader")
        for number, broken in enumerate(("rules.toml", "service.key", "jwks.json"), 1):
            with here.unseen() as files:
                files.change("crl.pem", Path(parties.path("crl.pem")).read_bytes())
                files.change("rules.toml", (parties.directory / "rules.toml").read_text())
                files.change("jwks.json", keys(jwk(parties.signing.public_key(), "one")))
                files.change("service.key", Path(parties.path("next.key")).read_bytes())
                files.change(broken, "this is nothing")
            every = number * processes
            await until(lambda: here.reloads("refused"), lambda count, every=every: count == every, f"not {broken}")
            await holds(here, old, new)
        assert here.daemon.running is running
        assert running is not None
        assert running.poll() is None
    finally:
        here.daemon.stop()


async def holds(here: Guarded, old: str, new: str) -> None:
    """What the files said at the first signal is in force: all of it, and nothing that was said later."""
    assert await here.everywhere("writer") == {0}
    assert await here.everywhere("stranger") == {404}
    assert await here.everywhere("reader") == {404}
    assert (await here.everywhere(token=old), await here.everywhere(token=new)) == ({401}, {404})
    assert {here.shown() for _ in range(CONNECTIONS if here.processes > 1 else 1)} == {"next"}
