"""The walk over a site's storage through its doors: every directory asked, asked again elsewhere, or known as not seen.

Directories wait in a stack, so that few wait at a time. Each door takes `per_door` calls side by side, all doors
`in_all`; a call has `timeout_s`, and one that fails is made again through another door after a pause that doubles. An
empty answer for a directory that the catalog fills is not believed at once: it must come `EMPTY_ANSWERS` times. One
that its parent told of and that is never there was not seen: some doors cannot say some names. What was answered goes
to a journal (`consistency/checkpoint.py`), and a walk that was killed goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from consistency.checkpoint import Checkpoint, Seen, State
from consistency.intervals import Intervals
from consistency.listers.lister import Answer, Failed, Listed, Lister
from reploc.config import Settings

#: Times that a directory which the catalog fills must answer that it is empty, or absent, before it is believed.
EMPTY_ANSWERS = 3
#: The longest pause before a directory is asked again.
PAUSE_S_MAX = 60.0

#: Told after each directory: directories done, files seen, directories that wait.
Progress = Callable[[int, int, int], None]


class ListingSettings(Settings, frozen=True):
    """How a site's storage is asked."""

    per_door: Annotated[int, Meta(description="Calls through one door at once.", ge=1, le=1_000)] = 4
    in_all: Annotated[int, Meta(description="Calls at once.", ge=1, le=1_000)] = 16
    timeout_s: Annotated[float, Meta(description="One call may take so long.", gt=0, le=86_400)] = 300.0
    attempts: Annotated[
        int, Meta(description="Times that a directory is asked before it counts as not seen.", ge=1)
    ] = 4
    pause_s: Annotated[float, Meta(description="Before a directory is asked again; doubles each time.", ge=0)] = 1.0


@dataclass
class Summary:
    """What a walk came to; `retries` counts calls made again, `doors` calls by door."""

    directories: int = 0
    files: int = 0
    others: int = 0
    failed: int = 0
    partial: int = 0
    retries: int = 0
    resumed: int = 0
    seconds: float = 0.0
    doors: dict[str, int] = field(default_factory=dict)
    #: Roots that are not there.
    absent_roots: list[bytes] = field(default_factory=list)
    #: Roots that could not be listed.
    failed_roots: list[bytes] = field(default_factory=list)


@dataclass
class _Waiting:
    """A directory that is to be asked: how often it was, and how often it seemed empty."""

    path: bytes
    attempts: int = 0
    empties: int = 0
    #: The door that it was asked through last: another one is to take it, where there is one.
    door: int = -1
    best: Listed | None = None


