"""The matrix against a dictionary of filters, whatever is stored, widened, replaced, aborted and dropped."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from reploc import bloom, digest
from reploc.difference import Difference
from reploc.digest import Digests
from reploc.errors import MemoryFull, SummaryInvalid
from rli.matrix import SITE_MAX, Matrix, Steps

#: Coarse enough that small filters have false positives, which must be the same ones.
RATE = 0.05
SLOTS = 4
NAMES = digest.of([f"/store/data/run{number:04d}.root" for number in range(240)])
BY_SLOT = [NAMES[digest.slots_of(NAMES, SLOTS) == slot] for slot in range(SLOTS)]
#: Large enough to be written in several steps.
LARGE = 24

Filter = tuple[int, bloom.Bits]
Model = dict[tuple[int, int], Filter]


def build(size_class: int, names: Digests, rate: float = RATE) -> bloom.Bits:
    return bloom.build(names, bloom.geometry(size_class, rate))


def expected(model: Model, asked: Digests, rate: float = RATE) -> list[tuple[int, int]]:
    """What asking every filter by itself answers."""
    slots = digest.slots_of(asked, SLOTS)
    pairs = []
    for (slot, site), (size_class, bits) in model.items():
        rows = np.flatnonzero(slots == slot)
        hits = bloom.contains(bits, asked[rows], bloom.geometry(size_class, rate))
        pairs += [(int(row), site) for row in rows[hits]]
    return sorted(pairs)


def answered(matrix: Matrix, asked: Digests) -> list[tuple[int, int]]:
    found = matrix.query(asked)
    return list(zip(found.rows.tolist(), found.sites.tolist(), strict=True))


def check(matrix: Matrix, model: Model) -> None:
    assert answered(matrix, NAMES) == expected(model, NAMES)
    for slot in range(SLOTS):
        sites = sorted(site for at, site in model if at == slot)
        assert matrix.sites_in(slot).tolist() == sites
        assert matrix.site_counts[slot] == len(sites)
    for site in {site for _, site in model}:
        assert matrix.holds(site).tolist() == [(slot, site) in model for slot in range(SLOTS)]
    memory = matrix.memory()
    used = sum(bloom.geometry(size_class, matrix.error_rate).bits for size_class, _ in model.values())
    assert memory.used == used // 8 <= memory.allocated


slots = st.integers(0, SLOTS - 1)
#: A few sites that meet again and again, and the ends of the range.
sites = st.one_of(st.integers(0, 5), st.sampled_from([SITE_MAX, 1 << 31]))
classes = st.integers(0, 3)
subsets = st.integers(0, 2**60 - 1)


#: Bits of small filters and of large ones, and some that no filter has.
bits_of_any = st.sets(st.one_of(st.integers(0, 60), st.integers(0, 100_000)), max_size=8)


def difference(to_set: set[int], to_clear: set[int]) -> Difference:
    return Difference(np.array(sorted(to_set), dtype=np.uint32), np.array(sorted(to_clear - to_set), dtype=np.uint32))


def changed(bits: bloom.Bits, step: Difference) -> bloom.Bits:
    """The same done to the packed bits of one filter."""
    flags = np.unpackbits(bits, bitorder="little")
    flags[step.set], flags[step.clear] = 1, 0
    return np.packbits(flags, bitorder="little")


@dataclass
class UnderWay:
    """A store that has begun, and what the matrix holds once it has ended."""

    steps: Steps
    key: tuple[int, int]
    filter: Filter
    over: bool = False


class AgainstADictionary(RuleBasedStateMachine):
    """Any order of stores (whole, interleaved, aborted) and drops."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.matrix = Matrix(SLOTS, RATE)
        self.model: Model = {}
        self.others = 0

    def choose(self, slot: int, subset: int) -> Digests:
        names = BY_SLOT[slot]
        return names[[bool(subset >> at & 1) for at in range(len(names))]]

    @rule(slot=slots, site=sites, size_class=classes, subset=subsets)
    def store(self, slot: int, site: int, size_class: int, subset: int) -> None:
        bits = build(size_class, self.choose(slot, subset))
        self.matrix.store_now(slot, site, size_class, bits)
        self.model[slot, site] = (size_class, bits)

    @rule(slot=slots, size_class=classes, subset=subsets, count=st.integers(50, 70))
    def store_for_many_sites(self, slot: int, size_class: int, subset: int, count: int) -> None:
        for _ in range(count if self.others < 200 else 0):
            self.others += 1
            self.store(slot, 100 + self.others, size_class, subset >> self.others % 40)

    @rule(target=under_way, slot=slots, site=sites, size_class=st.sampled_from([2, LARGE]), subset=subsets)
    def begin(self, slot: int, site: int, size_class: int, subset: int) -> UnderWay:
        bits = build(size_class, self.choose(slot, subset))
        return UnderWay(self.matrix.store(slot, site, size_class, bits), (slot, site), (size_class, bits))

    @rule(store=under_way, count=st.integers(1, 3))
    def step(self, store: UnderWay, count: int) -> None:
        for _ in range(count):
            if next(store.steps, "ended") == "ended" and not store.over:
                self.model[store.key] = store.filter
                store.over = True

    @rule(store=under_way)
    def abort(self, store: UnderWay) -> None:
        store.steps.close()
        store.over = True

    @rule(slot=slots, site=sites, to_set=bits_of_any, to_clear=bits_of_any)
    def change(self, slot: int, site: int, to_set: set[int], to_clear: set[int]) -> None:
        if (slot, site) not in self.model:
            with pytest.raises(SummaryInvalid, match="no filter of slot"):
                self.matrix.change(slot, site, difference(to_set, to_clear))
            return
        size_class, bits = self.model[slot, site]
        fits = range(bloom.geometry(size_class, RATE).bits)
        step = difference(to_set & set(fits), to_clear & set(fits))
        flags = np.unpackbits(bits, bitorder="little").astype(bool)
        for part in (step.set, step.clear):
            assert self.matrix.read_bits(slot, site, part).tolist() == flags[part].tolist()
        self.matrix.change(slot, site, step)
        self.model[slot, site] = (size_class, changed(bits, step))

    @rule(slot=slots, site=sites)
    def drop(self, slot: int, site: int) -> None:
        assert self.matrix.drop(slot, site) == (self.model.pop((slot, site), None) is not None)

    @rule(site=sites)
    def drop_site(self, site: int) -> None:
        held = [key for key in self.model if key[1] == site]
        assert self.matrix.drop_site(site) == len(held)
        for key in held:
            del self.model[key]

    @invariant()
    def answers_are_those_of_each_filter(self) -> None:
        check(self.matrix, self.model)


