"""What is promised of speed has a figure with that bar, and a figure with a bar stands among the promises."""

import importlib
from collections.abc import Iterator

import pytest

from loadtests import figures, promises
from loadtests.figure import Figure, Result

PROMISED = [(one.program, bar.figure, bar.bar) for one in promises.PROMISES for bar in one.bars]


def figures_of(program: str) -> Iterator[Figure]:
    """The figures that stand in a program's module."""
    for value in vars(importlib.import_module(f"loadtests.{program}")).values():
        yield from (one for one in (value.values() if isinstance(value, dict) else [value]) if isinstance(one, Figure))


def test_bars_are_those_of_the_promises() -> None:
    found = {(name, one.name, one.bar) for name in figures.NAMES for one in figures_of(name) if one.bar is not None}
    assert found == set(PROMISED)
    assert len(PROMISED) == len(set(PROMISED)), "a bar is promised twice"


def test_every_promise_has_a_program_that_shows_it() -> None:
    assert {one.program for one in promises.PROMISES} <= set(figures.NAMES)
    assert all(one.bars or one.curves for one in promises.PROMISES)


@pytest.mark.parametrize(
    ("found", "said"), [((), "not measured: lrc_lookups"), ((16_000.0,), "reached"), ((9.0,), "missed")]
)
def test_the_table_says_of_each_promise_whether_it_is_kept(found: tuple[float, ...], said: str) -> None:
    [figure] = [one for one in figures_of("lrc_lookups") if one.name == "LRC, one LFN per request"]
    results = [Result(figure, "10 mappings", found)] if found else []
    [row] = [row for row in promises.table({"lrc_lookups": results}) if "| LRC, one LFN per request |" in row]
    assert said in row
