"""Confirmation over runs: who agrees, who counts, and what cannot be seen."""

import polars as pl

from consistency.compare import NO_CHANGES, Rules, compared
from consistency.intervals import Intervals
from consistency.records import CATALOG, STORAGE
from consistency.verdict import VERDICTS, Confirmation, confirmed, judged

DAY = 86_400.0
RULES = Confirmation()
NOTHING = pl.DataFrame(schema=VERDICTS)


def rows(said: dict[bytes, int], found: dict[bytes, int], unknown: tuple[bytes, ...] = ()) -> pl.DataFrame:
    catalog = pl.DataFrame([(p, s, None, p) for p, s in said.items()], schema=CATALOG, orient="row")
    storage = pl.DataFrame([(p, s, None, 5) for p, s in found.items()], schema=STORAGE, orient="row")
    return compared(catalog, storage, None, NO_CHANGES, Rules(1_000, Intervals(unknown)))


def after(*runs: tuple[float, pl.DataFrame]) -> dict[bytes, int]:
    known = NOTHING
    for now, each in runs:
        known = judged(each, known, now, RULES)
    return dict(known.select("path", "confirmations").iter_rows())


def test_the_first_run_confirms_nothing_and_the_second_what_is_missing():
    lost, orphan = rows({b"/a": 1}, {}), rows({}, {b"/b": 1})
    first = judged(pl.concat([lost, orphan]), NOTHING, 0.0, RULES)
    assert confirmed(first, RULES).is_empty()
    second = judged(pl.concat([lost, orphan]), first, DAY, RULES)
    assert confirmed(second, RULES)["path"].to_list() == [b"/a"]
    third = judged(pl.concat([lost, orphan]), second, 2 * DAY, RULES)
    assert sorted(confirmed(third, RULES)["path"]) == [b"/a", b"/b"]


def test_runs_close_together_count_as_one():
    lost = rows({b"/a": 1}, {})
    assert after((0.0, lost), (DAY - 1, lost)) == {b"/a": 1}
    assert after((0.0, lost), (DAY - 1, lost), (DAY, lost)) == {b"/a": 2}


def test_what_was_seen_again_or_changed_begins_anew():
    lost = rows({b"/a": 1}, {})
    assert after((0.0, lost), (DAY, rows({b"/a": 1}, {b"/a": 1})), (2 * DAY, lost)) == {b"/a": 1}
    assert after((0.0, lost), (DAY, rows({b"/a": 2}, {}))) == {b"/a": 1}
    assert after((0.0, rows({}, {b"/a": 1})), (DAY, rows({}, {b"/a": 2}))) == {b"/a": 1}
    assert after((0.0, lost), (DAY, rows({}, {b"/a": 1}))) == {b"/a": 1}


def test_what_could_not_be_looked_at_neither_confirms_nor_resets():
    lost, hidden = rows({b"/d/a": 1}, {}), rows({b"/d/a": 1}, {}, unknown=(b"/d",))
    assert after((0.0, lost), (DAY, hidden)) == {b"/d/a": 1}
    assert after((0.0, lost), (DAY, hidden), (2 * DAY, lost)) == {b"/d/a": 2}
