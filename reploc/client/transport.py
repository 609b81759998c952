"""How a client's request travels: the one seam to aiohttp's client.

A `Request` names the service, the path, what is sent and the type of what is expected back. `HttpTransport` sends it
over a pooled session, as MessagePack both ways, bounds and decodes the answer, and turns whatever goes wrong into one
error of the tree: a problem document into the error that the service raised, a failed connection into NotConnected or
Unreachable, a deadline into DeadlineExceeded, and anything that is not what was asked for into AnswerInvalid. Retries
are a wrapper (`reploc/client/retry.py`); here everything is tried once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Generic, Literal, NoReturn, Protocol, Self, TypeVar

import aiohttp
import msgspec

from reploc import __version__, errors
from reploc.security import credentials
from reploc.security.credentials import Credentials

T = TypeVar("T")

JSON = "application/json"
MSGPACK = "application/msgpack"
PROBLEM = "application/problem+json"

#: Seconds to open one connection: a host that is there accepts in milliseconds, and another owner is waiting.
CONNECT_S = 3.0
#: Bytes of one answer: a thousand LFNs with thirty of the longest PFNs each.
ANSWER_BYTES_MAX = 128 << 20
#: Bytes of one line of a stream: an LFN with as many of the longest PFNs as a catalog allows (1,000).
STREAM_LINE_BYTES_MAX = 8 << 20
#: Bytes of a problem document: a code and a few sentences.
PROBLEM_BYTES_MAX = 64 << 10
#: Connections of one client to one service, and to all: enough to keep a service busy, few enough to share it.
CONNECTIONS_PER_HOST = 16
CONNECTIONS = 256

_msgpack = msgspec.msgpack.Encoder()
_problem = msgspec.json.Decoder(errors.Problem)
#: One decoder per type of answer, made at its first use; there are as many as the wire has types.
_msgpack_decoders: dict[type[Any], msgspec.msgpack.Decoder[Any]] = {}
_json_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One request to the service at the base address `url`; `kind` is the type of its answer.

    `idempotent` says that asking twice comes to the same, for the service and for who asked. `site` is the site whose
    catalog should be there, for who demands a proof of it.
    """

    method: Literal["GET", "POST"]
    url: str
    path: str
    kind: type[T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: msgspec.Struct | None = None
    idempotent: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    site: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.url}{self.path}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body and headers of an answer that is no message."""

    body: bytes
    headers: Mapping[str, str]


class Transport(Protocol):
    """What carries requests. `until` is a deadline in seconds of the running loop's clock."""

    async def ask(self, request: Request[T], until: float) -> T:
        """The decoded answer, or an error of the tree."""
        ...

    def stream(self, request: Request[T], idle_s: float) -> AsyncIterator[T]:
        """The answer's NDJSON lines as they come; an error of the tree when none came for `idle_s` seconds."""
        ...

    async def close(self) -> None:
        """Closes the connections; asking again would open new ones."""
        ...


class Carried:
    """A client over a transport: one that it was given, which is its giver's to close, or one of its own."""

    def __init__(self, given: Transport | None, make: Callable[[], Transport]) -> None:
        self._transport = given or make()
        self._owned = given is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._owned:
            await self._transport.close()


