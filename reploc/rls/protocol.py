"""The plain-text protocol of the Globus Replica Location Service: what its bytes mean, for a server.

Everything is a token, bytes that end with NUL; numbers are decimal text, and an empty parameter is one that is absent:

    request  = method token, parameter tokens              as many as the method has (`METHODS`)
    reply    = "0" NUL body                                success
             | code NUL message NUL                        failure
    list     = entries of so many tokens each, and an empty token behind the last

The server speaks first (`GREETING`). No request has a length or an id; replies come in the order of the requests. Two
kinds of requests go on after their parameters: *bulk* ones with items of so many tokens until one begins with an empty
token, and `rli_updatebf` with the raw bytes of a Bloom filter, whose number follows from its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TypeVar
from urllib.parse import urlsplit

from reploc.names import NAME_BYTES_MAX, fault

#: The longest token: a name with the byte before it that says whether it came or went (`rli_update`).
TOKEN_BYTES_MAX = NAME_BYTES_MAX + 1
#: Items of one bulk request; original servers send about two hundred, clients a thousand.
ITEMS_MAX = 10_000
#: Bytes of the largest Bloom filter that is received: one of 400 million names at the usual ten bits each.
FILTER_BYTES_MAX = 1 << 29
#: The largest number: original clients keep them in signed words of 32 bits.
NUMBER_MAX = (1 << 31) - 1
#: Bytes of a refusal's detail: original clients read a token into 1,024.
DETAIL_BYTES_MAX = 1_000

#: The port of an address that names none.
PORT = 39281
#: Bytes of the longest address: original clients keep one in a field of 256.
URL_BYTES_MAX = 255

GREETING = b"0\x00"
DONE = b"0\x00"
CLOSE = b"close"


T = TypeVar("T")


class Code(IntEnum):
    """What a reply begins with."""

    DONE = 0
    BAD_ARGUMENT = 6
    NOT_ALLOWED = 7
    METHOD_UNKNOWN = 8
    WRONG_ROLE = 9
    MAPPING_UNKNOWN = 10
    LFN_EXISTS = 11
    LFN_UNKNOWN = 12
    PFN_EXISTS = 13
    PFN_UNKNOWN = 14
    LRC_EXISTS = 15
    LRC_UNKNOWN = 16
    #: The one code after which original senders keep a batch and send it again.
    DATABASE_ERROR = 17
    RLI_EXISTS = 18
    RLI_UNKNOWN = 19
    MAPPING_EXISTS = 20
    ATTRIBUTE_TYPE = 21
    ATTRIBUTE_EXISTS = 22
    ATTRIBUTE_UNKNOWN = 23
    OBJECT_TYPE = 24
    OPERATOR = 25
    UNSUPPORTED = 26
    TOO_MANY_CONNECTIONS = 28
    VALUE_UNKNOWN = 29
    ATTRIBUTE_IN_USE = 30


class ObjectType(IntEnum):
    """What a key of `…_exists` names."""

    LRC_LFN = 0
    LRC_PFN = 1
    RLI_LFN = 2
    RLI_LRC = 3


class Admin(IntEnum):
    """The commands of `admin`."""

    PING = 0
    QUIT = 1
    UPDATE = 2


class StatsFlag(IntFlag):
    """What `stats` says of a server."""

    LRC = 1
    RLI = 2
    RLI_TAKES_LISTS = 4
    RLI_TAKES_FILTERS = 8
    LRC_SENDS_LISTS = 16
    LRC_SENDS_FILTERS = 32


class Refused(Exception):
    """A request is answered with a code and a detail; after a `fatal` one nothing behind it can be understood."""

    def __init__(self, code: Code, detail: str = "", *, fatal: bool = False) -> None:
        super().__init__(f"{code.name}: {detail}")
        self.code = code
        self.detail = detail
        self.fatal = fatal


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of a request follows its method: parameters, and tokens of an item where it is a bulk one."""

    parameters: int
    item: int = 0
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its method in lower case, its parameters, and items or raw bytes where it has them."""

    method: bytes
    parameters: tuple[bytes, ...]
    items: tuple[tuple[bytes, ...], ...] = ()
    raw: bytes = b""


METHODS: dict[bytes, Shape] = {
    b"admin": Shape(1),
    CLOSE: Shape(0),
    b"get_configuration": Shape(1),
    b"set_configuration": Shape(2),
    b"stats": Shape(0),
    b"lrc_create": Shape(2),
    b"lrc_add": Shape(2),
    b"lrc_delete": Shape(2),
    b"lrc_clear": Shape(0),
    b"lrc_exists": Shape(2),
    b"lrc_mapping_exists": Shape(2),
    b"lrc_renamelfn": Shape(2),
    b"lrc_renamepfn": Shape(2),
    b"lrc_get_pfn": Shape(3),
    b"lrc_get_lfn": Shape(3),
    b"lrc_get_pfn_wc": Shape(3),
    b"lrc_get_lfn_wc": Shape(3),
    b"lrc_attr_create": Shape(3),
    b"lrc_attr_delete": Shape(3),
    b"lrc_attr_get": Shape(2),
    b"lrc_attr_add": Shape(5),
    b"lrc_attr_modify": Shape(5),
    b"lrc_attr_remove": Shape(3),
    b"lrc_attr_value_get": Shape(3),
    b"lrc_attr_search": Shape(7),
    b"lrc_rli_add": Shape(3),
    b"lrc_rli_delete": Shape(2),
    b"lrc_rli_get_part": Shape(2),
    b"lrc_rli_info": Shape(1),
    b"lrc_rli_list": Shape(0),
    b"rli_exists": Shape(2),
    b"rli_mapping_exists": Shape(2),
    b"rli_get_lrc": Shape(3),
    b"rli_get_lrc_wc": Shape(3),
    b"rli_lrc_list": Shape(0),
    b"rli_sender_list": Shape(0),
    b"rli_rli_list": Shape(0),
    b"rli_update": Shape(1, item=1),
    b"rli_updatebf": Shape(4, raw=True),
    b"lrc_create_bulk": Shape(0, item=2),
    b"lrc_add_bulk": Shape(0, item=2),
    b"lrc_delete_bulk": Shape(0, item=2),
    b"lrc_renamelfn_bulk": Shape(0, item=2),
    b"lrc_renamepfn_bulk": Shape(0, item=2),
    b"lrc_get_pfn_bulk": Shape(0, item=1),
    b"lrc_get_lfn_bulk": Shape(0, item=1),
    b"lrc_exists_bulk": Shape(1, item=1),
    b"lrc_attr_add_bulk": Shape(0, item=5),
    b"lrc_attr_remove_bulk": Shape(0, item=3),
    b"lrc_attr_value_get_bulk": Shape(2, item=1),
    b"rli_get_lrc_bulk": Shape(0, item=1),
    b"rli_exists_bulk": Shape(1, item=1),
}


class RequestReader:
    """Requests out of the bytes of one connection, however these are cut. After a fatal refusal it is of no more use.

    What it keeps is bounded by the largest request that may be.
    """

    def __init__(self) -> None:
        #: Whole tokens that belong to no whole request yet, and the bytes behind the last of them.
        self._tokens: list[bytes] = []
        self._rest = b""
        #: Tokens of items of the request at the front that need not be looked at again.
        self._seen = 0
        #: The request whose raw bytes arrive, those that have, and how many are to come.
        self._filter: Request | None = None
        self._raw = bytearray()
        self._raw_left = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """The requests that end in these bytes. Raises Refused, fatal, where they cannot be requests."""
        while data or self._tokens:
            if self._filter is not None:
                data, whole = self._take_raw(self._filter, data)
                if whole is None:
                    return
                yield whole
                continue
            parts = (self._rest + data).split(b"\x00")
            self._rest, data = parts.pop(), b""
            self._tokens += parts
            yield from self._whole()
            if self._filter is None:
                _bound(self._rest)
                return
            data, self._rest, self._tokens = b"\x00".join([*self._tokens, self._rest]), b"", []

    def _whole(self) -> Iterator[Request]:
        """The whole requests among the tokens, up to one that is followed by raw bytes."""
        tokens, at = self._tokens, 0
        while at < len(tokens) and self._filter is None:
            method = _bound(tokens[at]).lower()
            shape = METHODS.get(method)
            if shape is None:
                raise Refused(Code.METHOD_UNKNOWN, tokens[at].decode(errors="replace"), fatal=True)
            end = at + 1 + shape.parameters
            if end > len(tokens):
                break
            request = Request(method, tuple(map(_bound, tokens[at + 1 : end])))
            if shape.item:
                last = self._end_of_items(end, shape.item)
                if last is None:
                    break
                request = _bulk(request, tokens[end:last], shape.item)
                end = last + 1
            self._seen, at = 0, end
            if shape.raw:
                self._expect_raw(request)
            else:
                yield request
        del tokens[:at]

    def _end_of_items(self, first: int, size: int) -> int | None:
        """Where the empty token is behind the items that begin at `first`, each of `size` tokens, if it has come."""
        tokens = self._tokens
        for at in range(first + self._seen, len(tokens), size):
            if not tokens[at]:
                return at
            if at - first == size * ITEMS_MAX:
                raise Refused(Code.BAD_ARGUMENT, f"more than {ITEMS_MAX} items in one request", fatal=True)
            for token in tokens[at : at + size]:
                _bound(token)
            self._seen = at - first
        return None

    def _expect_raw(self, request: Request) -> None:
        bits = number(request.parameters[1], "bits", fatal=True)
        count = bits // 8 + 1
        if count > FILTER_BYTES_MAX:
            raise Refused(Code.BAD_ARGUMENT, f"a filter of more than {FILTER_BYTES_MAX} bytes", fatal=True)
        self._filter, self._raw_left, self._raw = request, count, bytearray()

    def _take_raw(self, request: Request, data: bytes) -> tuple[bytes, Request | None]:
        """What is left of `data` behind the raw bytes, and the request when these are whole."""
        self._raw += data[: self._raw_left]
        data, self._raw_left = data[self._raw_left :], self._raw_left - len(data[: self._raw_left])
        if self._raw_left:
            return data, None
        self._filter = None
        return data, Request(request.method, request.parameters, raw=bytes(self._raw))


# ---- parameters ------------------------------------------------------------------------------------------------------


def number(token: bytes, what: str, *, fatal: bool = False) -> int:
    """A number from 0 to 2³¹ − 1, 0 where it is absent. Raises Refused."""
    if not token:
        return 0
    if not token.isdigit() or len(token) > 10 or int(token) > NUMBER_MAX:
        shown = token[:40].decode(errors="replace")
        raise Refused(Code.BAD_ARGUMENT, f"{what} {shown}: expected 0 to {NUMBER_MAX}", fatal=fatal)
    return int(token)


def name(token: bytes, what: str) -> str:
    """A name that must be there, within the limits of `reploc/names.py`. Raises Refused."""
    try:
        text = token.decode()
    except UnicodeDecodeError as wrong:
        raise Refused(Code.BAD_ARGUMENT, f"{what} is not UTF-8 at byte {wrong.start}") from None
    if wrong_words := fault(text):
        raise Refused(Code.BAD_ARGUMENT, f"{what} {wrong_words}")
    return text


def canonical(token: bytes) -> str:
    """A server's address as `scheme://host:port`. Refused: it is none."""
    try:
        text = token.decode("ascii")
        parts = urlsplit(text)
        port = parts.port or PORT
    except ValueError:
        raise Refused(Code.BAD_ARGUMENT, f"{token[:80]!r} is no address of a server") from None
    if parts.scheme not in ("rls", "rlsn") or not parts.hostname or len(text) > URL_BYTES_MAX:
        raise Refused(Code.BAD_ARGUMENT, f"{text[:80]} is not rls://HOST[:PORT] or rlsn://HOST[:PORT]")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def host_and_port(url: str) -> tuple[str, int]:
    """Where the server of a canonical address answers."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or PORT


def window(request: Request, at: int = 1) -> tuple[int, int]:
    """(offset, limit) of a query, its parameters from number `at` on. Limit 0 is everything, whatever the offset."""
    offset, limit = number(request.parameters[at], "offset"), number(request.parameters[at + 1], "limit")
    return (offset if limit else 0), limit


def cut(request: Request, found: Sequence[T]) -> Sequence[T]:
    """What is in the window of a query."""
    offset, limit = window(request)
    return found[offset : offset + limit] if limit else found


def object_type(token: bytes, lfn: ObjectType, other: ObjectType) -> ObjectType:
    """One of the two that a kind of server knows. Raises Refused."""
    kind = number(token, "object type")
    if kind not in (lfn, other):
        raise Refused(Code.OBJECT_TYPE, f"{kind}: expected {lfn:d} or {other:d}")
    return ObjectType(kind)


# ---- replies ---------------------------------------------------------------------------------------------------------


def refusal(refused: Refused) -> bytes:
    """The reply that says no."""
    detail = refused.detail.replace("\x00", " ").encode(errors="replace")[:DETAIL_BYTES_MAX]
    return b"%d\x00%s\x00" % (refused.code, detail.decode(errors="ignore").encode())


def values(given: Iterable[str | int]) -> bytes:
    """A success with a fixed number of values, and no end of a list behind them."""
    return DONE + b"".join(str(value).encode() + b"\x00" for value in given)


def listing(entries: Iterable[Sequence[str]]) -> bytes:
    """A success with a list; the first token of each entry must not be empty."""
    flat = "\x00".join([token for entry in entries for token in entry])
    return b"0\x00%s\x00\x00" % flat.encode() if flat else b"0\x00\x00"


def _bulk(request: Request, items: Sequence[bytes], size: int) -> Request:
    return Request(request.method, request.parameters, tuple(zip(*[iter(items)] * size, strict=True)))


def _bound(token: bytes) -> bytes:
    if len(token) > TOKEN_BYTES_MAX:
        raise Refused(Code.BAD_ARGUMENT, f"more than {TOKEN_BYTES_MAX} bytes without a NUL", fatal=True)
    return token
