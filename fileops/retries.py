"""What is done about an operation that failed: tried again later, taken from another source, or held for a person.

Pauses double from attempt to attempt and are drawn from the upper half of the full pause, so that files that failed
together do not come back together and none comes back at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from fileops.lane import Claimed, Ended
from fileops.operation import Event
from reploc.config import Settings
from reploc.storage.faults import StorageFault

#: Doublings beyond which no pause is computed: any longest pause is reached by then.
DOUBLINGS_MAX = 40


class RetrySettings(Settings, frozen=True):
    """How often and when an operation is tried again."""

    attempts_max: Annotated[
        int, Meta(description="An operation that failed so often is held, until it is released.", ge=1, le=10_000)
    ] = 8
    pause_s: Annotated[
        float, Meta(description="The pause after the first failure; it doubles each time.", gt=0, le=86_400)
    ] = 10.0
    pause_s_max: Annotated[float, Meta(description="The longest pause.", gt=0, le=864_000)] = 3_600.0


@dataclass(frozen=True)
class Spent:
    """What an attempt cost."""

    seconds: float = 0.0
    moved: int = 0


def pause_s(settings: RetrySettings, attempts: int, chance: float) -> float:
    """Seconds before the next attempt after `attempts` of them; `chance` is drawn from [0, 1)."""
    full = min(settings.pause_s * 2.0 ** min(attempts - 1, DOUBLINGS_MAX), settings.pause_s_max)
    return full * (0.5 + 0.5 * chance)


def failed(
    operation: Claimed, fault: StorageFault, settings: RetrySettings, now: float, chance: float, spent: Spent
) -> Ended:
    """What becomes of an operation after a fault."""
    if fault.blame == "source" and operation.source:
        return _without_source(operation, fault, now, spent)
    if fault.blame in ("permanent", "source"):
        return Ended(operation, Event.HELD, fault.said, seconds=spent.seconds)
    if operation.attempts >= settings.attempts_max:
        words = f"failed {operation.attempts} times, the last time: {fault.said}"
        if fault.blame == "transient" and operation.reason not in ("", fault.said):
            words += f"; the time before: {operation.reason}"  # a connection that breaks may hide a disk that is full
        return Ended(operation, Event.HELD, words, seconds=spent.seconds)
    due = now + pause_s(settings, operation.attempts, chance)
    return Ended(operation, Event.DELAYED, fault.said, due_s=due, seconds=spent.seconds, moved=spent.moved)


def _without_source(operation: Claimed, fault: StorageFault, now: float, spent: Spent) -> Ended:
    """Another source at once, while there is one; when all failed, the reason of each."""
    failures = operation.failures | {operation.source: fault.said}
    if any(source not in failures for source in operation.lane.sources):
        words = f"{operation.source}: {fault.said}; another source is taken"
        return Ended(operation, Event.DELAYED, words, due_s=now, failures=failures, seconds=spent.seconds)
    words = "; ".join(f"{source}: {said}" for source, said in sorted(failures.items()))
    return Ended(operation, Event.HELD, f"no source is left: {words}", failures=failures, seconds=spent.seconds)
