"""Names kept once: they behave as a dictionary of names would, whatever comes and goes."""

from random import Random

import numpy as np
import pytest

from rli import interned
from rli.interned import Interned


def numbers_of(held: Interned, names: list[bytes]) -> list[int]:
    return held.find(names).tolist()


def test_a_name_has_one_number_while_it_is_held() -> None:
    held = Interned()
    first = held.hold([b"/a#1", b"/b#1"])
    assert held.hold([b"/b#1"]).tolist() == [first[1]]
    assert numbers_of(held, [b"/b#1", b"/a#1", b"/c#1"]) == [first[1], first[0], -1]
    assert held.names().of(first) == [b"/a#1", b"/b#1"]
    held.release(first)
    assert numbers_of(held, [b"/b#1", b"/a#1"]) == [first[1], -1]
    assert len(held) == 1


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_dictionary_would_be(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are held and released by batches, and swept out again and again; views of earlier moments stay true."""
    monkeypatch.setattr(interned, "_SWEEP_MIN", 50)
    rng = Random(seed)
    held, counts = Interned(), dict[bytes, int]()
    pool = [f"/dataset{number}/{'x' * rng.randrange(60)}#{number}".encode() for number in range(4000)]
    for _ in range(150):
        batch = rng.sample(pool, rng.choice([1, 5, 300]))
        numbers = held.hold(batch)
        assert held.names().of(numbers) == batch
        for name in batch:
            counts[name] = counts.get(name, 0) + 1
        view, shown = held.names(), dict(zip(batch, numbers.tolist(), strict=True))
        gone = rng.sample(sorted(counts), min(len(counts), rng.choice([0, 10, 400])))
        held.release(held.find(gone))
        for name in gone:
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
        assert view.of(np.array(list(shown.values()))) == list(shown)
        asked = rng.sample(pool, 100)
        assert [number >= 0 for number in numbers_of(held, asked)] == [name in counts for name in asked]
        assert len(held) == len(counts)
    alive = sorted(counts)
    assert held.names().of(held.find(alive)) == alive
    assert len(set(numbers_of(held, alive))) == len(alive)


def test_names_with_one_digest_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be made to hold another name's totals by a name that was made to have its digest."""

    def one_digest(names: list[bytes]) -> np.ndarray:
        return np.ones((len(names), 2), dtype=np.uint64)

    monkeypatch.setattr(interned, "of_bytes", one_digest)
    monkeypatch.setattr(interned, "_SWEEP_MIN", 2)
    held = Interned()
    names = [b"a", b"b", b"c", b"d", b"e", b"f"]
    numbers = held.hold(names)
    assert len(set(numbers.tolist())) == len(names)
    assert numbers_of(held, [*names, b"g"]) == [*numbers.tolist(), -1]
    held.release(numbers[:4])
    assert numbers_of(held, names) == [-1] * 4 + numbers[4:].tolist()
    again = held.hold([b"x", b"a", b"y"])
    assert held.names().of(again) == [b"x", b"a", b"y"]
    assert held.names().of(numbers[4:]) == [b"e", b"f"]


def test_a_million_names_take_little_more_than_their_bytes() -> None:
    held = Interned()
    names = [f"/Primary{n % 97}/Campaign{n % 1009}-v1/AODSIM#{n:08x}-0000".encode() for n in range(100_000)]
    for at in range(0, len(names), 5000):
        held.hold(names[at : at + 5000])
    assert held.memory() < sum(map(len, names)) + 64 * 131_072
