"""What is sent again, how often, and after which pauses."""

import asyncio
import random

import pytest

from reploc.client import retry
from reploc.client.concurrency import side_by_side
from reploc.client.transport import Request
from reploc.errors import AnswerInvalid, Internal, LfnUnknown, NotConnected, ReplocError, Unavailable, Unreachable
from reploc.status import Health

READ = Request("GET", "http://x", "/healthz", Health)
WRITE = Request("POST", "http://x", "/healthz", Health, idempotent=False)


@pytest.mark.parametrize(
    ("request_", "wrong", "again"),
    [
        (READ, Unavailable(), True),
        (READ, Unreachable(), True),
        (READ, LfnUnknown(), False),
        (READ, AnswerInvalid(), False),
        (READ, Internal(), False),
        (WRITE, Unreachable(), False),
        (WRITE, Unavailable(), False),
        (WRITE, NotConnected(), True),
    ],
)
def test_a_request_is_sent_again_only_where_that_is_safe_and_can_help(
    request_: Request[Health], wrong: ReplocError, again: bool
) -> None:
    assert retry.may_retry(request_, wrong) is again


def test_pauses_grow_up_to_a_bound_and_differ_between_clients() -> None:
    rng = random.Random(7)
    longest = [max(retry.pause_s(attempt, rng.random()) for _ in range(200)) for attempt in range(1, 12)]
    assert longest == sorted(longest[:5]) + longest[5:]
    assert max(longest) <= retry.PAUSE_S_MAX
    assert retry.pause_s(3, 0.0) == 0.0


async def test_no_more_jobs_than_allowed_run_at_once_and_results_keep_their_order() -> None:
    running, most = 0, 0

    async def work(job: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(job % 3):
            await asyncio.sleep(0)
        running -= 1
        return job * 2

    assert await side_by_side(work, range(20), limit=3) == [job * 2 for job in range(20)]
    assert most == 3


async def test_the_first_error_stops_the_jobs_that_are_left() -> None:
    done: list[int] = []

    async def work(job: int) -> None:
        await asyncio.sleep(0)
        if job == 2:
            raise ValueError("two")
        done.append(job)

    with pytest.raises(ValueError, match="two"):
        await side_by_side(work, range(100), limit=2)
    assert len(done) < 5