class HttpTransport:
    """Requests over HTTP with one session, which opens at the first request and pools its connections.

    Over https it shows the given credentials, or those of this process.
    """

    def __init__(self, shown: Credentials | None = None) -> None:
        self._session: aiohttp.ClientSession | None = None
        #: Whether it was closed: what is asked later, by a task that nobody waited for, opens nothing any more.
        self._closed = False
        self._shown = shown

    async def ask(self, request: Request[T], until: float) -> T:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout_at(until), self._opened(request) as response:
                body = await _read(request, response, ANSWER_BYTES_MAX)
        except TimeoutError as wrong:
            raise errors.DeadlineExceeded(f"{request}: no answer within {loop.time() - started:.3g} s") from wrong
        return _decoded(request, response.content_type, body)

    async def fetch(self, request: Request[bytes], media: str, until: float) -> Fetched:
        """An answer that is no message: a body of the given media type as it is, and its headers."""
        try:
            async with asyncio.timeout_at(until), self._opened(request) as response:
                body = await _read(request, response, ANSWER_BYTES_MAX)
        except TimeoutError as wrong:
            raise errors.DeadlineExceeded(f"{request}: the answer did not come in time") from wrong
        if response.content_type != media:
            raise errors.AnswerInvalid(f"{request}: answered {response.content_type[:100]!r}; expected {media}")
        return Fetched(body, response.headers)

    async def stream(self, request: Request[T], idle_s: float) -> AsyncIterator[T]:
        decoder = _json_decoder(request.kind)
        try:
            async with self._opened(request, idle_s) as response:
                async for line in _lines(request, response):
                    yield _decode(request, decoder, line)
        except TimeoutError as wrong:
            raise errors.DeadlineExceeded(f"{request}: nothing came for {idle_s:g} s") from wrong

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _opened(
        self, request: Request[Any], idle_s: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The successful response, its body unread; whatever aiohttp raises leaves here as an error of the tree."""
        if self._closed:
            raise errors.NotConnected(f"{request}: this client was closed")
        shown = self._shown or credentials.own(time.monotonic, os.environ)
        try:
            async with self._started().request(
                request.method,
                request.url + request.path,
                params=request.query,
                data=_encoded(request),
                headers={**_headers(request), **shown.headers(request.url)},
                ssl=shown.context(request.url, request.site) or True,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=idle_s),
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    await _refuse(request, response)
                yield response
        except aiohttp.ClientConnectorCertificateError as wrong:
            said = f"{request}: its certificate is not accepted: {_said(wrong.certificate_error)}"
            raise (errors.SiteUnproven if request.site in said and request.site else errors.Unreachable)(
                said
            ) from wrong
        except aiohttp.ClientConnectorSSLError as wrong:
            raise errors.Unreachable(f"{request}: TLS cannot be agreed on: {_said(wrong)}") from wrong
        except aiohttp.ClientConnectorError as wrong:
            raise errors.NotConnected(f"{request}: cannot connect: {_system_said(wrong.os_error)}") from wrong
        except aiohttp.ConnectionTimeoutError as wrong:
            raise errors.NotConnected(f"{request}: cannot connect within {CONNECT_S:g} s") from wrong
        except aiohttp.ClientPayloadError as wrong:
            raise errors.Unreachable(f"{request}: the answer was cut short: {_said(wrong)}") from wrong
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL) as wrong:
            raise errors.AnswerInvalid(f"{request}: answered something that is not HTTP: {_said(wrong)}") from wrong
        except (aiohttp.ClientError, OSError) as wrong:
            if isinstance(wrong, TimeoutError):
                raise
            raise errors.Unreachable(f"{request}: the connection broke: {_said(wrong)}") from wrong

    def _started(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, limit_per_host=CONNECTIONS_PER_HOST),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"reploc/{__version__}"},
            )
        return self._session


def _encoded(request: Request[Any]) -> BytesIO | None:
    """The body, which aiohttp sends in pieces, so that a large one does not hold up the loop."""
    try:
        return None if request.body is None else BytesIO(_msgpack.encode(request.body))
    except UnicodeEncodeError as wrong:
        raise errors.NameInvalid(f"{request}: a name cannot be written as UTF-8: {wrong.reason}") from wrong
    except OverflowError as wrong:
        raise errors.ValueInvalid(f"{request}: a number needs more than 64 bits") from wrong


def _headers(request: Request[Any]) -> dict[str, str]:
    headers = {"Accept": f"{MSGPACK}, {JSON};q=0.5", **request.headers}
    return headers if request.body is None else headers | {"Content-Type": MSGPACK}


async def _read(request: Request[Any], response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The whole body, or AnswerInvalid as soon as it is known to exceed its bound."""
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > bytes_max:
            raise errors.AnswerInvalid(f"{request}: answered over {bytes_max:,} bytes; no more are read")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _lines(request: Request[Any], response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of the body without their ends; empty ones are left out."""
    rest = b""
    async for piece in response.content.iter_any():
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > STREAM_LINE_BYTES_MAX:
            raise errors.AnswerInvalid(f"{request}: answered a line of over {STREAM_LINE_BYTES_MAX:,} bytes")
        for line in whole:
            if line:
                yield line
    if rest:
        yield rest


async def _refuse(request: Request[Any], response: aiohttp.ClientResponse) -> NoReturn:
    """Raises what the service raised, or AnswerInvalid where it is no problem document."""
    if response.content_type == PROBLEM:
        body = await _read(request, response, PROBLEM_BYTES_MAX)
        raise _raised(request, errors.from_problem(_decode(request, _problem, body)))
    said = f"{response.status} {response.reason or ''}".rstrip()
    raise errors.AnswerInvalid(f"{request}: answered {said} without a problem document")


def _raised(request: Request[Any], said: errors.ReplocError) -> errors.ReplocError:
    """What the service raised; where that is about the service and not about the request, with its address."""
    if isinstance(said, errors.RouteUnknown | errors.MethodUnknown):
        return errors.AnswerInvalid(f"{request}: {said.detail}")
    return type(said)(f"{request}: {said.detail}", hint=said.advice) if said.status >= 500 else said


def _decoded(request: Request[T], media: str, body: bytes) -> T:
    if media == MSGPACK:
        return _decode(request, _msgpack_decoder(request.kind), body)
    if media == JSON or media.endswith("+json"):
        return _decode(request, _json_decoder(request.kind), body)
    raise errors.AnswerInvalid(f"{request}: answered {media[:100]!r}; expected {MSGPACK} or {JSON}")


def _decode(request: Request[Any], decoder: msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T], raw: bytes) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as wrong:
        raise errors.AnswerInvalid(f"{request}: answered something that is not what was asked for: {wrong}") from wrong


def _said(wrong: Exception) -> str:
    """What an error of aiohttp says, on one line of bounded length; its name where it says nothing."""
    said = (getattr(wrong, "message", "") or str(wrong) or type(wrong).__name__).strip().splitlines()
    return said[0][:200] if said else type(wrong).__name__


def _system_said(wrong: OSError) -> str:
    """What the system says of a connection that failed, without the loop's own words around it."""
    number = wrong.errno or 0
    return os.strerror(number) if number > 0 else wrong.strerror or str(wrong)


def _msgpack_decoder(kind: type[T]) -> msgspec.msgpack.Decoder[T]:
    decoder = _msgpack_decoders.get(kind)
    if decoder is None:
        decoder = _msgpack_decoders[kind] = msgspec.msgpack.Decoder(kind)
    return decoder


def _json_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    decoder = _json_decoders.get(kind)
    if decoder is None:
        decoder = _json_decoders[kind] = msgspec.json.Decoder(kind)
    return decoder
