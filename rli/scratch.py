"""The bytes of numbered names on disk: a scratch LMDB, which nobody needs after the process has ended.

    key  the number, 4 bytes, big-endian          value  the name

The file has no name any more once it is open, so that a process that is killed leaves nothing behind. Nothing is
synced. What memory the system lends to its pages it takes back when it needs it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from reploc.errors import ConfigInvalid, MemoryFull
from rli.texts import Names

Numbers = NDArray[np.int64]

#: Address space, not disk: a thousand billion bytes are more names than numbers.
_MAP_BYTES = 1 << 40


class ScratchTexts:
    """Names in a file of a directory. A view shows the names as they are when it is read."""

    def __init__(self, directory: str) -> None:
        """Raises ConfigInvalid: no file can be made there."""
        try:
            handle, path = tempfile.mkstemp(prefix="reploc-names-", dir=directory)
            os.close(handle)
            self._environment = lmdb.open(
                path, map_size=_MAP_BYTES, subdir=False, lock=False, sync=False, metasync=False, readahead=False
            )
            Path(path).unlink()
        except (OSError, lmdb.Error) as wrong:
            raise ConfigInvalid(f"lists_scratch: no file can be made in {directory}: {wrong}") from wrong

    def put(self, numbers: Numbers, names: Sequence[bytes]) -> None:
        """Puts them into the file. Raises MemoryFull: the disk is full."""
        try:
            with self._environment.begin(write=True) as txn:
                txn.cursor().putmulti(list(zip(_keys(numbers), names, strict=True)))
        except lmdb.Error as wrong:
            raise MemoryFull(f"the scratch file of lists takes no more names: {wrong}") from wrong

    def view(self) -> Names:
        """All names."""
        return self

    def of(self, numbers: Numbers) -> list[bytes]:
        """The name of each number."""
        with self._environment.begin() as txn:
            return [txn.get(key, b"") for key in _keys(numbers)]

    def sweep(self, alive: Numbers) -> None:
        """The numbers of others are given again, and their names overwritten then."""

    def memory(self) -> int:
        """None: it is the system's."""
        return 0


def _keys(numbers: Numbers) -> list[bytes]:
    raw = numbers.astype(">u4").tobytes()
    return [raw[at : at + 4] for at in range(0, len(raw), 4)]
