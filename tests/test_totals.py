"""Totals as bytes: what one end writes the other reads, and what nobody wrote is refused in words."""

import zlib
from random import Random
from struct import pack

import numpy as np
import pytest

from reploc import totals
from reploc.errors import SummaryInvalid
from reploc.squeezed import INFLATED_BYTES_MAX
from reploc.totals import Totals

ROWS = [("/a/b#1", (3, 500, 0)), ("/Ü/long" + "x" * 4000, (1, 0, 1)), ("c", (7, (1 << 63) - 1, 6))]


def body(raw: bytes, said: int | None = None) -> bytes:
    return pack("<I", len(raw) if said is None else said) + zlib.compress(raw)


def raw(rows: list[tuple[bytes, tuple[int, int, int]]]) -> bytes:
    numbers = np.array([row[1] for row in rows], dtype="<i8").reshape(-1, 3).T.tobytes()
    lengths = np.array([len(row[0]) for row in rows], dtype="<u2").tobytes()
    return pack("<I", len(rows)) + numbers + lengths + b"".join(row[0] for row in rows)


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_what_is_written_is_read(rows: list[tuple[str, tuple[int, int, int]]]) -> None:
    read = totals.from_bytes(totals.of(rows).to_bytes())
    assert list(zip(read.names, map(tuple, read.numbers.T.tolist()), strict=True)) == rows


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (b"", "0 bytes long"),
        (b"\0\0", "2 bytes long"),
        (body(raw([]))[:-1], "there are others"),
        (body(raw([])) + b"more", "there are others"),
        (body(raw([]), said=3), "expected 4 to"),
        (body(raw([]), said=INFLATED_BYTES_MAX + 1), "expected 4 to"),
        (body(bytes(4 << 20), said=5), "there are others"),
        (pack("<I", 4) + b"no zlib", "cannot be inflated"),
        (body(pack("<I", 9)), "room for fewer"),
        (body(raw([(b"a", (1, 1, 0))]) + b"x"), "not as long"),
        (body(raw([(b"a", (1, -1, 0))])), "negative"),
        (body(raw([(b"a", (1, 1, 2))])), "unknown size"),
        (body(raw([(b"\xff", (1, 1, 0))])), "a name of a summary"),
        (body(raw([(b"", (1, 1, 0))])), "a name of a summary"),
        (body(raw([(b"a\nb", (1, 1, 0))])), "a name of a summary"),
        (body(raw([(b"a", (1, 1, 0)), (b"a", (2, 1, 0))])), "twice"),
    ],
)
def test_what_cannot_be_right_is_refused_in_words(broken: bytes, words: str) -> None:
    with pytest.raises(SummaryInvalid, match=words):
        totals.from_bytes(broken)


def test_a_body_is_inflated_no_further_than_it_says() -> None:
    bomb = pack("<I", 1000) + zlib.compress(bytes(1 << 26), 9)
    assert len(bomb) < 1 << 17
    with pytest.raises(SummaryInvalid, match="there are others"):
        totals.from_bytes(bomb)


def test_too_many_collections_for_one_summary_are_refused_at_the_sender() -> None:
    names = ["x" * 4000] * (INFLATED_BYTES_MAX // 4000)
    with pytest.raises(SummaryInvalid, match="use more slots"):
        Totals(names, np.ones((3, len(names)), dtype=np.int64)).to_bytes()


def test_the_checksum_is_kept_up_to_date_from_the_changes_alone() -> None:
    rng = Random(1)
    held: dict[str, tuple[int, int, int]] = {}
    total = 0

    def of(rows: dict[str, tuple[int, int, int]]) -> int:
        part = totals.of(list(rows.items()))
        return totals.checksum(totals.digests_of(part), part.numbers)

    for _ in range(300):
        names = {f"c{rng.randrange(40)}" for _ in range(rng.randint(1, 5))}
        changed = {name: (rng.randint(0, 2), rng.randrange(1 << 62), 0) for name in names}
        before = {name: held[name] for name in names if name in held}
        total = (total + of(changed) - of(before)) % (1 << 64)
        held = {name: row for name, row in {**held, **changed}.items() if row[0]}
        assert total == of(held)


def test_totals_that_differ_in_one_number_differ_in_their_checksum() -> None:
    rows = [("a", (1, 2, 0)), ("a", (2, 1, 0)), ("a", (1, 2, 1)), ("b", (1, 2, 0)), ("a", (1, 3, 0))]
    found = {totals.checksum(totals.digests_of(part), part.numbers) for part in (totals.of([row]) for row in rows)}
    assert len(found) == len(rows)
