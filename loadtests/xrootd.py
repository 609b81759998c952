"""Real XRootD servers on the loopback, of Debian's packages: root:// and HTTP with third-party copy on one port.

TLS must be configured, or the third-party copy of HTTP is not loaded; authorities and key lie in different folders,
since the server reads all that is in the authorities'. Servers refuse to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from loadtests.servers import PeerMissing
from reploc.demo.ports import free_port

START_S = 30.0

CONFIG = """
all.export /
oss.localroot {data}
all.adminpath {run}
all.pidpath {run}
xrd.port {port}
xrd.network nodnr norpipa
xrd.tls {certificate} {key}
xrd.tlsca certdir {authorities}
if exec xrootd
xrd.protocol XrdHttp:{port} libXrdHttp.so
fi
http.listingdeny no
http.desthttps no
http.selfhttps2http no
http.exthandler xrdtpc libXrdHttpTPC.so
ofs.tpc autorm streams 4 ttl 30 60 xfr 20 pgm /usr/bin/xrdcp --server
ofs.ckslib zcrc32 libXrdCksCalczcrc32.so
xrootd.chksum max 4 chkcgi adler32 crc32c md5
"""


@dataclass
class XrootdServer:
    """One server: its storage, and the process while it runs."""

    home: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.data.mkdir(parents=True)
        (self.home / "run").mkdir()
        (self.home / "authorities").mkdir()
        certificate, key = self_signed()
        (self.home / "certificate.pem").write_bytes(certificate)
        (self.home / "authorities" / "ca.pem").write_bytes(certificate)
        (self.home / "key.pem").write_bytes(key)
        (self.home / "key.pem").chmod(0o400)
        names = {name: self.home / f"{name}.pem" for name in ("certificate", "key")}
        told = CONFIG.format(
            data=self.data, run=self.home / "run", port=self.port, authorities=self.home / "authorities", **names
        )
        (self.home / "xrootd.cf").write_text(told)
        if owner := user():
            for path in (self.home, *self.home.rglob("*")):
                shutil.chown(path, owner)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def root(self) -> str:
        return f"root://127.0.0.1:{self.port}/"

    def start(self) -> None:
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "xrootd",
                    "-I",
                    "v4",
                    "-n",
                    "test",
                    "-c",
                    str(self.home / "xrootd.cf"),
                    "-l",
                    str(self.home / "own.log"),
                ],
                user=user(),
                cwd=self.home / "run",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, self.said()
                time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Signals the server and whatever it started."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def said(self) -> str:
        logs = [*self.home.rglob("*.log"), self.home / "log"]
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())


def user() -> str | None:
    """Whom to run it as where this is root."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "xrootd" if "xrootd" in names else "nobody"


@contextmanager
def running(count: int = 1) -> Iterator[list[XrootdServer]]:
    """So many servers while the context lasts, in a folder of their own that their user may enter; or PeerMissing."""
    if not shutil.which("xrootd"):
        raise PeerMissing("XRootD's server is not installed; it is the Debian package xrootd-server")
    with tempfile.TemporaryDirectory(prefix="reploc-xrootd-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        servers: list[XrootdServer] = []
        try:
            servers += (_started(home, number) for number in range(count))
            yield servers
        finally:
            for server in servers:
                server.stop()


def _started(home: Path, number: int, tries: int = 3) -> XrootdServer:
    """A server that answers; on another port where somebody else took the first between its choice and its use."""
    for attempt in range(tries):
        server = XrootdServer(home / f"xrootd-{number}-{attempt}")
        try:
            server.start()
        except AssertionError:
            server.stop()
            if attempt == tries - 1:
                raise
        else:
            return server
    raise AssertionError("no server was tried")


def self_signed() -> tuple[bytes, bytes]:
    """A certificate for this machine that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return certificate.public_bytes(pem), key.private_bytes(pem, *plain)