class Walk:
    """One listing of the trees at `roots`; `run` it once.

    `filled(directory)` says whether the catalog has files right in a directory; `excluded` directories are not entered.
    """

    def __init__(
        self,
        listers: Sequence[Lister],
        settings: ListingSettings,
        checkpoint: Checkpoint,
        filled: Callable[[bytes], bool],
        excluded: Intervals,
        progress: Progress,
    ) -> None:
        self._listers = listers
        self._settings = settings
        self._checkpoint = checkpoint
        self._filled = filled
        self._excluded = excluded
        self._progress = progress
        self._stack: list[_Waiting] = []
        #: Directories that are to be asked again, the longest waiting first.
        self._again: list[_Waiting] = []
        self._pauses = asyncio.TaskGroup()
        self._pausing = 0
        self._working = 0
        self._changed = asyncio.Condition()
        self._summary = Summary()
        self._roots = checkpoint.begun.roots

    async def run(self) -> Summary:
        """Asks every directory. Raises StoreError: the journal cannot be written."""
        began = time.monotonic()
        self._resume()
        callers = min(self._settings.in_all, self._settings.per_door * len(self._listers))
        async with asyncio.TaskGroup() as calling:
            self._pauses = calling
            for number in range(callers):
                calling.create_task(self._call_through(number % len(self._listers)))
        self._summary.seconds = time.monotonic() - began
        return self._summary

    def _resume(self) -> None:
        waiting = dict.fromkeys(self._roots)
        for seen in self._checkpoint.replay():
            waiting.pop(seen.path, None)
            waiting |= dict.fromkeys(self._below(seen))
            self._count(seen)
            self._summary.resumed += 1
        self._stack = [_Waiting(path) for path in reversed(waiting)]

    def _below(self, seen: Seen) -> list[bytes]:
        stem = seen.path.rstrip(b"/") + b"/"
        below = [stem + name for name, _ in seen.directories]
        return [path for path in below if not self._excluded.covers(path)] if self._excluded else below

    async def _call_through(self, door: int) -> None:
        """Takes directories from the stack and asks about them, until none waits and none is being asked."""
        while batch := await self._next(door):
            asked_at = time.time()
            answers = await self._asked(self._listers[door], batch)
            for directory, answer in zip(batch, answers, strict=True):
                self._take(directory, answer, asked_at, door)
            async with self._changed:
                self._working -= len(batch)
                self._changed.notify_all()
            self._progress(self._summary.directories, self._summary.files, len(self._stack))

    async def _next(self, door: int) -> list[_Waiting]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._stack or self._takes(door) or not self._unfinished)
            batch = self._takes(door)[: self._listers[door].batch]
            if batch:
                self._again = [each for each in self._again if each not in batch]
            else:
                # Half of what waits, so that other callers find something too.
                count = min(self._listers[door].batch, max(len(self._stack) // 2, 1))
                batch, self._stack = self._stack[-count:][::-1], self._stack[:-count]
            self._working += len(batch)
            return batch

    @property
    def _unfinished(self) -> int:
        return len(self._stack) + len(self._again) + self._working + self._pausing

    def _takes(self, door: int) -> list[_Waiting]:
        """What waits to be asked again, and was not asked through this door, unless it is the only one."""
        return [each for each in self._again if each.door != door or len(self._listers) == 1]

    async def _asked(self, lister: Lister, batch: Sequence[_Waiting]) -> Sequence[Answer]:
        self._summary.doors[lister.door] = self._summary.doors.get(lister.door, 0) + 1
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await lister.look([each.path for each in batch])
        except TimeoutError:
            return [Failed(f"no answer within {self._settings.timeout_s:g} s")] * len(batch)

    def _take(self, directory: _Waiting, answer: Answer, asked_at: float, door: int) -> None:
        directory.attempts += 1
        if (why := self._doubt(directory, answer)) and directory.attempts < self._settings.attempts:
            directory.door = door
            self._summary.retries += 1
            self._ask_later(directory)
            return
        self._done(directory, answer, why, asked_at, door)

    def _doubt(self, directory: _Waiting, answer: Answer) -> str:
        """Why an answer is not taken for the last word; empty where it is."""
        if isinstance(answer, Failed):
            if not answer.retryable:
                directory.attempts = self._settings.attempts
            return answer.why
        if answer is None and directory.path not in self._roots:
            return "it was told of, and cannot be found by its name"
        if answer is None or answer.empty:
            directory.empties += 1
            if directory.empties < EMPTY_ANSWERS and self._filled(directory.path):
                return "it seems to hold nothing, and the catalog has files in it"
            return ""
        if not answer.complete:
            directory.best = answer
            return "the listing broke off"
        return ""

    def _ask_later(self, directory: _Waiting) -> None:
        pause = min(self._settings.pause_s * 2 ** (directory.attempts - 1), PAUSE_S_MAX)
        self._pausing += 1
        self._pauses.create_task(self._wait(directory, pause))

    async def _wait(self, directory: _Waiting, pause: float) -> None:
        await asyncio.sleep(pause)
        async with self._changed:
            self._pausing -= 1
            self._again.append(directory)
            self._changed.notify_all()

    def _done(self, directory: _Waiting, answer: Answer, why: str, asked_at: float, door: int) -> None:
        seen = _seen(directory, answer, why, asked_at, self._listers[door].door)
        self._checkpoint.seen(seen)
        self._count(seen)
        self._stack.extend(_Waiting(path) for path in self._below(seen))

    def _count(self, seen: Seen) -> None:
        summary = self._summary
        summary.directories += seen.state in ("listed", "partial")
        summary.files += len(seen.files)
        summary.others += seen.others
        summary.failed += seen.state == "failed"
        summary.partial += seen.state == "partial"
        if seen.state == "gone" and seen.path in self._roots:
            summary.absent_roots.append(seen.path)
        if seen.state == "failed" and seen.path in self._roots:
            summary.failed_roots.append(seen.path)


def _seen(directory: _Waiting, answer: Answer, why: str, asked_at: float, door: str) -> Seen:
    """A directory as the journal has it. What seemed empty too seldom to be believed was not seen."""
    listed = answer if isinstance(answer, Listed) and not (why and answer.empty) else directory.best
    state: State = "failed" if why else "gone"
    if listed is not None:
        state = "listed" if listed.complete else "partial"
    listed = listed or Listed()
    return Seen(
        path=directory.path,
        listed_at=asked_at,
        state=state,
        files=listed.files,
        directories=listed.directories,
        others=listed.others,
        why=why,
        door=door,
        attempts=directory.attempts,
    )
