"""A directory tree as a stream of its regular files, and of what in it cannot be registered.

Symbolic links are not followed, and sockets, pipes and devices are no files; both are counted. The walk holds one open
directory per level and nothing else, so that its memory does not grow with the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from lrc.tools.naming import FileNames, Naming
from reploc.errors import NameInvalid

#: Levels of directories: each holds a descriptor open, and a process has 1,024 of them by default.
DEPTH_MAX = 512

#: unnamed: has no name that a catalog takes. unreadable: could not be listed or read. changed: vanished, or was written
#: to while it was looked at. refused: the catalog said no.
Kind: TypeAlias = Literal["unnamed", "unreadable", "changed", "refused"]


class FoundFile(NamedTuple):
    """A regular file: its path below the root, its names, and its size as the walk saw it."""

    path: bytes
    names: FileNames
    size: int


class Trouble(NamedTuple):
    """Something that is not registered, and why."""

    kind: Kind
    path: bytes
    words: str


@dataclass
class Passed:
    """What the walk went past without a word: neither file nor fault."""

    directories: int = 0
    links: int = 0
    specials: int = 0
    excluded: int = 0


class _Level(NamedTuple):
    """A directory that is being listed, by its path below the root."""

    path: bytes
    entries: Iterator[os.DirEntry[bytes]]
    close: Callable[[], None]


Seen: TypeAlias = FoundFile | Trouble


class Walk:
    """The walk over the tree at `root`, an absolute path: iterate it once.

    Files come in the order in which the file system lists them. A directory that cannot be listed, or has a name that
    no LFN can have, is one Trouble, and nothing below it is seen.
    """

    def __init__(self, root: bytes, naming: Naming, depth_max: int = DEPTH_MAX) -> None:
        self.root = root
        self.passed = Passed()
        self._naming = naming
        self._depth_max = depth_max
        self._levels: list[_Level] = []

    def __iter__(self) -> Iterator[Seen]:
        try:
            if (unentered := self._enter(b"")) is not None:
                yield unentered
            while self._levels:
                seen = self._step(self._levels[-1])
                if seen is not None:
                    yield seen
        finally:
            for level in self._levels:
                level.close()

    def full_path(self, path: bytes) -> bytes:
        """The path of the file system for one below the root."""
        return self.root.rstrip(b"/") + b"/" + path

    def _enter(self, path: bytes) -> Trouble | None:
        if len(self._levels) == self._depth_max:
            return Trouble("unreadable", path, f"lies deeper than {self._depth_max} levels; nothing below it is seen")
        try:
            entries = os.scandir(self.full_path(path))
        except OSError as wrong:
            return trouble(path, wrong)
        self._levels.append(_Level(path, entries, entries.close))
        self.passed.directories += 1
        return None

    def _step(self, level: _Level) -> Seen | None:
        """Look at the next entry of a directory, or leave it."""
        try:
            entry = next(level.entries, None)
        except OSError as wrong:
            self._levels.pop().close()
            return trouble(level.path, wrong)
        if entry is None:
            self._levels.pop().close()
            return None
        path = level.path + b"/" + entry.name if level.path else entry.name
        if self._naming.excludes(path):
            self.passed.excluded += 1
            return None
        try:
            return self._judged(entry, path)
        except OSError as wrong:
            return trouble(path, wrong)

    def _judged(self, entry: os.DirEntry[bytes], path: bytes) -> Seen | None:
        is_directory = entry.is_dir(follow_symlinks=False)
        status = None if is_directory else entry.stat(follow_symlinks=False)
        if status is not None and not stat.S_ISREG(status.st_mode):
            if stat.S_ISLNK(status.st_mode):
                self.passed.links += 1
            else:
                self.passed.specials += 1
            return None
        try:
            names = self._naming.of(path)
        except NameInvalid as wrong:
            below = "; nothing below it is registered" if is_directory else ""
            return Trouble("unnamed", path, wrong.detail + below)
        return self._enter(path) if status is None else FoundFile(path, names, status.st_size)


def trouble(path: bytes, wrong: OSError) -> Trouble:
    """What the system's error means for a path: it has gone, or it cannot be read."""
    if isinstance(wrong, FileNotFoundError | NotADirectoryError):
        return Trouble("changed", path, "vanished while it was looked at")
    return Trouble("unreadable", path, f"cannot be read: {wrong.strerror or wrong}")
