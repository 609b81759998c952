"""Directories as intervals of paths: which of many sorted paths lie below any of them.

Everything below a directory `d` lies between `d/` and `d0` in the order of raw bytes, `0` being what follows the
slash. A prefix thus ends at the boundary of a name: `/a/b` covers `/a/b/c` and itself, and never `/a/bc`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Intervals:
    """A set of directories, each an absolute path; `/` covers everything."""

    def __init__(self, directories: Iterable[bytes]) -> None:
        self.directories = _outermost(directories)
        self._begins = [_stem(each) + b"/" for each in self.directories]
        self._stems = sorted(map(_stem, self.directories))

    def __bool__(self) -> bool:
        return bool(self.directories)

    def covers(self, path: bytes) -> bool:
        """Whether a path is one of the directories or lies below one."""
        at = bisect_right(self._begins, path + b"/") - 1
        return at >= 0 and (path + b"/").startswith(self._begins[at])

    def below(self, paths: pl.Series) -> NDArray[np.bool_]:
        """Which of some ascending paths, shape (n,), lie below a directory or are one; shape (n,)."""
        found = np.zeros(len(paths), dtype=np.bool_)
        if not len(paths) or not self.directories:
            return found
        first, last = paths[0], paths[-1]
        for at in range(max(bisect_right(self._begins, first) - 1, 0), bisect_right(self._begins, last)):
            begin = self._begins[at]
            found[paths.search_sorted(begin) : paths.search_sorted(begin[:-1] + b"0")] = True
        # A directory itself stands apart from what is below it: `/a!` comes between `/a` and `/a/`.
        for stem in self._stems[bisect_left(self._stems, first) : bisect_right(self._stems, last)]:
            found[paths.search_sorted(stem) : paths.search_sorted(stem, side="right")] = True
        return found


def _stem(directory: bytes) -> bytes:
    return directory.rstrip(b"/")


def _outermost(directories: Iterable[bytes]) -> list[bytes]:
    """The directories that lie below no other of them, in the order of what they cover."""
    kept: list[bytes] = []
    for each in sorted({_stem(each) or b"/" for each in directories}, key=lambda path: _stem(path) + b"/"):
        if not kept or not (_stem(each) + b"/").startswith(_stem(kept[-1]) + b"/"):
            kept.append(each)
    return kept
