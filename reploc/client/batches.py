"""Many items in many requests: how they are cut, and how their outcomes become one again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec.structs import replace

from reploc.errors import TooLarge
from reploc.wire import BATCH_ITEMS_MAX, Written

T = TypeVar("T")

#: Items in one request of a client: what a service answers in a few milliseconds, so that nobody waits behind it.
ITEMS = 1_000


def cut(items: Sequence[T], size: int = ITEMS) -> Iterator[Sequence[T]]:
    """The items in order, `size` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


def batch_size(items: Sequence[object], atomic: bool, most: int = BATCH_ITEMS_MAX) -> int:
    """Items per request, of which one takes `most`; TooLarge where all must be in one and do not fit."""
    if atomic and len(items) > most:
        raise TooLarge(f"{len(items):,} items cannot be atomic: at most {most:,} fit in one request")
    return most if atomic else min(ITEMS, most)


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
