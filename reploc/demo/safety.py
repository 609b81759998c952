"""The demo over TLS: an authority in its directory, a certificate for everyone, and rules of who may what."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from reploc.pki import Authority
from reploc.security import credentials
from reploc.security.credentials import Credentials
from reploc.security.settings import CredentialSettings, TlsSettings

HOST = "127.0.0.1"
PERSON = "demo"
AUTHORITY = "demo authority"

#: Sites tell the index what they hold; index nodes tell their parents, and ask each other, and catalogs for their
#: readers; file operations change catalogs and report on orders; the person whose demo it is does all the rest.
_RULES = f"""
[[roles]]
name = "site"
grants = [{{ actions = ["send-soft-state", "read-index"] }}]

[[roles]]
name = "node"
grants = [{{ actions = ["read-index", "read-catalog", "send-soft-state"] }}]

[[roles]]
name = "person"
grants = [{{ actions = ["monitor", "read-catalog", "write-catalog", "read-index", "place", "operate", "administer"] }}]

[[rules]]
subject = "/O=reploc/OU=sites/*"
roles = ["site"]

[[rules]]
subject = "/O=reploc/OU=hosts/*"
roles = ["node"]

[[roles]]
name = "carrier"
grants = [{{ actions = ["monitor", "read-catalog", "write-catalog", "read-index", "operate"] }}]

[[rules]]
subject = "/O=reploc/OU=hosts/CN=fileops"
roles = ["carrier"]

[[rules]]
subject = "/O=reploc/OU=people/CN={PERSON}"
roles = ["person"]
"""


class Safety:
    """The authority of a demo, what it issued, and the rules."""

    def __init__(self, directory: Path, sites: Sequence[str], nodes: Sequence[str], services: Sequence[str]) -> None:
        self._home = directory
        authority = Authority.init(directory / "ca", AUTHORITY)
        for site in sites:
            authority.issue_site(site, [HOST])
        for node in nodes:
            authority.issue_host(node, [HOST], node=node)
        for service in services:
            authority.issue_host(service, [HOST])
        authority.issue_person(PERSON)
        (directory / "rules.toml").write_text(_RULES)

    def settings(self, name: str) -> str:
        """The tables of the settings of the daemon that has a certificate of this name."""
        return f"""
[tls]
certificate = "{self._file(name, "pem")}"
key = "{self._file(name, "key")}"
authorities = "{self._file("ca", "pem")}"
crls = "{self._file("crl", "pem")}"
clients = "required"
names_from = ["/O=reploc/CN={AUTHORITY}"]

[credentials]
require_site_names = true

[authorization]
rules = "{self._home / "rules.toml"}"
"""

    @property
    def variables(self) -> Mapping[str, str]:
        """What commands find the person's certificate by."""
        return {
            "X509_USER_CERT": self._file(PERSON, "pem"),
            "X509_USER_KEY": self._file(PERSON, "key"),
            "X509_CERT_DIR": self._file("ca", "pem"),
        }

    def show(self) -> None:
        """Lets clients of this process show the person's certificate, and demand that sites prove themselves."""
        tls = TlsSettings(
            certificate=self._file(PERSON, "pem"),
            key=self._file(PERSON, "key"),
            authorities=self._file("ca", "pem"),
            crls=self._file("crl", "pem"),
            names_from=[f"/O=reploc/CN={AUTHORITY}"],
        )
        shown = CredentialSettings(require_site_names=True)
        credentials.use(lambda: Credentials(tls, shown, time.monotonic))

    def _file(self, name: str, end: str) -> str:
        return str(self._home / "ca" / f"{name}.{end}")
