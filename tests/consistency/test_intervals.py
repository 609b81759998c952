"""Directories as intervals of paths: what lies below them, against the plain rule."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from consistency.intervals import Intervals

names = st.text("ab!/0\xff", min_size=1, max_size=3).map(lambda text: text.encode("latin-1").strip(b"/") or b"a")
paths = st.lists(names, max_size=4).map(lambda parts: b"/" + b"/".join(parts))


def covered(directory: bytes, path: bytes) -> bool:
    stem = directory.rstrip(b"/")
    return path == stem or path.startswith(stem + b"/")


@given(st.lists(paths, max_size=5), st.lists(paths, max_size=12))
def test_what_is_below_a_directory_is_what_begins_with_it_and_a_slash(directories: list[bytes], found: list[bytes]):
    intervals, ascending = Intervals(directories), sorted(found)
    expected = [any(covered(each, path) for each in directories) for path in ascending]
    assert intervals.below(pl.Series(ascending, dtype=pl.Binary)).tolist() == expected
    assert [intervals.covers(path) for path in ascending] == expected


def test_a_prefix_ends_at_the_boundary_of_a_name():
    assert Intervals([b"/a/b"]).below(pl.Series([b"/a/b", b"/a/b!", b"/a/b/c", b"/a/b0", b"/a/bc"])).tolist() == [
        True, False, True, False, False,
    ]  # fmt: skip
