"""Where an answer ends, for each protocol that the load generators speak: pieces in, and the whole answer out.

One request is in flight on a connection, so that nothing follows an answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

_END = b"\r\n\r\n"
_RLS_DONE, _RLS_END = b"0\0", b"\0\0"


class AnswerWrong(Exception):
    """A server did not answer as it should."""


class Answers(ABC):
    """Puts the answers on one connection together."""

    @abstractmethod
    def feed(self, data: bytes) -> bytes | None:
        """Takes what came; the answer when it is whole, else None. Raises AnswerWrong."""


class HttpAnswers(Answers):
    """Bodies of the length that their heads announce, with status 200."""

    def __init__(self) -> None:
        self._head = b""
        self._pieces: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> bytes | None:
        if not self._missing:
            head, end, data = (self._head + data).partition(_END)
            if not end:
                self._head = head
                return None
            self._missing, self._head = _length(head), b""
        self._pieces.append(data)
        self._missing -= len(data)
        if self._missing:
            return None
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body


class RlsAnswers(Answers):
    """Lists of the protocol of the Globus RLS: a greeting first, then code 0, tokens, and an empty one at the end."""

    def __init__(self) -> None:
        self._came = b""
        self._greeted = False

    def feed(self, data: bytes) -> bytes | None:
        self._came += data
        if not self._greeted and len(self._came) >= len(_RLS_DONE):
            self._came, self._greeted = self._came[len(_RLS_DONE) :], True
        if self._came and not self._came.startswith(_RLS_DONE[: len(self._came)]):
            raise AnswerWrong(self._came[:500].decode(errors="replace"))
        if not self._came.endswith(_RLS_END):
            return None
        answer, self._came = self._came, b""
        return answer


def _length(head: bytes) -> int:
    if not head.startswith(b"HTTP/1.1 200 "):
        raise AnswerWrong(head[:500].decode(errors="replace"))
    lower = head.lower()
    at = lower.index(b"content-length:") + len(b"content-length:")
    return int(lower[at:].split(b"\r\n", 1)[0])
