"""Comparing catalog and storage: the same kind for every path as a plain reading of the rules, path by path."""

from dataclasses import dataclass

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.compare import CHANGES, NO_CHANGES, NO_STORAGE, Rules, compared
from consistency.intervals import Intervals
from consistency.records import CATALOG, STORAGE, normal_checksums
from consistency.tally import Tally, tally

YOUNG_FROM = 1_000
directories = st.sampled_from([b"/a", b"/a/b", b"/b", b"/b+", b"/"])
paths = (
    st.tuples(directories, st.sampled_from([b"f", b"f+1", b"g\n", b"\xff"]))
    .map(b"/".join)
    .map(lambda path: path.replace(b"//", b"/"))
)
sizes = st.sampled_from([None, 0, 1])
checksums = st.sampled_from([None, "adler32:00000001", "adler32:00000002", "md5:" + "1" * 32])


@dataclass(frozen=True)
class Entry:
    size: int | None
    checksum: str | None
    mtime: int | None = None


@dataclass(frozen=True)
class Change:
    entry: Entry | None
    in_flux: bool
    young: bool


entries = st.builds(Entry, sizes, checksums, st.none())
files = st.builds(Entry, st.sampled_from([0, 1]), checksums, st.sampled_from([None, 0, YOUNG_FROM]))
changes_of = st.builds(Change, st.none() | entries, st.booleans(), st.booleans())


def catalog(held: dict[bytes, Entry]) -> pl.DataFrame:
    rows = [(path, entry.size, entry.checksum, b"lfn" + path) for path, entry in held.items()]
    return pl.DataFrame(rows, schema=CATALOG, orient="row")


def storage(held: dict[bytes, Entry]) -> pl.DataFrame:
    rows = [(path, entry.size, entry.checksum, entry.mtime) for path, entry in held.items()]
    return pl.DataFrame(rows, schema=STORAGE, orient="row")


def changes(made: dict[bytes, Change]) -> pl.DataFrame:
    rows = [
        (path, each.entry and each.entry.size, each.entry and each.entry.checksum, b"lfn" + path,
         each.entry is not None, each.in_flux, each.young)
        for path, each in made.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=CHANGES, orient="row")


def below(found: list[bytes], path: bytes) -> bool:
    return any(path.startswith(each.rstrip(b"/") + b"/") or path == each for each in found)


def plain(path: bytes, said: Entry | None, found: Entry | None, change: Change | None, rules: Rules) -> str | None:
    """The rules of `consistency/compare.py`, read aloud."""
    if change is not None:
        said = change.entry
    if said is None and found is None:
        return None
    if below(rules.excluded.directories, path):
        return "excluded"
    if change is not None and change.in_flux:
        return "in-flux"
    if below(rules.unknown.directories, path) and (said is None or found is None):
        return "unknown"
    differs = False
    if said is not None and found is not None:
        differs = None not in (said.size, found.size) and said.size != found.size
        if said.checksum and found.checksum and said.checksum.split(":")[0] == found.checksum.split(":")[0]:
            differs |= said.checksum != found.checksum
        if not differs:
            return "ok"
    if below(rules.busy.directories, path):
        return "busy"
    young = found is None and change is not None and change.young
    if young or (found is not None and found.mtime is not None and found.mtime >= YOUNG_FROM):
        return "young"
    return "missing" if found is None else "damaged" if differs else "orphan"


@given(
    st.dictionaries(paths, entries), st.dictionaries(paths, files), st.dictionaries(paths, changes_of),
    *(st.lists(directories, max_size=2) for _ in range(3)),
)  # fmt: skip
def test_every_path_has_the_kind_that_the_rules_read_aloud_give_it(
    before: dict[bytes, Entry],
    found: dict[bytes, Entry],
    made: dict[bytes, Change],
    unknown: list[bytes],
    excluded: list[bytes],
    busy: list[bytes],
):
    rules = Rules(YOUNG_FROM, Intervals(unknown), Intervals(excluded), Intervals(busy))
    rows = compared(catalog(before), storage(found), None, changes(made), rules)
    expected = {
        path: plain(path, before.get(path), found.get(path), made.get(path), rules)
        for path in sorted({*before, *found, *made})
    }
    assert dict(rows.select("path", "kind").iter_rows()) == {path: kind for path, kind in expected.items() if kind}
    assert rows["path"].to_list() == sorted(rows["path"])
    counted = tally(rows)
    assert sum(count.files for count in counted.kinds.values()) == len(rows)
    assert counted.scanned.files == len(found)


def test_a_second_reading_of_the_catalog_puts_what_differs_in_flux():
    before = {b"/gone": Entry(1, None), b"/kept": Entry(1, None), b"/grown": Entry(1, None)}
    after = {b"/kept": Entry(1, None), b"/new": Entry(1, None), b"/grown": Entry(2, None)}
    rows = compared(catalog(before), NO_STORAGE, catalog(after), NO_CHANGES, Rules(YOUNG_FROM))
    assert dict(rows.select("path", "kind").iter_rows()) == {
        b"/gone": "in-flux", b"/grown": "in-flux", b"/kept": "missing", b"/new": "in-flux",
    }  # fmt: skip


def test_one_file_that_two_lfns_name_is_one_file():
    twice = pl.concat([catalog({b"/f": Entry(1, None)})] * 2)
    rows = compared(twice, storage({b"/f": Entry(1, None)}), None, NO_CHANGES, Rules(YOUNG_FROM))
    assert rows["kind"].to_list() == ["ok"]


def test_tallies_add_up_over_ranges():
    rows = compared(catalog({b"/f": Entry(3, None)}), NO_STORAGE, None, NO_CHANGES, Rules(YOUNG_FROM))
    both = tally(rows) + tally(rows)
    assert (both.kinds["missing"].files, both.kinds["missing"].bytes, both.expected.bytes) == (2, 6, 6)
    assert Tally() + both == both


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (b"adler32:0000001a", "adler32:0000001a"), (b"ADLER32 0x1A", "adler32:0000001a"),
        (b" Adler32=1a ", "adler32:0000001a"), (b"adler32:0", "adler32:00000000"),
        (b"SHA-256:" + b"A" * 64, "sha256:" + "a" * 64), (b"1a", None), (b"adler32:xyz", None),
        (b"adler32:123456789", None), (b"none:1", None), (b"\xff:1", None), (None, None),
    ],
)  # fmt: skip
def test_checksums_have_one_spelling(written: bytes | None, normal: str | None):
    assert normal_checksums(pl.Series("checksum", [written], dtype=pl.Binary)).to_list() == [normal]
