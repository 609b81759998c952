"""A writing process that is killed at any moment loses nothing that it acknowledged, and leaves a sound store."""

import random
import subprocess
import sys
from pathlib import Path

import crash_child
import syscalls

from lrc.catalog import Catalog
from lrc.check import check

ROUNDS = 6
CLIENTS = 8
CHILD = str(Path(crash_child.__file__))


def killed_after(store: Path, first: int, answers: int) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """(client, step) of the puts and of the deletions acknowledged by a child that dies some time after `answers`."""
    child = subprocess.Popen([sys.executable, CHILD, str(store), str(first), str(CLIENTS)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(answers)]
    child.kill()
    lines += child.stdout.readlines()
    child.stdout.close()
    assert child.wait() == -9, "the child ended by itself"
    said = [line.decode().split() for line in lines if line.endswith(b"\n")]
    puts = {(int(client), int(step)) for what, client, step in said if what == "put"}
    return puts, {(int(client), int(step)) for what, client, step in said if what == "del"}


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    store = tmp_path / "store"
    Catalog.create(store, "SITE").close()
    position = 0
    for each_round in range(ROUNDS):
        first = each_round * 100_000
        puts, deletions = killed_after(store, first, rng.randrange(1, 400))
        with Catalog.open(store) as catalog:
            assert check(catalog).findings == []
            assert catalog.position > position
            position = catalog.position
            for client in range(CLIENTS):
                steps = [step for whose, step in puts if whose == client]
                verify_client(catalog, client, first, max(steps, default=first - 1), deletions)


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


def test_every_acknowledgement_comes_after_a_sync_of_what_it_acknowledges(tmp_path: Path) -> None:
    """kill -9 leaves the system's own memory alone, so it is no proof: the system calls of one client are counted."""
    store = tmp_path / "store"
    Catalog.create(store, "SITE").close()
    calls = syscalls.traced([sys.executable, CHILD, str(store), "0", "1"], until_writes=20)
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
