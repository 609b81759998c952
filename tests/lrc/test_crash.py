"""A process that is killed at any moment loses nothing that it acknowledged, and leaves a sound store."""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import crash_child
import pytest
import syscalls
from kills import KilledScan, KilledWriter

from lrc.catalog import Catalog


#: So many kills of each kind; `make soak` runs thousands of the same.
@pytest.mark.parametrize(("kind", "kills"), [(KilledWriter, 15), (KilledScan, 5)])
def test_nothing_acknowledged_is_lost_when_a_process_is_killed(
    kind: Callable[[Path, random.Random], KilledWriter | KilledScan], kills: int, tmp_path: Path
) -> None:
    """A scan that is killed and run again gives the same catalog as one that nobody disturbed."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    killed = kind(tmp_path, random.Random(seed))
    for _ in range(kills):
        killed.kill()


def test_every_acknowledgement_comes_after_a_sync_of_what_it_acknowledges(tmp_path: Path) -> None:
    """kill -9 leaves the system's own memory alone, so it is no proof: the system calls of one client are counted."""
    store = tmp_path / "store"
    Catalog.create(store, "SITE").close()
    calls = syscalls.traced([sys.executable, crash_child.__file__, str(store), "0", "1"], until_writes=20)
    told: list[str] = []
    for call in calls:
        if call.fd == 1:
            assert told[-3:] == ["pages", "sync", "commit"], f"{told} before an answer"
            told.clear()
        elif call.path.endswith("data.mdb"):
            # The page that makes a commit is written through, when all that it refers to is on disk.
            what = "sync" if "sync" in call.name else "commit" if call.through else "pages"
            told += [what] if told[-1:] != [what] else []
    assert sum(call.fd == 1 for call in calls) == 20
