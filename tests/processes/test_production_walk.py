"""The set-up under `configs/production`, walked as whoever has a real authority would: all daemons and commands.

The authority is made by OpenSSL's own command line: a root, one below it that issues, its chain behind each
certificate, and hashed directories of authorities and revocation lists as `fetch-crl` keeps them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from daemon import process
from grid import until
from parties import Parties

from reploc.cli import cli
from reploc.demo.ports import free_port
from reploc.demo.processes import Process

PRODUCTION = Path(__file__).parents[2] / "configs" / "production"
HOSTS = {"lrc": "lrc.a", "rli": "rli-1", "placement": "placement", "fileops": "fileops"}
PORTS = {"lrc": 39280, "rli": 39290, "placement": 39300, "fileops": 39310}
ISSUER = "https://auth.example.org/"
CA_CONFIG = """
[ca]
default_ca = one
[one]
dir = {name}
database = {name}.index
serial = {name}.serial
crlnumber = {name}.crlnumber
new_certs_dir = .
certificate = {name}.pem
private_key = {name}.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
[any]
domainComponent = optional
organizationalUnitName = optional
commonName = supplied
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[end]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass
class Authority:
    """A root and an authority under it, as files of OpenSSL's `ca` in one folder."""

    folder: Path

    def openssl(self, *words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def begin(self) -> None:
        self.folder.mkdir()
        for name in ("root", "issuing"):
            (self.folder / f"{name}.cnf").write_text(CA_CONFIG.format(name=name))
            (self.folder / f"{name}.index").touch()
            (self.folder / f"{name}.serial").write_text("1000\n")
            (self.folder / f"{name}.crlnumber").write_text("01\n")
        self._asked("root", "/DC=org/DC=example/CN=Example Grid Root")
        self._sign("root", "root", "authority", "-selfsign")
        self._asked("issuing", "/DC=org/DC=example/CN=Example Grid CA")
        self._sign("issuing", "root", "authority")
        (self.folder / "authorities").mkdir()
        self.openssl("x509", "-in", "root.pem", "-out", "authorities/root.pem")
        self.lists()

    def issue(self, name: str, subject: str) -> None:
        """NAME.key, and NAME.pem with the issuing authority's certificate behind it."""
        self._asked(name, subject)
        self._sign(name, "issuing", "end")
        chain = (self.folder / f"{name}.pem").read_text() + (self.folder / "issuing.pem").read_text()
        (self.folder / f"{name}.pem").write_text(chain)
        (self.folder / f"{name}.key").chmod(0o600)

    def revoke(self, name: str) -> None:
        self.openssl("ca", "-config", "issuing.cnf", "-revoke", f"{name}.pem")
        self.lists()

    def lists(self) -> None:
        """Revocation lists of both, in the directory, under the names that OpenSSL looks for."""
        for name in ("root", "issuing"):
            self.openssl("ca", "-config", f"{name}.cnf", "-gencrl", "-out", f"{name}.new")
            (self.folder / f"{name}.new").replace(self.folder / "authorities" / f"{name}.crl.pem")
        self.openssl("rehash", "authorities")

    def _asked(self, name: str, subject: str) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self.openssl("req", "-new", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)

    def _sign(self, name: str, by: str, kind: str, *more: str) -> None:
        files = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-notext")
        signing = ("-config", f"{by}.cnf", "-extensions", kind, *more)
        self.openssl("ca", "-batch", "-preserveDN", "-keyfile", f"{by}.key", *signing, *files)


@dataclass
class Grid:
    """All four daemons from their files, and who may ask them."""

    folder: Path
    authority: Authority
    parties: Parties
    daemons: dict[str, Process]

    async def run(self, line: str, who: str = "monitor", **variables: str) -> tuple[int, str]:
        """The status of a command and what it says, run as the one whose certificate it shows; nobody's shows none."""
        words = [part.format(folder=self.folder, **self.urls) for part in line.split()]
        shown = {"X509_CERT_DIR": str(self.authority.folder / "authorities"), "X509_USER_PROXY": "", **variables}
        if who:
            stem = self.authority.folder / who
            shown |= {"X509_USER_CERT": f"{stem}.pem", "X509_USER_KEY": f"{stem}.key"}
        done = await asyncio.to_thread(CliRunner().invoke, cli, words[1:], env=shown)
        return done.exit_code, done.output

    async def does(self, line: str, who: str = "monitor", **variables: str) -> str:
        """What a command says that is allowed and succeeds."""
        status, said = await self.run(line, who, **variables)
        assert status == 0, f"{line} as {who or variables}: status {status}: {said}"
        return said

    @property
    def urls(self) -> dict[str, str]:
        return {name: daemon.url for name, daemon in self.daemons.items()}


def written(name: str, folder: Path, urls: dict[str, str]) -> Path:
    """The file of one service, with this machine's addresses and folders in the places of the example's."""
    text = (PRODUCTION / f"{name}.toml").read_text()
    for service, host in HOSTS.items():
        text = text.replace(f"https://{host}.example.org:{PORTS[service]}", urls[service])
        text = text.replace(f'listen = "0.0.0.0:{PORTS[service]}"', f'listen = "{urls[service][8:]}"')
    second = '[[index.nodes]]\nname = "rli-2"\nurl = "https://rli-2.example.org:39290"\n\n'
    text = text.replace(second, "").replace(
        "redundancy = 2", "redundancy = 1\nrenewal_interval_s = 0.5\nexpiry_s = 5.0"
    )
    text = text.replace("lrc.a.example.org", "127.0.0.1").replace('log_format = "json"', 'log_format = "text"')
    for place, stem in (("tls/host.pem", f"{name}.pem"), ("tls/host.key", f"{name}.key"), ("rules.toml", "rules.toml")):
        text = text.replace(f"/etc/reploc/{place}", str(folder / "ca" / stem))
    text = text.replace("/etc/grid-security/certificates", str(folder / "ca" / "authorities"))
    text = text.replace("/var/lib/reploc", str(folder)).replace("/var/log/reploc", str(folder))
    text = text.replace(f'issuer = "{ISSUER}"', f'issuer = "{ISSUER}"\nkeys = "{folder}/parties/jwks.json"')
    assert "example.org:" not in text.replace(ISSUER, "")
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


@pytest.fixture
async def grid(tmp_path: Path) -> AsyncIterator[Grid]:
    authority = Authority(tmp_path / "ca")
    authority.begin()
    for name, host in HOSTS.items():
        authority.issue(name, f"/DC=org/DC=example/OU=hosts/CN={host}.example.org")
        (tmp_path / name).mkdir()
    for name in ("monitor", "checker"):
        authority.issue(name, f"/DC=org/DC=example/OU=hosts/CN={name}.example.org")
    authority.issue("jane", "/DC=org/DC=example/OU=people/CN=Jane Doe")
    (tmp_path / "ca" / "rules.toml").write_text((PRODUCTION / "rules.toml").read_text())
    urls = {name: f"https://127.0.0.1:{free_port()}" for name in HOSTS}
    made = {name: process(name, written(name, tmp_path, urls), urls[name]) for name in HOSTS}
    grid = Grid(tmp_path, authority, Parties.meet(tmp_path / "parties"), made)
    try:
        for daemon in made.values():
            daemon.start()
        for name in ("lrc", "rli", "placement", "fileops"):

            async def whoami(url: str = urls[name]) -> tuple[int, str]:
                return await grid.run(f"reploc whoami --lrc {url}")

            await until(whoami, lambda said: said[0] == 0, f"{name} answers")
        yield grid
    finally:
        for daemon in made.values():
            daemon.stop()


async def test_the_set_up_for_production_serves_every_kind_of_command(grid: Grid, tmp_path: Path) -> None:
    await index_and_catalog(grid, tmp_path)
    await placement_and_carriers(grid, tmp_path)
    await consistency(grid, tmp_path)
    await tokens(grid, tmp_path)
    grid.authority.revoke("jane")

    async def jane() -> int:
        return (await grid.run("reploc locate --rli {rli} /store/a", "jane"))[0]

    await until(jane, lambda status: status not in (0, 1, 3), "who was taken back is refused")
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    subjects = {line["who"]["subject"] for line in lines}
    assert "/DC=org/DC=example/OU=hosts/CN=monitor.example.org" in subjects
    assert "/DC=org/DC=example/OU=people/CN=Jane Doe" not in subjects


async def index_and_catalog(grid: Grid, folder: Path) -> None:
    (folder / "tree").mkdir()
    (folder / "tree" / "f").write_bytes(b"1")
    await grid.does("reploc register --lrc {lrc} /store/a file:///tmp/a")
    await grid.does("reploc lrc scan {folder}/tree --lrc {lrc} --lfn-prefix /store/tree/")
    await grid.does("reploc lrc dump --lrc {lrc} -o {folder}/dump.ndjson")
    await grid.does("reploc lrc load {folder}/dump.ndjson --lrc {lrc}")
    await grid.does("reploc status --lrc {lrc} --rli {rli}")

    async def found() -> tuple[int, str]:
        return await grid.run("reploc lookup --rli {rli} /store/a /store/tree/f", "jane")

    _, said = await until(found, lambda answer: answer[0] == 0, "Jane finds both files, and the answer is complete")
    assert "file:///tmp/a" in said
    await grid.does("reploc tree --rli {rli}")
    status, said = await grid.run("reploc register --lrc {lrc} /store/b file:///tmp/b", "jane")
    assert (status != 0, "write-catalog" in said) == (True, True), said
    status, said = await grid.run("reploc lookup --rli {rli} /store/a", "")
    assert status not in (0, 1, 3), said
    await grid.does("reploc unregister --lrc {lrc} /store/a file:///tmp/a")


async def placement_and_carriers(grid: Grid, folder: Path) -> None:
    at = "--placement {placement}"
    await grid.does(f"reploc placement inventory pull {at}")
    await grid.does(f"reploc placement inventory show {at}")
    await grid.does(f"reploc placement orders list {at}")
    await grid.does(f"reploc placement history {at}")
    await grid.does(f"reploc placement sites list {at}")
    (folder / "groups.json").write_text('{"groups": [{"name": "users"}]}')
    await grid.does(f"reploc placement inject {{folder}}/groups.json {at}")
    assert (await grid.run(f"reploc placement inject {{folder}}/groups.json {at}", "jane"))[0] != 0
    for command in ("status", "list", "links", "history"):
        await grid.does(f"reploc fileops {command} --fileops {{fileops}}")
    assert (await grid.run("reploc fileops drain --fileops {fileops}", "jane"))[0] != 0


async def consistency(grid: Grid, folder: Path) -> None:
    (folder / "consistency.toml").write_text(
        f"""
state = "{folder}/checks"
database = "sqlite:///{folder}/checks.db"
grace_age_s = 0
placement = "{grid.urls["placement"]}"
fileops = "{grid.urls["fileops"]}"
index = ["{grid.urls["rli"]}"]
[[sites]]
name = "site-a"
lrc = "{grid.urls["lrc"]}"
[[sites.doors]]
protocol = "posix"
url = "{(folder / "tree").as_uri()}"
[[sites.rules]]
prefix = "/store/tree/"
to = "/"
"""
    )
    said = await grid.does("reploc consistency check site-a --json --config {folder}/consistency.toml", "checker")
    report = json.loads(said)
    assert (report["state"], report["tally"]["kinds"]["ok"]["files"]) == ("done", 1)
    await grid.does("reploc consistency history --config {folder}/consistency.toml")
    await grid.does("reploc consistency lost --config {folder}/consistency.toml")


async def tokens(grid: Grid, folder: Path) -> None:
    """Commands by token alone: of a group that rules name, and of a scope that says it itself."""
    audience = "https://reploc.example.org"
    by_group = grid.parties.token(iss=ISSUER, aud=audience, **{"wlcg.groups": ["/example/production"]})
    by_scope = grid.parties.token(iss=ISSUER, aud=audience, scope="storage.read:/store/tree")
    for name, token in (("group", by_group), ("scope", by_scope)):
        (folder / name).write_text(token)
    group, scope = ({"BEARER_TOKEN_FILE": str(folder / name)} for name in ("group", "scope"))
    await grid.does("reploc register --lrc {lrc} /store/t file:///tmp/t", "", **group)
    await grid.does("reploc lookup --rli {rli} /store/tree/f", "", **scope)
    assert (await grid.run("reploc register --lrc {lrc} /store/tree/g file:///g", "", **scope))[0] != 0
    assert (await grid.run("reploc fileops drain --fileops {fileops}", "", **group))[0] != 0