AgainstADictionary.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_answers_are_those_of_each_filter_whatever_happens = AgainstADictionary.TestCase


def names_in(slot: int, count: int, seed: int = 1) -> Digests:
    """Random digests of one slot."""
    digests = np.random.default_rng(seed).integers(0, 1 << 64, size=(count, 2), dtype=np.uint64)
    digests[:, 0] = digests[:, 0] >> np.uint64(2) | np.uint64(slot) << np.uint64(62)
    return digests


def filled(sites: int, size_class: int = 3, rate: float = RATE) -> tuple[Matrix, Model]:
    """A matrix where site i holds every name of each slot whose place in it is a multiple of i + 1."""
    matrix, model = Matrix(SLOTS, rate), {}
    for site in range(sites):
        for slot in range(SLOTS):
            bits = build(size_class, BY_SLOT[slot][:: site + 1], rate)
            matrix.store_now(slot, site, size_class, bits)
            model[slot, site] = (size_class, bits)
    return matrix, model


def test_an_empty_matrix_answers_nothing() -> None:
    matrix = Matrix(SLOTS, RATE)
    assert answered(matrix, NAMES) == answered(matrix, NAMES[:1]) == []
    assert matrix.sites_in(0).tolist() == []
    assert not matrix.holds(7).any()
    assert not matrix.drop(0, 7)
    assert matrix.drop_site(7) == 0
    assert matrix.memory().allocated == 0


