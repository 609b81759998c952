"""What safety costs: single lookups at a catalog with TLS, with tokens, with rules, and new connections.

python -m loadtests.tls_and_tokens [--quick] [--names N]

The same catalog is started anew for each row, on the same store. `wrk` has no certificate of its own, so that who asks
over TLS is either nobody, whom a rule lets read, or the bearer of a token; a certificate is looked at once for each
connection, which the last row is about: complete handshakes with certificates on both sides, by `openssl s_time`.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from loadtests import servers
from loadtests.figure import Figure, Result
from loadtests.program import Scale, run, workspace
from loadtests.runs import walked
from loadtests.servers import Server
from loadtests.stores import filled
from loadtests.wrk import Walk
from reploc.pki import Authority
from reploc.security import credentials
from reploc.security.credentials import Credentials
from reploc.security.settings import CredentialSettings, TlsSettings

PLAIN = "plain HTTP"
LOOKUPS = {
    PLAIN: Figure("LRC, one LFN per request, plain HTTP", "requests/s", "more"),
    "rules": Figure("the same with rules", "requests/s", "more", peer=PLAIN),
    "token": Figure("the same with rules and a token", "requests/s", "more", peer=PLAIN),
    "TLS": Figure("the same over TLS", "requests/s", "more", peer=PLAIN),
    "TLS, rules": Figure("the same over TLS with rules", "requests/s", "more", peer=PLAIN),
    "TLS, token": Figure("the same over TLS with rules and a token", "requests/s", "more", peer=PLAIN),
}
HANDSHAKES = Figure("LRC, new connections over TLS 1.3 with client certificates", "connections/s", "more")

NAMES, QUICK_NAMES, TOY_NAMES = 1_000_000, 1_000_000, 20_000
ISSUER, AUDIENCE = "https://issuer.example.org/", "https://reploc.example.org"
#: Rules of a usual size, so that finding the one that fits is part of what is measured.
RULES = 200


@dataclass(frozen=True)
class Safety:
    """Certificates, keys and rules in a folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls, folder: Path) -> Safety:
        authority = Authority.init(folder / "ca", "load test")
        authority.issue_host("service", ["127.0.0.1"])
        authority.issue_person("reader")
        key = ec.generate_private_key(ec.SECP256R1())
        jwk: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        (folder / "jwks.json").write_text(json.dumps({"keys": [jwk | {"kid": "one"}]}))
        grants = 'grants = [{ actions = ["read-catalog", "monitor"], names = ["/store/", "/user/"] }]'
        others = "".join(
            f'[[rules]]\nsubject = "/O=reploc/CN={number}"\nroles = ["reader"]\n' for number in range(RULES)
        )
        allowed = "".join(f'[[rules]]\nkind = "{kind}"\nroles = ["reader"]\n' for kind in ("nobody", "token"))
        (folder / "rules.toml").write_text(f'[[roles]]\nname = "reader"\n{grants}\n{others}{allowed}')
        safety = cls(folder, key)
        shown = TlsSettings(authorities=safety.file("ca.pem"))
        credentials.use(lambda: Credentials(shown, CredentialSettings(), time.monotonic))
        return safety

    def file(self, name: str) -> str:
        return str(self.folder / "ca" / name)

    @property
    def tls(self) -> str:
        names = {"certificate": "service.pem", "key": "service.key", "authorities": "ca.pem", "crls": "crl.pem"}
        return "\n".join(["[tls]", *(f'{key} = "{self.file(name)}"' for key, name in names.items()), ""])

    @property
    def rules(self) -> str:
        return f'[authorization]\nrules = "{self.folder / "rules.toml"}"\n'

    @property
    def tokens(self) -> str:
        keys = self.folder / "jwks.json"
        return f'[[tokens.issuers]]\nissuer = "{ISSUER}"\naudience = ["{AUDIENCE}"]\nkeys = "{keys}"\n'

    def token(self) -> str:
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "job", "exp": int(time.time()) + 3_600}
        return jwt.encode(claims, self.key, "ES256", headers={"kid": "one"})


def measure(scale: Scale) -> Iterator[Result]:
    """A row for each kind of safety, beside plain HTTP in the same run."""
    with workspace() as folder:
        store, safety = filled(scale, folder), Safety.made(folder)
        rows = {
            PLAIN: ("http", ""),
            "rules": ("http", safety.rules),
            "token": ("http", safety.rules + safety.tokens),
            "TLS": ("https", safety.tls),
            "TLS, rules": ("https", safety.tls + safety.rules),
            "TLS, token": ("https", safety.tls + safety.rules + safety.tokens),
        }
        plain: float | None = None
        for name, (scheme, tables) in rows.items():
            process = servers.catalog(folder, "site-a", store, servers.index_of(1), tables=tables, scheme=scheme)
            with servers.running(process, ready=False) as server:
                headers = [f"Authorization: Bearer {safety.token()}"] if "token" in name else []
                walk = Walk(server.port, "/v1/replicas", scale.names, scheme, headers)
                found = _lookups(LOOKUPS[name], walk, server, scale, plain)
                yield found
                plain = found.value if name == PLAIN else plain
                if name == "TLS, rules":
                    yield _handshakes(server, safety, scale)


def _lookups(figure: Figure, walk: Walk, server: Server, scale: Scale, plain: float | None) -> Result:
    runs = walked(server, walk, scale, random.Random(scale.seed))
    note = f"p99 {max(runs.p99s_ms):.1f} ms; {runs.cost}"
    return Result(figure, f"{scale.names:,} mappings", runs.rates, plain, note)


def _handshakes(server: Server, safety: Safety, scale: Scale) -> Result:
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is not installed; it is the Debian package openssl"
    seconds = max(1, round(scale.run_s))
    command = [openssl, "s_time", "-new", "-connect", f"127.0.0.1:{server.port}", "-time", str(seconds)]
    command += ["-cert", safety.file("reader.pem"), "-key", safety.file("reader.key"), "-CAfile", safety.file("ca.pem")]
    rates, before = [], server.cpu_s
    for _ in range(scale.runs):
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
        said = re.search(r"(\d+) connections in (\d+) real seconds", done.stdout)
        assert said is not None, done.stdout + done.stderr
        rates.append(int(said[1]) / int(said[2]))
    taken = sum(rates) * seconds
    note = f"one after the other; {server.share(before, scale.runs * seconds, round(taken))}"
    return Result(HANDSHAKES, "TLS 1.3, P-256", tuple(rates), note=note)


if __name__ == "__main__":
    run("What safety costs.", measure, NAMES, QUICK_NAMES, TOY_NAMES)
