"""How a client finds the services: the command line, then REPLOC_LRC and REPLOC_RLI, then ~/.config/reploc.toml."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from reploc import config
from reploc.client.nearness import Distances, Nearness
from reploc.config import Settings
from reploc.errors import ConfigInvalid, NameInvalid
from reploc.names import require_site, require_url
from reploc.security.credentials import Credentials, from_environment
from reploc.security.settings import CredentialSettings, TlsSettings

#: Addresses of one kind: an index has at most a thousand nodes, and a few of them are enough to find the others.
URLS_MAX = 1_000

FILE = "~/.config/reploc.toml"
LRC_VARIABLE = "REPLOC_LRC"
RLI_VARIABLE = "REPLOC_RLI"


class ClientSettings(Settings, frozen=True):
    """Where the services are: ~/.config/reploc.toml.

    Options of the command line and the variables REPLOC_LRC and REPLOC_RLI go before what stands here.
    """

    lrc: Annotated[
        list[str], Meta(description="Catalogs, http://HOST:PORT; commands that write need one.", max_length=URLS_MAX)
    ] = []
    rli: Annotated[
        list[str],
        Meta(description="Index nodes, http://HOST:PORT; one that answers names the others.", max_length=URLS_MAX),
    ] = []
    client_site: Annotated[
        str, Meta(description="The site of this machine; copies are ordered for it. Empty: by name.")
    ] = ""
    distance: Annotated[
        Distances,
        Meta(description="[distance.SITE] OTHER = 12.5: how far sites are from each other, for the order of copies."),
    ] = {}

    tls: TlsSettings = TlsSettings()
    credentials: CredentialSettings = CredentialSettings()

    def __post_init__(self) -> None:
        if self.client_site:
            require_site(self.client_site)


@dataclass(frozen=True)
class Services:
    """The addresses of the catalogs and index nodes that a command is for, and what is near to this machine."""

    lrcs: tuple[str, ...]
    rlis: tuple[str, ...]
    client_site: str | None = None
    nearness: Nearness = field(default_factory=Nearness)

    @property
    def lrc(self) -> str:
        """The one catalog. Raises ConfigInvalid where there is none, or several."""
        if len(self.lrcs) == 1:
            return self.lrcs[0]
        said = (
            f"{len(self.lrcs)} catalogs are known ({', '.join(self.lrcs[:5])})" if self.lrcs else "no catalog is known"
        )
        raise ConfigInvalid(f"{said}; expected one", hint=f"name it with --lrc URL or {LRC_VARIABLE}, or in {FILE}")

    @property
    def index(self) -> tuple[str, ...]:
        """The index nodes. Raises ConfigInvalid where there are none."""
        if not self.rlis:
            raise ConfigInvalid(
                "no index node is known", hint=f"name one with --rli URL or {RLI_VARIABLE}, or in {FILE}"
            )
        return self.rlis


def find(
    lrcs: Sequence[str] = (),
    rlis: Sequence[str] = (),
    *,
    environ: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> Services:
    """The services, each kind from the first source that names any: options, variables (commas between), file.

    Raises ConfigInvalid: an address is none, or the file is wrong.
    """
    variables = os.environ if environ is None else environ
    lrcs = lrcs or _listed(variables.get(LRC_VARIABLE, ""))
    rlis = rlis or _listed(variables.get(RLI_VARIABLE, ""))
    settings = _settings(Path(FILE).expanduser() if path is None else path)
    lrcs, rlis = lrcs or settings.lrc, rlis or settings.rli
    nearness = Nearness(settings.distance)
    return Services(_urls(lrcs, "lrc"), _urls(rlis, "rli"), settings.client_site or None, nearness)


def shown(now: Callable[[], float], environ: Mapping[str, str], path: Path | None = None) -> Credentials:
    """What commands show to services: what the file says, then the variables that grid tools know."""
    settings = _settings(Path(FILE).expanduser() if path is None else path)
    return Credentials(*from_environment(environ, settings.tls, settings.credentials), now)


def _settings(path: Path) -> ClientSettings:
    return config.load(ClientSettings, path if path.is_file() else None)


def _listed(variable: str) -> list[str]:
    return [url.strip() for url in variable.split(",") if url.strip()]


def _urls(urls: Sequence[str], what: str) -> tuple[str, ...]:
    if len(urls) > URLS_MAX:
        raise ConfigInvalid(f"{len(urls):,} addresses of kind {what}; at most {URLS_MAX:,} are taken")
    try:
        return tuple(dict.fromkeys(require_url(url, what) for url in urls))
    except NameInvalid as wrong:
        raise ConfigInvalid(wrong.detail) from wrong
