"""Many items in many requests: how they are cut, and how their outcomes become one again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from reploc.wire import Written

T = TypeVar("T")

#: Items in one request of a client: what a service answers in a few milliseconds, so that nobody waits behind it.
ITEMS = 1_000


def cut(items: Sequence[T], size: int = ITEMS) -> Iterator[Sequence[T]]:
    """The items in order, `size` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


def joined(answers: Sequence[Written], size: int = ITEMS) -> Written:
    """One outcome for batches of `size` items each, with the errors numbered as the caller numbered its items.

    `position` is the highest: the commit that holds all of them.
    """
    return Written(
        done=sum(answer.done for answer in answers),
        errors=[
            replace(error, index=batch * size + error.index)
            for batch, answer in enumerate(answers)
            for error in answer.errors
        ],
        position=max((answer.position for answer in answers), default=0),
    )
