"""The lister of a file system: `scandir` and one `lstat` a name, in threads, many directories a call."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from consistency.listers.lister import Answer, Failed, Listed

#: Directories of one call: with a dozen files each a few milliseconds, so that changing threads costs little.
BATCH = 64
#: Threads of one door: where files lie on the network, several wait side by side.
THREADS = 8


class PosixLister:
    """The tree below a directory of this machine."""

    batch = BATCH

    def __init__(self, root: Path) -> None:
        self.door = f"file://{root}"
        self._root = os.fsencode(root).rstrip(b"/")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="list")

    async def look(self, directories: Sequence[bytes]) -> Sequence[Answer]:
        """What each directory holds."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._all, directories)

    async def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _all(self, directories: Sequence[bytes]) -> list[Answer]:
        return [self._one(directory) for directory in directories]

    def _one(self, directory: bytes) -> Answer:
        listed = Listed()
        try:
            with os.scandir(self._root + directory) as entries:
                for entry in entries:
                    _note(entry, listed)
        except FileNotFoundError:
            listed.complete = False
            return None if listed.empty else listed
        except NotADirectoryError:
            return None
        except OSError as wrong:
            said = f"{os.fsdecode(directory)}: {wrong.strerror or wrong}"
            return Failed(said, retryable=wrong.errno not in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG))
        return listed


def _note(entry: os.DirEntry[bytes], listed: Listed) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # removed since the directory was read: as if it had been removed before
    if stat.S_ISREG(status.st_mode):
        listed.files.append((entry.name, status.st_size, int(status.st_mtime), None))
    elif stat.S_ISDIR(status.st_mode):
        listed.directories.append((entry.name, int(status.st_mtime)))
    else:
        listed.others += 1
