"""What the commands share: the service that they ask, its answers as tables or JSON, and files that they read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, TypeVar

import click
import msgspec

from placement.client import PlacementClient
from reploc import expected
from reploc.commands import terminal
from reploc.errors import InputInvalid

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

VARIABLE = "REPLOC_PLACEMENT"
DEFAULT_URL = "http://127.0.0.1:39300"
#: Bytes of a file of JSON: as many as the largest body, a hundred times over.
FILE_BYTES_MAX = 3 << 30

url_option: Callable[[F], F] = click.option(
    "--placement",
    "url",
    metavar="URL",
    help=f"The service, http://HOST:PORT.  [default: ${VARIABLE}, else {DEFAULT_URL}]",
)


def asked(url: str | None, work: Callable[[PlacementClient], Awaitable[T]]) -> T:
    """What the service answers."""

    async def asking() -> T:
        async with PlacementClient(url or os.environ.get(VARIABLE) or DEFAULT_URL) as client:
            return await work(client)

    return asyncio.run(asking())


def show(
    message: msgspec.Struct, columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool, empty: str
) -> None:
    """One line of JSON, or a table; where it has no rows, people are told so."""
    if as_json:
        terminal.say_json(message)
    elif rows:
        terminal.table(columns, rows)
    else:
        terminal.note(empty)


def decoded(file: BinaryIO, kind: type[S]) -> S:
    """The JSON document in a file. Raises InputInvalid: it is too large, or not what is expected, and where."""
    name = getattr(file, "name", "the input")
    raw = file.read(FILE_BYTES_MAX + 1)
    if len(raw) > FILE_BYTES_MAX:
        raise InputInvalid(f"{name}: has over {FILE_BYTES_MAX:,} bytes")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise InputInvalid(f"{name}: {expected.in_words(wrong, kind)}") from wrong


def moment(seconds: float | None) -> str:
    """A moment for people, in UTC; a dash where there is none."""
    return "-" if not seconds else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
