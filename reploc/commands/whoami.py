"""`reploc whoami`: whom services take this client for, and what it may there."""

from __future__ import annotations

import asyncio

import click

from reploc import names
from reploc.client.transport import HttpTransport, Request
from reploc.commands import discovery, terminal
from reploc.commands.options import json_option, lrc_option, rli_option
from reploc.commands.terminal import EXIT_STATUSES
from reploc.errors import ConfigInvalid
from reploc.security.answers import WhoAmI
from reploc.wire import Answer

#: Seconds that a service may take.
ASK_S = 10.0
COLUMNS = ("SERVICE", "TAKES YOU FOR", "MAY", "ON NAMES THAT BEGIN WITH")


class Told(Answer, frozen=True):
    """What one service said, as `--json` prints it."""

    url: str
    said: WhoAmI


@click.command(epilog=EXIT_STATUSES)
@lrc_option
@rli_option
@click.option("--url", "urls", multiple=True, metavar="URL", help="Any other service.")
@json_option
def whoami(lrcs: tuple[str, ...], rlis: tuple[str, ...], urls: tuple[str, ...], as_json: bool) -> None:
    """Asks services whom they take you for, and what you may there.

    You show the certificate and the token that ~/.config/reploc.toml names, or the variables X509_USER_PROXY,
    X509_USER_CERT, X509_USER_KEY, X509_CERT_DIR and BEARER_TOKEN_FILE.
    """
    known = discovery.find(lrcs, rlis)
    asked = [names.require_url(url) for url in urls] or [*known.lrcs, *known.rlis]
    if not asked:
        raise ConfigInvalid("no service is known", hint="name one with --lrc, --rli or --url")
    told = asyncio.run(_asked(asked))
    if as_json:
        for one in told:
            terminal.say_json(one)
    else:
        terminal.table(COLUMNS, [row for one in told for row in _rows(one)])


async def _asked(urls: list[str]) -> list[Told]:
    transport = HttpTransport()
    try:
        until = asyncio.get_running_loop().time() + ASK_S
        requests = [Request("GET", url, "/v1/whoami", WhoAmI) for url in urls]
        said = await asyncio.gather(*(transport.ask(request, until) for request in requests))
        return [Told(url, one) for url, one in zip(urls, said, strict=True)]
    finally:
        await transport.close()


def _rows(told: Told) -> list[tuple[str, str, str, str]]:
    said = told.said
    who = f"{said.kind} {said.subject}".rstrip()
    if not said.guarded:
        return [(told.url, who, "everything", "")]
    rows = [(told.url, who, str(one.action), " ".join(map(_shown, one.names))) for one in said.allowed]
    return rows or [(told.url, who, "nothing but what is public", "")]


def _shown(prefix: str) -> str:
    return prefix or "(anything)"
