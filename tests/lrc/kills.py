"""Real processes killed at any moment, again and again, and what must hold of their store each time.

Each kind is given a folder and a source of chance, and told to `kill` once more; what it finds wrong is an
AssertionError. A store that has survived many kills makes way for a new one, so that a kill costs the same all along.
"""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import crash_child

from lrc.catalog import Catalog
from lrc.check import check
from reploc.wire import LfnReplica

#: Kills of one store.
KILLS_PER_STORE = 40
CLIENTS = 8
#: Answers that a writer may give before it is killed.
ANSWERS_MAX = 400
#: Steps of one life of a writer, at most.
STEPS_PER_LIFE = 100_000
#: Files of the tree that is scanned: several batches.
FILES = 8_000
#: Kills of one scan, before it is let to its end.
KILLS_PER_SCAN = 5


class KilledWriter:
    """A process of several clients that put and delete, and the account of what it acknowledged."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._store = folder / "written"
        self._rng = rng
        self._lives = 0
        self._position = 0

    def kill(self) -> None:
        """One life of the writer, and the check of what it leaves."""
        if self._lives % KILLS_PER_STORE == 0:
            shutil.rmtree(self._store, ignore_errors=True)
            Catalog.create(self._store, "SITE").close()
            self._position = 0
        first = self._lives * STEPS_PER_LIFE
        self._lives += 1
        puts, deletions = self._acknowledged(first)
        with Catalog.open(self._store) as catalog:
            assert not (found := check(catalog).findings), found
            assert catalog.position > self._position, "the position has not gone up"
            self._position = catalog.position
            for client in range(CLIENTS):
                steps = [step for whose, step in puts if whose == client]
                verify_client(catalog, client, first, max(steps, default=first - 1), deletions)

    def _acknowledged(self, first: int) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """(client, step) of the puts and of the deletions that a child acknowledged before it died."""
        command = [sys.executable, crash_child.__file__, str(self._store), str(first), str(CLIENTS)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(self._rng.randrange(1, ANSWERS_MAX))]
        time.sleep(self._rng.uniform(0, 0.01))  # a commit takes about as long: so that any of its moments is met
        child.kill()
        lines += child.stdout.readlines()
        child.stdout.close()
        assert child.wait() == -9, "the child ended by itself"
        said = [line.decode().split() for line in lines if line.endswith(b"\n")]
        puts = {(int(client), int(step)) for what, client, step in said if what == "put"}
        return puts, {(int(client), int(step)) for what, client, step in said if what == "del"}


def verify_client(catalog: Catalog, client: int, first: int, last: int, deletions: set[tuple[int, int]]) -> None:
    """Every step up to the last acknowledged one is there or has been taken back, and each is whole."""
    held = {step: len(catalog.exists(crash_child.files_of(client, step)).known) for step in range(first, last + 3)}
    assert set(held.values()) <= {0, crash_child.FILES_PER_STEP}, "a request is half there"
    gone = [step for step in range(first, last + 1) if not held[step]]
    taken_back = [step for step in range(first, last + 1) if (client, step) in deletions]
    assert set(taken_back) <= set(gone)
    # One more may be gone: its deletion was done and its answer never arrived.
    assert len(set(gone) - set(taken_back)) <= 1
    assert set(gone) <= set(range(first, last + 1 - crash_child.KEPT_STEPS + 1))
    assert not held[last + 2], "a request was done before the one before it was answered"


class KilledScan:
    """A scan of a directory tree that is killed and run again, against one that nobody disturbed."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._tree = folder / "tree"
        self._store = folder / "scanned"
        self._rng = rng
        self._kills = 0
        self._held = 0
        for number in range(FILES):
            path = self._tree / f"{number // 100}" / f"{number}.root"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(str(number).encode() * 10)
        self._start_afresh()
        self._finish()
        self._whole = self._files()
        assert len(self._whole) == FILES
        self._start_afresh()

    def kill(self) -> None:
        """One scan that is cut short, and the check of what it leaves; every few the scan is let to its end."""
        scan = self._scan()
        self._await(scan, self._rng.randrange(self._held, FILES))
        time.sleep(self._rng.uniform(0, 0.01))
        scan.kill()
        assert scan.wait() in (0, -9), f"the scan ended with status {scan.returncode}"
        found = self._files()
        assert found.items() <= self._whole.items(), "a file is registered as it is not"
        assert len(found) >= self._held, "what was registered is gone"
        self._held = len(found)
        self._kills += 1
        if self._kills % KILLS_PER_SCAN == 0 or self._held == FILES:
            self._finish()
            assert self._files() == self._whole, "the scan that was cut short came to another catalog"
            self._start_afresh()

    def _finish(self) -> None:
        status = self._scan().wait()
        assert status == 0, f"a scan that nobody disturbed ended with status {status}"

    def _await(self, scan: "subprocess.Popen[bytes]", files: int) -> None:
        """Until so many files are registered, or the scan is through."""
        with Catalog.open(self._store, read_only=True) as catalog:
            while catalog.state().lfns < files and scan.poll() is None:
                time.sleep(0.001)

    def _scan(self) -> "subprocess.Popen[bytes]":
        command = ["lrc", "scan", str(self._tree), "--store", str(self._store), "--collection-depth", "1"]
        return subprocess.Popen([sys.executable, "-m", "reploc", *command], stdout=subprocess.DEVNULL)

    def _files(self) -> dict[str, LfnReplica]:
        """What the store holds, which its check accepts."""
        with Catalog.open(self._store) as catalog:
            assert not (found := check(catalog).findings), found
            return {file.lfn: file for file in catalog.files(limit=FILES + 1).files}

    def _start_afresh(self) -> None:
        shutil.rmtree(self._store, ignore_errors=True)
        Catalog.create(self._store, "SITE").close()
        self._held = 0
