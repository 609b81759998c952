"""Lists in parts: nothing is lost or doubled, equal paths meet in one part, and parts are sorted by raw bytes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from consistency import parts
from consistency.parts import Parts, parts_for

SCHEMA = pl.Schema({"path": pl.Binary, "size": pl.Int64})
lots = st.lists(st.lists(st.binary(max_size=3), min_size=1, max_size=5), max_size=8)


def dealt(folder: Path, several: list[list[bytes]], count: int) -> Parts:
    number = 0
    with Parts(folder, SCHEMA, count) as found:
        for lot in several:
            found.add(pl.DataFrame({"path": lot, "size": range(number, number + len(lot))}, schema=SCHEMA))
            number += len(lot)
    return found


@given(lots, lots, st.integers(1, 5))
def test_every_record_is_in_one_part_and_what_two_lists_say_of_a_path_meets(
    one: list[list[bytes]], other: list[list[bytes]], count: int
):
    with TemporaryDirectory() as folder:
        lists = [dealt(Path(folder) / str(number), each, count) for number, each in enumerate((one, other))]
        read = [[each.part(number).rows() for number in range(count)] for each in lists]
    for several, by_part in zip((one, other), read, strict=True):
        flat = [path for lot in several for path in lot]
        assert sorted(row for rows in by_part for row in rows) == sorted(zip(flat, range(len(flat)), strict=True))
        for rows in by_part:
            assert rows == sorted(rows)
    for path in {row[0] for by_part in read for rows in by_part for row in rows}:
        assert len({number for by_part in read for number, rows in enumerate(by_part) if path in dict(rows)}) == 1


def test_a_long_list_is_written_as_it_comes(tmp_path: Path):
    count = 2 * parts.WAITING_ROWS + 7
    names = [b"/d%d/f%d" % (number * 7919 % 1009, number) for number in range(count)]
    with Parts(tmp_path / "list", SCHEMA, parts_for(count)) as found:
        for at in range(0, count, 30_000):
            lot = names[at : at + 30_000]
            found.add(pl.DataFrame({"path": lot, "size": range(len(lot))}, schema=SCHEMA))
    assert found.rows == count
    assert sorted(path for number in range(parts_for(count)) for path in found.part(number)["path"]) == sorted(names)


def test_more_records_make_more_parts_up_to_a_bound():
    assert [parts_for(rows) for rows in (0, 1, parts.PART_ROWS + 1, 1 << 40)] == [1, 1, 2, parts.PARTS_MAX]
