"""The clock of the tests' own process: pauses are left out, everything else is told, and nothing goes back."""

import asyncio
import os
import subprocess
import time
from random import Random

from steady_clock import PAUSE_S, SteadyClock


def test_it_tells_what_the_other_clock_does_but_for_pauses() -> None:
    now = 1_000.0
    clock = SteadyClock(lambda: now)
    began = clock()
    for step_s, told_s in ((0.0, 0.0), (0.2, 0.2), (PAUSE_S, PAUSE_S), (60.0, PAUSE_S), (0.1, 0.1)):
        before = clock()
        now += step_s
        assert abs(clock() - before - told_s) < 1e-9
    assert abs(clock() - began + clock.paused_s - 60.0 - 0.3 - PAUSE_S) < 1e-9


def test_it_never_goes_back() -> None:
    rng, now = Random(1), 0.0
    clock = SteadyClock(lambda: now)
    last = clock()
    for _ in range(10_000):
        now += rng.choice([0.0, 1e-6, 0.1, 3.0])
        assert clock() >= last
        last = clock()


async def test_a_timer_is_not_due_because_the_process_was_stopped() -> None:
    stop_and_go = f"sleep 0.2; kill -STOP {os.getpid()}; sleep 1.5; kill -CONT {os.getpid()}"
    loop = asyncio.get_running_loop()
    began, began_real = loop.time(), time.perf_counter()
    stopper = subprocess.Popen(["sh", "-c", stop_and_go])
    assert await asyncio.to_thread(stopper.wait) == 0
    assert time.perf_counter() - began_real >= 1.7
    assert loop.time() - began <= time.perf_counter() - began_real - 1.0
    assert time.monotonic.__class__ is SteadyClock, "which every service of the process reads"
