"""The open loop: latency runs from the moment at which a request was due, and wrong answers end the run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from loadtests.answers import AnswerWrong, HttpAnswers
from loadtests.exchange import get
from loadtests.open_loop import CONNECTIONS, Due, percentiles, sent

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
STALL_S = 0.5


@asynccontextmanager
async def serving(*, stalls: bool = False) -> AsyncIterator[int]:
    """A server that answers every request; the first one of all, where it stalls, holds up all others."""
    turn = asyncio.Lock()
    stalled = not stalls

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal stalled
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                async with turn:
                    if not stalled:
                        stalled = True
                        await asyncio.sleep(STALL_S)
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_everything_due_is_sent_and_timed() -> None:
    async with serving() as port:
        dues = [Due(at / 1000, port, get("/"), b"hello", "ask") for at in range(100)]
        timed = await asyncio.to_thread(sent, dues)
    assert timed.took_ms.shape == (100,)
    assert (timed.took_ms > 0).all()
    assert (timed.late_ms >= 0).all()
    assert timed.seconds >= dues[-1].at_s


async def test_requests_that_wait_for_a_stalled_server_count_their_wait() -> None:
    requests = 4 * CONNECTIONS
    async with serving(stalls=True) as port:
        dues = [Due(number / 1000, port, get("/"), b"hello", "ask") for number in range(requests)]
        timed = await asyncio.to_thread(sent, dues)
    remaining_ms = [(STALL_S - due.at_s) * 1e3 for due in dues]
    assert all(took >= 0.9 * remaining for took, remaining in zip(timed.took_ms, remaining_ms, strict=True))


async def test_an_answer_without_what_was_expected_ends_the_run() -> None:
    async with serving() as port:
        with pytest.raises(AnswerWrong, match="expected b'bye' in b'hello'"):
            await asyncio.to_thread(sent, [Due(0.0, port, get("/"), b"bye", "ask")])


def test_a_body_is_whole_wherever_it_is_cut() -> None:
    for cut in range(len(ANSWER) + 1):
        answers = HttpAnswers()
        parts = [answers.feed(part) for part in (ANSWER[:cut], ANSWER[cut:]) if part]
        assert [part for part in parts if part is not None] == [b"hello"]


def test_percentiles_are_of_all_values() -> None:
    assert percentiles(np.arange(1.0, 1_002.0)) == "p50 501.00, p90 901.00, p99 991.00, p99.9 1000.00"
