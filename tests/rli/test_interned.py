"""Names kept once: they behave as a dictionary of names would, whatever comes and goes."""

import sys
from pathlib import Path
from random import Random
from types import FrameType

import numpy as np
import pytest

from reploc import digest
from reploc.errors import ConfigInvalid, MemoryFull
from rli import interned, scratch
from rli.interned import Interned
from rli.scratch import ScratchTexts


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


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_dictionary_would_be(
    seed: int, on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are held and released by batches, and swept out again and again; views of earlier moments stay true."""
    monkeypatch.setattr(interned, "_SWEEP_MIN", 50)
    rng = Random(seed)
    held = Interned(ScratchTexts(str(tmp_path)) if on_disk else None)
    counts = dict[bytes, int]()
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
        assert on_disk or view.of(np.array(list(shown.values()))) == list(shown)
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


def test_a_scratch_file_that_is_full_changes_nothing_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_MAP_BYTES", 1 << 20)
    held = Interned(ScratchTexts(str(tmp_path)))
    kept = [b"/kept/%d" % number for number in range(100)]
    held.hold(kept)
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    with pytest.raises(MemoryFull):
        for number in range(1_000):
            held.hold([b"/%d/" % number + b"x" * 4_000])
    before = len(held)
    with pytest.raises(MemoryFull):
        held.hold([b"/more/%d/" % number + b"x" * 4_000 for number in range(100)])
    assert len(held) == before
    assert (held.find(kept) >= 0).all()
    assert numbers_of(held, [b"/more/1/" + b"x" * 4_000]) == [-1]


def test_memory_does_not_grow_with_the_length_of_names_in_a_scratch_file(tmp_path: Path) -> None:
    names = [b"/%d/" % number + b"x" * 4_000 for number in range(2_000)]
    in_memory, on_disk = Interned(), Interned(ScratchTexts(str(tmp_path)))
    for held in (in_memory, on_disk):
        numbers = held.hold(names)
        assert held.names().of(numbers) == names
    assert in_memory.memory() > 8_000_000
    assert on_disk.memory() < 200_000


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="lists_scratch"):
        ScratchTexts(str(tmp_path / "nowhere"))


def steps(held: Interned, names: list[bytes]) -> int:
    """How many calls it takes to hold and find names one after the other, and all at once."""
    count = 0

    def called(_frame: FrameType, event: str, _of: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        held.hold(names)
        for name in names:
            held.find([name])
    finally:
        sys.setprofile(None)
    assert sorted(numbers_of(held, names)) == list(range(len(names)))
    return count


@pytest.mark.parametrize("word", [0, 1])
@pytest.mark.parametrize("from_top", [False, True])
def test_names_that_are_chosen_to_collide_take_no_more_steps_than_others(word: int, from_top: bool) -> None:
    """All have the same upper or lower ten bits of one half of their digests, which anyone can see to."""
    made = [f"/{number}".encode() for number in range(400_000)]
    half = digest.of_bytes(made)[:, word]
    bits = half >> np.uint64(54) if from_top else half & np.uint64(1023)
    colliding = [made[at] for at in np.flatnonzero(bits == 7)]
    assert len(colliding) > 300
    assert steps(Interned(), colliding) < 1.5 * steps(Interned(), made[: len(colliding)])
