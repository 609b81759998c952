"""A turn: what arrives together is asked together, in order, and nobody is left waiting."""

import asyncio
from collections.abc import Sequence

import pytest

from reploc.errors import LfnUnknown
from reploc.turn import Turn


async def test_questions_of_one_turn_are_one_array_and_each_gets_its_own_answer() -> None:
    asked: list[list[str]] = []

    def answer_all(names: Sequence[str]) -> list[str]:
        asked.append(list(names))
        return [name.upper() for name in names]

    turn = Turn(answer_all)
    assert await asyncio.gather(*(turn.ask(name) for name in "abc")) == ["A", "B", "C"]
    assert await turn.ask("d") == "D"
    assert asked == [["a", "b", "c"], ["d"]]


async def test_an_error_reaches_everyone_who_asked_and_the_next_turn_is_a_new_one() -> None:
    broken = True

    def answer_all(names: Sequence[str]) -> list[str]:
        if broken:
            raise LfnUnknown("not now")
        return list(names)

    turn = Turn(answer_all)
    said = await asyncio.gather(turn.ask("a"), turn.ask("b"), return_exceptions=True)
    assert [type(one) for one in said] == [LfnUnknown, LfnUnknown]
    broken = False
    assert await turn.ask("c") == "c"


async def test_one_who_goes_away_does_not_disturb_the_others() -> None:
    turn: Turn[str] = Turn(list)
    leaving, staying = asyncio.ensure_future(turn.ask("a")), asyncio.ensure_future(turn.ask("b"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == "b"
    with pytest.raises(asyncio.CancelledError):
        await leaving
