"""Files whose change is noticed by looking at their times, so that nobody need tell a daemon of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: Seconds between two looks: a certificate that was taken back is refused by then.
LOOK_S = 5.0
#: Files of one directory that are looked at: the world's grid authorities are a few hundred, with a few files each.
ENTRIES_MAX = 10_000

_Stamp = tuple[int, int, int]


class Watched:
    """Some files, or directories of files, with what they looked like last."""

    def __init__(self, paths: Iterable[str]) -> None:
        """Empty paths are none."""
        self._paths = [Path(path) for path in paths if path]
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether one of them differs from the last look, appeared or vanished."""
        now = self._look()
        changed, self._seen = now != self._seen, now
        return changed

    def _look(self) -> dict[Path, _Stamp]:
        return {path: stamp for path in self._files() if (stamp := _stamp(path))}

    def _files(self) -> Iterable[Path]:
        for path in self._paths:
            yield path
            if path.is_dir():
                yield from sorted(path.iterdir())[:ENTRIES_MAX]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
