"""Dump files of sites: any compression, awkward names, and lines that are wrong."""

import bz2
import gzip
import lzma
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consistency.listers.dump import read
from consistency.records import CATALOG, STORAGE
from reploc.errors import InputInvalid

LINES = (
    b"/a/f\t5\tADLER32:1A\t7\n"
    b"/a/f+1\t6\t\t\n"
    b"/a/\xff, \"quoted\" ;\t0\tadler32:00000001\t9\n"
    b"/a/ blanks \t\t\t\n"
)  # fmt: skip
ROWS = [
    (b"/a/f", 5, "adler32:0000001a", 7), (b"/a/f+1", 6, None, None),
    (b'/a/\xff, "quoted" ;', 0, "adler32:00000001", 9), (b"/a/ blanks ", None, None, None),
]  # fmt: skip


def rows(path: Path, schema: pl.Schema = STORAGE, **how) -> list[tuple]:
    return pl.concat(list(read(path, schema, **how))).rows()


def test_a_tsv_dump_keeps_names_as_bytes(tmp_path: Path):
    (tmp_path / "dump.tsv").write_bytes(LINES)
    assert rows(tmp_path / "dump.tsv") == ROWS


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_dumps_may_be_compressed(tmp_path: Path, ending: str, pack):
    path = tmp_path / f"dump.tsv.{ending}"
    path.write_bytes(pack(LINES))
    assert rows(path) == ROWS


def test_a_csv_dump_quotes_what_holds_commas_and_line_breaks(tmp_path: Path):
    path = tmp_path / "dump.csv"
    path.write_bytes(b'"/a,b",5,,\n"/line\nbreak",6,,\n')
    assert rows(path) == [(b"/a,b", 5, None, None), (b"/line\nbreak", 6, None, None)]


def test_fields_stand_in_any_order_and_prefixes_are_cut_off(tmp_path: Path):
    path = tmp_path / "catalog.tsv"
    path.write_bytes(b"lfn:1\tx\troot/a/f\t5\n")
    assert rows(path, CATALOG, fields=("lfn", "-", "path", "size"), prefix=b"root") == [(b"/a/f", 5, None, b"lfn:1")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"/a\t5\t\t\n/b\tfive\t\t\n", "five"), (b"/a\t5\n", "Expected 4 columns"), (b"x/a\t5\t\t\n", "does not begin"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_ends_the_reading_and_says_where(tmp_path: Path, content: bytes, said: str):
    path = tmp_path / "dump.tsv"
    path.write_bytes(content)
    with pytest.raises(InputInvalid, match=said):
        rows(path, prefix=b"/" if b"x/a" not in content else b"/a")


def test_a_dump_that_is_cut_or_not_there_is_refused(tmp_path: Path):
    whole = gzip.compress(LINES * 1000)
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.tsv.gz", "nowhere.tsv"):
        with pytest.raises(InputInvalid, match=name):
            rows(tmp_path / name)


#: Components of a path: any bytes but those that no file system takes.
COMPONENTS = st.binary(min_size=1, max_size=8).map(lambda name: name.translate(None, b"/\0") or b"f").filter(
    lambda name: name not in (b".", b"..")
) | st.sampled_from([b"f", b"f+1", b" ", b"a,b", b"n" * 255, b"%2F", b"\xff", b'"', b"line\nbreak", b"\r", b"\t"])
FILES = st.dictionaries(
    st.lists(COMPONENTS, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts)),
    st.tuples(st.none() | st.integers(0, 1 << 60), st.none() | st.integers(-(1 << 31), 1 << 40)),
    min_size=1,
    max_size=30,
)


@given(files=FILES)
def test_what_is_written_with_quotes_is_read_whatever_the_names(tmp_path_factory, files: dict):
    path = tmp_path_factory.mktemp("dump") / "dump.csv.gz"
    shown = [b"" if each is None else b"%d" % each for said in files.values() for each in said]
    quoted = [name.replace(b'"', b'""') for name in files]
    lines = [b'"%b",%b,,%b\n' % row for row in zip(quoted, shown[::2], shown[1::2], strict=True)]
    path.write_bytes(gzip.compress(b"".join(lines)))
    assert {name: (size, mtime) for name, size, _, mtime in rows(path)} == files
