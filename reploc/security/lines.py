"""A file of lines that only grows, and that makes way for another when it is full.

Each line is written whole by one call, so that several processes may write to one file. `FILE.1` is the file before,
`FILE.2` the one before that.
"""

from __future__ import annotations

import os
from pathlib import Path

from reploc.errors import ConfigInvalid


class Lines:
    """The file at `path`, of at most about `bytes_max` bytes, with so many earlier ones."""

    def __init__(self, path: Path, bytes_max: int, files: int) -> None:
        """Raises ConfigInvalid: it cannot be opened."""
        self.path = path
        self._bytes_max = bytes_max
        self._files = files
        try:
            self._file = self._opened()
        except OSError as wrong:
            raise ConfigInvalid(f"{path}: cannot be written: {wrong.strerror}") from wrong

    def append(self, line: bytes, *, sync: bool = False) -> None:
        """Writes one line, which has no line end. Raises OSError: it is not there, or not whole."""
        self._follow()
        if os.fstat(self._file).st_size + len(line) >= self._bytes_max:
            self._rotate()
        if os.write(self._file, line + b"\n") <= len(line):
            raise OSError(f"{self.path}: a line could not be written whole")
        if sync:
            os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _opened(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _follow(self) -> None:
        """Goes on in the file of the path where another process has moved ours away."""
        try:
            here = self.path.stat()
        except FileNotFoundError:
            here = None
        ours = os.fstat(self._file)
        if here is None or (here.st_ino, here.st_dev) != (ours.st_ino, ours.st_dev):
            self._reopen()

    def _reopen(self) -> None:
        new = self._opened()
        os.close(self._file)
        self._file = new

    def _rotate(self) -> None:
        if os.fstat(self._file).st_size == 0:  # one line may be longer than a file should be
            return
        for number in range(self._files, 0, -1):
            before = self.path if number == 1 else self._earlier(number - 1)
            if before.exists():
                before.replace(self._earlier(number))
        self._reopen()

    def _earlier(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
