"""Whether a store's file is as long as its tables reach: a page behind the end of a mapped file is no error but SIGBUS.

LMDB's meta pages name the last page that was ever used, and a file that holds it is long enough. A shorter one was cut,
or its last pages were taken and given up in one commit, so that nobody wrote them. Which of the two is found out by a
process of its own, which reads every page that the tables reach and may die of it:

    python -m lrc.whole STORE
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import lmdb

from lrc import layout
from reploc.errors import StoreDamaged


def require_whole(path: Path, environment: lmdb.Environment) -> None:
    """Raises StoreDamaged: the file of this environment, from which nothing was read yet, was cut short."""
    # In this order: a writer beside us makes the file longer before it names a page.
    last_page = environment.info()["last_pgno"]
    expected = (last_page + 1) * environment.stat()["psize"]
    size = (path / layout.DATA_FILE).stat().st_size
    if size >= expected:
        return
    ends_within_a_page = size % environment.stat()["psize"] != 0
    if ends_within_a_page or not _can_be_read(path):
        raise StoreDamaged(
            f"store {path}: {layout.DATA_FILE} was cut short: it has {size:,} of {expected:,} bytes",
            hint="restore a backup of the store; the index learns by itself what it lacks",
        )


def _can_be_read(path: Path) -> bool:
    reader = subprocess.run([sys.executable, "-m", __name__, str(path)], capture_output=True, check=False)  # noqa: S603 - the command is ours, and no shell reads it
    return reader.returncode == 0


def read_every_page(path: Path) -> None:
    """Reads all that the tables of a store reach, from one snapshot. What LMDB finds wrong on the way kills nobody."""
    with (
        lmdb.open(str(path), readonly=True, create=False, map_size=0) as environment,
        Path(os.devnull).open("wb") as sink,
        suppress(lmdb.Error),
    ):
        environment.copyfd(sink.fileno(), compact=True)


if __name__ == "__main__":
    read_every_page(Path(sys.argv[1]))
