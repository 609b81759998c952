"""Requests known again by their bytes: a client's next question mostly differs from its last in the name alone.

A connection learns the head of a request that it has answered in full. Where the same bytes come again, save for the
query and the length of the body, what they mean is known: the same headers, hence the same media types and the same
identity. So nothing is parsed here that was not parsed before by the server's own parser, and whatever looks different
in any way is none of this module's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

#: Bytes of a request that may be known again: the longest name, percent-encoded in part, or a few mappings. Beyond it
#: the work itself costs more than a parser.
HOT_BYTES_MAX = 16 << 10
#: What a query may consist of; all else, a fragment for one, is the parser's.
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/%"
_VERSION = b" HTTP/1.1"
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]{1,9})(?=\r\n)", re.IGNORECASE)

#: Takes the bytes of the answer, or None: the request is to be answered by the server after all.
Send: TypeAlias = Callable[[bytes | None], None]
#: Answers a request of a known head, now or later: (query, body, where the answer goes).
Answer: TypeAlias = Callable[[bytes, bytes, Send], None]


class Request(NamedTuple):
    """One whole request: method and path, query, its head before and behind the length of its body, and the body."""

    target: bytes
    query: bytes
    before: bytes
    after: bytes
    body: bytes


class Head(NamedTuple):
    """A head that was answered, and how the next request with it is answered."""

    before: bytes
    after: bytes
    answer: Answer

    def body(self, data: bytes, at: int) -> bytes | None:
        """The body of a request whose first line ends at `at`; None where its head is another, or it is not whole."""
        if not data.startswith(self.before, at):
            return None
        at += len(self.before)
        if not self.after:
            return b"" if at == len(data) else None
        end = data.find(b"\r", at)
        digits, start = data[at:end], end + len(self.after)
        if not data.startswith(self.after, end) or not digits.isdigit() or len(data) - start != int(digits):
            return None
        return data[start:]


class Asked(NamedTuple):
    """A request with a known head."""

    answer: Answer
    query: bytes
    body: bytes


def asked(heads: Mapping[bytes, Head], data: bytes) -> Asked | None:
    """The one whole request of a known head that some bytes are, or None."""
    if len(data) > HOT_BYTES_MAX:
        return None
    end = data.find(b"\r\n")
    target, _, query = data[: max(end, 0)].partition(b"?")
    head = heads.get(target)
    if head is None or (body := head.body(data, end)) is None:
        return None
    if not query:
        return Asked(head.answer, b"", body)
    if not query.endswith(_VERSION) or query.translate(None, _PLAIN) != b" ":
        return None
    return Asked(head.answer, query[: -len(_VERSION)], body)


def whole_request(data: bytes) -> Request | None:
    """The one whole request that some bytes are, or None."""
    framed = _framed(data)
    if framed is None or framed[0] + framed[1] != len(data):
        return None
    line = data.find(b"\r\n")
    target, _, query = data[:line].partition(b"?")
    head = data[line : framed[0]]
    if (length := _LENGTH.search(head)) is None:
        return Request(target, query, head, b"", b"")
    return Request(target, query, head[: length.start(1)], head[length.end(1) :], data[framed[0] :])


class Framing:
    """Whether what a parser was given so far ends with the end of a request, so that it holds nothing back.

    Once that is not clear it stays so.
    """

    def __init__(self) -> None:
        #: Bytes of the last body that are still to come.
        self._owed = 0
        self._clear = True

    @property
    def at_start(self) -> bool:
        """Whether the next byte is the first of a request."""
        return self._clear and not self._owed

    def feed(self, data: bytes) -> None:
        """The parser is given these bytes."""
        if not self._owed:
            framed = _framed(data)
            self._clear = self._clear and framed is not None
            self._owed = sum(framed) if framed else 0
        self._owed -= len(data)
        self._clear = self._clear and self._owed >= 0


def _framed(data: bytes) -> tuple[int, int] | None:
    """How long the head of the request is that the data begins with, and how long its body; None where that is not
    plain: no whole head, a body without a length or with two, lines that end otherwise."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[: end + 4].lower()
    lengths = head.count(b"\ncontent-length")
    if b"\ntransfer-encoding" in head or lengths > 1 or head.count(b"\n") != head.count(b"\r\n"):
        return None
    if not lengths:
        return len(head), 0
    found = _LENGTH.search(head)
    return None if found is None else (len(head), int(found[1]))
