"""The life of an operation: one copy or one deletion of one file, as a table of states and events.

    queued ──claimed──▶ active ──succeeded──▶ done
      ▲                 │ │ │ └──cancelled──▶ cancelled
      │                 │ │ └──held──▶ held ──released──▶ queued
      ├──returned───────┘ └──delayed──▶ waiting ──claimed──▶ active
      └──expired (its runner was not heard of in time)

Each passage has a reason in words and stands in the operation's story. An event that a state does not know is a fault
of the program, and raises with the story so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from reploc.errors import OperationUnready

Kind: TypeAlias = Literal["copy", "delete"]
State: TypeAlias = Literal["queued", "active", "waiting", "held", "done", "cancelled"]

#: What of an operation has begun, in the journal before it is. A deletion is `asking` while its witness is asked:
#: nothing has happened yet, but no other deletion may take that witness's copy. `placing` (a file may have its name)
#: and `removing` (a name may have gone from the catalog) cannot be undone by forgetting them.
Step: TypeAlias = Literal["", "placing", "asking", "removing"]
#: The steps that are as good as none once nobody is at them.
UNDONE: tuple[Step, ...] = ("", "asking")
#: Those of a deletion that other deletions of the same file must know of.
GOING: tuple[Step, ...] = ("asking", "removing")

#: The states of an operation that something is still to be done about.
OPEN: tuple[State, ...] = ("queued", "active", "waiting", "held")
#: Those that a runner may take up, once they are due.
READY: tuple[State, ...] = ("queued", "waiting")
#: The last ones.
ENDED: tuple[State, ...] = ("done", "cancelled")


class Event(StrEnum):
    """What happens to an operation."""

    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    DELAYED = "delayed"
    HELD = "held"
    RELEASED = "released"
    CANCELLED = "cancelled"
    RETURNED = "returned"
    EXPIRED = "expired"


TABLE: dict[State, dict[Event, State]] = {
    "queued": {Event.CLAIMED: "active", Event.HELD: "held", Event.CANCELLED: "cancelled"},
    "active": {
        Event.SUCCEEDED: "done",
        Event.DELAYED: "waiting",
        Event.HELD: "held",
        Event.CANCELLED: "cancelled",
        Event.RETURNED: "queued",
        Event.EXPIRED: "queued",
    },
    "waiting": {
        Event.CLAIMED: "active",
        Event.HELD: "held",
        Event.RELEASED: "queued",
        Event.CANCELLED: "cancelled",
    },
    "held": {Event.RELEASED: "queued", Event.CANCELLED: "cancelled"},
    "done": {},
    "cancelled": {},
}


@dataclass(frozen=True)
class Passage:
    """One line of a story: what happened when, the state since then, and why."""

    at_s: float
    event: str
    state: str
    words: str

    def __str__(self) -> str:
        return f"{self.at_s:.3f} {self.event} → {self.state}: {self.words}"


def after(state: State, event: Event, story: Sequence[Passage] = ()) -> State:
    """The state after an event. Raises OperationUnready with the story so far where the state does not know it."""
    following = TABLE[state].get(event)
    if following is None:
        told = "; ".join(map(str, story))
        raise OperationUnready(
            f"an operation that is {state} cannot be {event}" + (f"; so far: {told}" if told else "")
        )
    return following