def test_asking_for_no_digest_answers_nothing() -> None:
    matrix, _ = filled(2)
    assert answered(matrix, NAMES[:0]) == []


@pytest.mark.parametrize("count", [1, 64, 65, 130, 600])
def test_any_number_of_sites_fits_and_each_is_found(count: int) -> None:
    matrix, model = filled(count)
    check(matrix, model)


def test_asking_all_at_once_is_asking_one_by_one() -> None:
    matrix, _ = filled(70)
    for slot in range(SLOTS):
        matrix.store_now(slot, 5, 9, build(9, BY_SLOT[slot]))
    matrix.drop_site(0)
    one_by_one = [(row, site) for row in range(len(NAMES)) for _, site in answered(matrix, NAMES[row : row + 1])]
    assert answered(matrix, NAMES) == one_by_one
    many = np.tile(NAMES, (40, 1))
    repeated = [(row + turn * len(NAMES), site) for turn in range(40) for row, site in one_by_one]
    assert answered(matrix, many) == repeated


def test_at_the_rate_of_an_index_only_the_holders_answer() -> None:
    matrix = Matrix(SLOTS, 1e-5)
    kept = [names_in(slot, 500, seed=site) for site in range(40) for slot in range(SLOTS)]
    for number, names in enumerate(kept):
        site, slot = divmod(number, SLOTS)
        matrix.store_now(slot, site, 14 + site % 3, build(14 + site % 3, names, 1e-5))
    found = answered(matrix, np.concatenate(kept))
    holders = [(row, row // (500 * SLOTS)) for row in range(len(kept) * 500)]
    assert set(holders) <= set(found)
    expected_false = 40 * len(holders) * 1e-5
    assert len(found) - len(holders) < 3 * expected_false


def test_a_filter_that_is_half_written_is_invisible() -> None:
    matrix, model = filled(3)
    bits = build(LARGE, BY_SLOT[1])
    store = matrix.store(1, 2, LARGE, bits)
    seen = 0
    for _ in store:
        seen += 1
        check(matrix, model)
    assert seen > 3
    model[1, 2] = (LARGE, bits)
    check(matrix, model)


def test_an_aborted_store_leaves_the_old_filter_and_gives_its_memory_back() -> None:
    matrix, model = filled(3)
    before = matrix.memory()
    store = matrix.store(1, 2, LARGE, build(LARGE, BY_SLOT[1]))
    next(store)
    assert matrix.memory().allocated > before.allocated
    store.close()
    assert matrix.memory() == before
    check(matrix, model)


def test_a_store_that_never_began_takes_nothing() -> None:
    matrix, _ = filled(3)
    before = matrix.memory()
    matrix.store(1, 2, LARGE, build(LARGE, BY_SLOT[1])).close()
    assert matrix.memory() == before


def fill_columns(matrix: Matrix, model: Model, sites: range, names: Digests) -> None:
    for site in sites:
        bits = build(LARGE, names[site % 5 :: 3])
        matrix.store_now(0, site, LARGE, bits)
        model[0, site] = (LARGE, bits)


def test_a_column_written_while_its_region_widens_is_whole() -> None:
    matrix, model = Matrix(SLOTS, RATE), {}
    fill_columns(matrix, model, range(639), BY_SLOT[0])
    bits = build(LARGE, BY_SLOT[0])
    early, late = (matrix.store(0, site, LARGE, bits) for site in (1_000, 1_001))
    next(early)  # takes the last column, so that `late` has to widen
    while (0, 1_000) not in model or (0, 1_001) not in model:
        for site, store in ((1_000, early), (1_001, late)):
            if (0, site) not in model and next(store, "ended") == "ended":
                model[0, site] = (LARGE, bits)
        check(matrix, model)


def test_a_filter_that_changes_while_its_region_widens_keeps_its_changes() -> None:
    """Whether its rows were copied already or will be."""
    matrix, model = Matrix(SLOTS, RATE), {}
    fill_columns(matrix, model, range(640), BY_SLOT[0])
    store = matrix.store(0, 1_000, LARGE, build(LARGE, BY_SLOT[0]))
    rng = np.random.default_rng(3)
    bits = bloom.geometry(LARGE, RATE).bits
    for site, _ in zip(range(0, 640, 40), store, strict=False):
        step = difference(set(rng.integers(0, bits, 40).tolist()), set(rng.integers(0, bits, 4_000).tolist()))
        matrix.change(0, site, step)
        model[0, site] = (LARGE, changed(model[0, site][1], step))
        check(matrix, model)
    matrix.store_now(0, 1_001, LARGE, build(LARGE, BY_SLOT[0]))
    model[0, 1_001] = (LARGE, build(LARGE, BY_SLOT[0]))
    store.close()
    check(matrix, model)


def test_bits_beyond_a_filter_are_refused_and_nothing_changes() -> None:
    matrix, model = filled(3)
    beyond = bloom.geometry(3, RATE).bits
    for to_set, to_clear in (({1, beyond}, set()), (set(), {1, beyond})):
        with pytest.raises(SummaryInvalid, match="is beyond the"):
            matrix.change(1, 2, difference(to_set, to_clear))
        check(matrix, model)


def test_a_widening_that_was_left_is_carried_on_by_the_next() -> None:
    matrix, model = Matrix(SLOTS, RATE), {}
    fill_columns(matrix, model, range(640), BY_SLOT[0])
    left = matrix.store(0, 1_000, LARGE, build(LARGE, BY_SLOT[0]))
    next(left)
    left.close()
    matrix.drop(0, 3)
    del model[0, 3]
    fill_columns(matrix, model, range(640, 644), BY_SLOT[0])
    check(matrix, model)


def test_a_store_without_room_changes_nothing() -> None:
    bits = build(6, BY_SLOT[0])
    matrix = Matrix(SLOTS, RATE, bytes_max=4096)
    with pytest.raises(MemoryFull):
        for slot in range(SLOTS):
            matrix.store_now(slot, 1, 6, bits)
    held = matrix.holds(1)
    assert held.any()
    assert not held.all()
    with pytest.raises(MemoryFull):
        matrix.store_now(0, 1, LARGE, build(LARGE, BY_SLOT[0]))
    check(matrix, {(slot, 1): (6, bits) for slot in np.flatnonzero(held).tolist()})


def test_dropping_every_site_gives_all_memory_back() -> None:
    matrix, _ = filled(130)
    for site in range(130):
        assert matrix.drop_site(site) == SLOTS
    assert matrix.memory().allocated == matrix.memory().used == 0
    assert answered(matrix, NAMES) == []


@pytest.mark.parametrize(
    ("slot", "site", "size_class", "bytes_more", "said"),
    [
        (-1, 0, 3, 0, "slot -1 is unknown; expected 0 to 3"),
        (SLOTS, 0, 3, 0, "slot 4 is unknown"),
        (0, -1, 3, 0, "site number -1"),
        (0, SITE_MAX + 1, 3, 0, "site number 4294967296"),
        (0, 0, 41, 0, "size class 41 is unknown"),
        (0, 0, 3, 1, "its geometry needs"),
        (0, 0, 3, -1, "its geometry needs"),
    ],
)
def test_what_cannot_be_stored_is_refused_at_once(
    slot: int, site: int, size_class: int, bytes_more: int, said: str
) -> None:
    matrix = Matrix(SLOTS, RATE)
    bits = np.zeros(bloom.geometry(3, RATE).bytes + bytes_more, dtype=np.uint8)
    with pytest.raises(SummaryInvalid, match=said):
        matrix.store(slot, site, size_class, bits)
    assert matrix.memory().allocated == 0
