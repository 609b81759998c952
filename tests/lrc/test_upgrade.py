"""A store of an older layout version becomes one of today's with all that it holds, whenever the upgrade is killed."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import lmdb
import pytest
import upgrade_child
import version_1
from click.testing import CliRunner, Result

from lrc import layout
from lrc.catalog import Catalog
from lrc.check import check
from lrc.store import Store
from lrc.upgrade import STEPS, upgrade
from reploc.cli import cli
from reploc.errors import StoreForeign, StoreLocked, StoreVersion
from reploc.wire import LfnReplica, MappingItem, MappingsBody

COMMAND = [sys.executable, "-m", "reploc", "lrc", "upgrade", "--store"]
KILLS = 6


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return version_1.unpacked(tmp_path / "store")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["lrc", "upgrade", *map(str, arguments)])


def expected() -> dict[str, LfnReplica]:
    """What the store of version 1 holds, from what was written into it."""
    held: dict[str, LfnReplica] = {}
    old, new = version_1.RENAMED
    for item in version_1.contents():
        lfn = new if item.lfn == old else item.lfn
        before = held.get(lfn)
        pfns = [*(before.pfns if before else []), item.pfn]
        held[lfn] = LfnReplica(lfn, item.size, item.checksum, item.collection, pfns)
    return {lfn: one for lfn, one in held.items() if lfn not in version_1.GONE}


def verify(path: Path) -> None:
    """It is a store of today, sound, and holds what it held."""
    with Catalog.open(path) as catalog:
        assert check(catalog).findings == []
        assert (catalog.site, catalog.state().epoch, catalog.position) == (version_1.SITE, version_1.EPOCH, 3)
        assert {file.lfn: file for file in catalog.files(limit=10_000).files} == expected()


def version(path: Path) -> int:
    store = Store.open_of_any_version(path)
    try:
        return store.layout_version()
    finally:
        store.close()


def test_a_store_of_version_1_is_kept_whole_and_can_be_written(old: Path) -> None:
    with pytest.raises(StoreVersion, match="layout version 1") as refused:
        Catalog.open(old)
    assert f"reploc lrc upgrade --store {old}" in refused.value.advice
    done = run("--store", old, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["site"], said["before"], said["after"]) == (version_1.SITE, 1, layout.LAYOUT_VERSION)
    assert said["lfns"] == len(expected())
    verify(old)
    with Catalog.open(old) as catalog:
        catalog.write(MappingsBody("put", [MappingItem("/new", "a:1", 1, None, "/c")]))
        assert check(catalog).findings == []


def test_an_upgrade_of_a_store_of_today_changes_nothing(tmp_path: Path) -> None:
    Catalog.create(tmp_path / "store", "SITE").close()
    before = (tmp_path / "store" / layout.DATA_FILE).read_bytes()
    done = run("--store", tmp_path / "store")
    assert (done.exit_code, done.stdout) == (
        0,
        f"the catalog of SITE has layout version {layout.LAYOUT_VERSION}: 0 LFNs, 0 mappings\n",
    )
    assert (tmp_path / "store" / layout.DATA_FILE).read_bytes() == before


def test_a_copy_is_made_before_where_one_is_wanted(old: Path, tmp_path: Path) -> None:
    assert run("--store", old, "--backup", tmp_path / "copy").exit_code == 0
    assert (version(old), version(tmp_path / "copy")) == (layout.LAYOUT_VERSION, 1)
    upgrade(tmp_path / "copy")
    verify(tmp_path / "copy")


def test_what_is_newer_older_than_all_steps_or_foreign_is_refused_and_left_alone(old: Path, tmp_path: Path) -> None:
    for strange in (layout.LAYOUT_VERSION + 1, 0):
        store = Store.open_of_any_version(old)
        store.layout_version()
        with store.writing() as txn:
            store.put_layout_version(txn, strange)
        store.close()
        before = (old / layout.DATA_FILE).read_bytes()
        with pytest.raises(StoreVersion, match=f"layout version {strange}; this reploc reads {layout.LAYOUT_VERSION}"):
            upgrade(old, tmp_path / "copy")
        assert (old / layout.DATA_FILE).read_bytes() == before
        assert not (tmp_path / "copy").exists()
    lmdb.open(str(tmp_path / "foreign")).close()
    for path in (tmp_path / "foreign", tmp_path / "nothing"):
        with pytest.raises(StoreForeign):
            upgrade(path)
    assert not (tmp_path / "nothing").exists()


def test_a_store_in_use_is_not_upgraded(old: Path) -> None:
    store = Store.open_of_any_version(old)
    with pytest.raises(StoreLocked):
        upgrade(old)
    store.close()
    upgrade(old)


def test_an_upgrade_that_is_killed_within_a_step_has_changed_nothing(old: Path) -> None:
    """The step has made its tables, and written twenty megabytes more."""
    child = subprocess.Popen([sys.executable, upgrade_child.__file__, str(old)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"written\n"
    child.kill()
    child.wait()
    child.stdout.close()
    assert version(old) == 1
    assert upgrade(old).before == 1
    verify(old)
    with Catalog.open(old) as catalog:
        assert not catalog.store.open_table(layout.Table("strange"))


def test_an_upgrade_that_is_killed_at_any_moment_can_be_begun_again(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    began = time.monotonic()
    assert subprocess.run([*COMMAND, version_1.unpacked(tmp_path / "first")], check=False).returncode == 0
    whole_s = time.monotonic() - began
    for number in range(KILLS):
        store = version_1.unpacked(tmp_path / str(number))
        child = subprocess.Popen([*COMMAND, str(store)], stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * whole_s)
        child.kill()
        child.wait()
        assert version(store) in (1, layout.LAYOUT_VERSION)
        assert run("--store", store).exit_code == 0
        verify(store)


def test_every_version_but_the_last_has_one_step() -> None:
    assert sorted(STEPS) == list(range(1, layout.LAYOUT_VERSION))


def test_steps_follow_each_other_and_one_that_fails_leaves_the_version_before_it(old: Path) -> None:
    done: list[int] = []

    def step(number: int, fails: Iterable[int] = ()) -> None:
        done.append(number)
        if number in fails:
            raise ZeroDivisionError

    steps = {1: STEPS[1], 2: lambda *_: step(2), 3: lambda *_: step(3, [3])}
    with pytest.raises(ZeroDivisionError):
        upgrade(old, steps=steps, to=4)
    assert (done, version(old)) == ([2, 3], 3)
    assert upgrade(old, steps={3: lambda *_: step(3)}, to=4).before == 3
    assert (done, version(old)) == ([2, 3, 3], 4)
