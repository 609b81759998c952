"""The users of the scenario, for locust: jobs that look names up, and producers that register new ones.

Where the servers are, and how many names they hold, comes from the environment (`scenario.py` sets it).
"""

from __future__ import annotations

import itertools
import os
import random

import gevent
from locust import FastHttpUser, constant_throughput, events, task

from loadtests import world

LRCS = os.environ["SCENARIO_LRCS"].split(",")
RLIS = os.environ["SCENARIO_RLIS"].split(",")
NAMES = int(os.environ["SCENARIO_NAMES"])
JOBS, PRODUCERS = 50, 50
#: Requests a second of each user: together a twentieth above 1,000 and 200, so that rounding does not miss them.
JOB_PACE, PRODUCER_PACE = 21.0, 4.2

_rng = random.Random(int(os.environ["SCENARIO_SEED"]))
_fresh = itertools.count(NAMES)


def _know_the_time(**_: object) -> None:
    """Timers count from when gevent last looked at its clock: where a busy machine took long to import all this, a run
    of few seconds would be over when it begins."""
    gevent.get_hub().loop.update_now()


events.init.add_listener(_know_the_time)  # type: ignore[no-untyped-call]


class _Paced(FastHttpUser):
    """A user with an even pace, whose answers are looked into and not only counted."""

    abstract = True
    host = "http://127.0.0.1"

    def ask(self, method: str, url: str, name: str, expected: str, body: str | None = None) -> None:
        headers = {"Content-Type": "application/json"} if body else {}
        with self.client.request(method, url, name=name, data=body, headers=headers, catch_response=True) as answer:
            if answer.status_code != 200 or expected not in (answer.text or ""):
                answer.failure(f"status {answer.status_code}, expected {expected!r} in {(answer.text or '')[:300]!r}")


class Job(_Paced):
    """Of ten questions: where may it be (7), what does this catalog say (2), where is it for sure (1)."""

    fixed_count = JOBS
    wait_time = constant_throughput(JOB_PACE)

    @task(7)
    def locate(self) -> None:
        lfn = world.lfn(_rng.randrange(NAMES))
        self.ask("GET", f"{_rng.choice(RLIS)}/v1/locations?lfn={lfn}", "query: locate", '"site":"site-b"')

    @task(2)
    def look_up(self) -> None:
        number = _rng.randrange(NAMES)
        url = f"{_rng.choice(LRCS)}/v1/replicas?lfn={world.lfn(number)}"
        self.ask("GET", url, "query: one catalog", world.pfn(number))

    @task(1)
    def resolve(self) -> None:
        number = _rng.randrange(NAMES)
        url = f"{_rng.choice(RLIS)}/v1/replicas?lfn={world.lfn(number)}"
        self.ask("GET", url, "query: resolved", world.pfn(number))


class Producer(_Paced):
    """Registers one new file at a time."""

    fixed_count = PRODUCERS
    wait_time = constant_throughput(PRODUCER_PACE)

    @task
    def register(self) -> None:
        body = world.registration(next(_fresh)).decode()
        self.ask("POST", f"{_rng.choice(LRCS)}/v1/mappings", "update: register", '"done":1', body)
