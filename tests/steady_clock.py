"""A clock that stands still while this process does, so that a machine that pauses it makes no service in it late.

Services that a test runs in its own process tell each other every fraction of a second that they are alive, and believe
no news that is older than a second or two. A virtual machine, or a container beside many others, stands still for
longer now and then: all services together, who then take each other for silent. So the monotonic clock of the process,
which every service and event loop reads, leaves such pauses out. A thread reads it all the while; a time between two
readings that is longer than any thread should wait was a pause.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

#: Seconds between two readings of the thread.
BEAT_S = 0.05
#: Seconds between two readings that are no pause: several times what a thread waits on a busy machine.
PAUSE_S = 0.25


class SteadyClock:
    """Call it for the seconds; they never go back. It tells those of another clock that are no pauses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # What a signal or the collector of garbage calls in the middle of a reading may read it too.
        self._lock = threading.RLock()
        self._read_at = self._clock()
        #: Seconds that were left out so far.
        self.paused_s = 0.0

    def __call__(self) -> float:
        with self._lock:
            now = self._clock()
            self.paused_s += max(0.0, now - self._read_at - PAUSE_S)
            self._read_at = now
            return now - self.paused_s

    def install(self) -> None:
        """Makes it the clock of this process; one that is forked off has no such thread, and the clock from before."""
        threading.Thread(target=self._beat, name="steady-clock", daemon=True).start()
        time.monotonic = self
        os.register_at_fork(after_in_child=self._remove)

    def _remove(self) -> None:
        time.monotonic = self._clock

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_S)
            self()
