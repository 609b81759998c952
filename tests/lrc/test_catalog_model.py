"""Random operations on a catalog and on a plain dictionary: every answer and every read must agree."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from model import Model

from lrc.catalog import Catalog
from lrc.check import check
from reploc import digest
from reploc.errors import CollectionUnknown, ReplocError
from reploc.wire import (
    CollectionTotals,
    DeleteBody,
    DeleteItem,
    LfnReplica,
    MappingItem,
    MappingsBody,
    RenameBody,
    RenameItem,
    Replica,
)

T = TypeVar("T")
Body = MappingsBody | DeleteBody | RenameBody

#: Names around every length that the layout treats apart, several of which share their first 495 bytes.
LFNS = [
    *("/a", "/a/b", "/a/b/c", "/données/événement", "/数据/文件", "*?[literal]"),
    *(("/long/" + "x" * 600)[:length] for length in (495, 509, 510, 511, 512)),
    *("/long/" + "x" * 600 + end for end in ("1", "2", "é")),
    "/" + "é" * 300,
    "/most/" + "y" * 4090,
]
PFNS = [
    "file:///a",
    "file:///b",
    "root://c//d",
    "gsiftp://é/",
    *("s3://" + "k" * 600 + end for end in ("1", "2")),
    LFNS[7],
]
COLLECTIONS = ["/data/one#1", "/data/one#2", "/données", *("/c/" + "z" * 700 + end for end in ("1", "2"))]
WRONG = ["", "a\nb", "x" * 4097, "\ud800"]
CHECKSUMS = ["adler32:0000000a", "adler32:0000000A", "sha256:" + "f" * 64]

lfns = st.sampled_from(LFNS) | st.sampled_from(LFNS[:3])
pfns = st.sampled_from(PFNS)


def seldom_wrong(names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 19).flatmap(lambda roll: names if roll else st.sampled_from(WRONG))


mappings = st.builds(
    MappingItem,
    lfn=seldom_wrong(lfns),
    pfn=seldom_wrong(pfns),
    size=st.none() | st.sampled_from([0, 1, 1 << 40, (1 << 63) - 1]),
    checksum=st.none() | seldom_wrong(st.sampled_from(CHECKSUMS)),
    collection=st.none() | seldom_wrong(st.sampled_from(COLLECTIONS)),
)
registrations = st.builds(
    MappingsBody,
    mode=st.sampled_from(["create", "add", "put", "put"]),
    mappings=st.lists(mappings, max_size=6),
    atomic=st.booleans(),
    update=st.booleans(),
)
deletions = st.builds(
    DeleteBody,
    mappings=st.lists(st.builds(DeleteItem, lfn=seldom_wrong(lfns), pfn=st.none() | pfns), max_size=4),
    atomic=st.booleans(),
)


def renamings(what: str, names: st.SearchStrategy[str]) -> st.SearchStrategy[RenameBody]:
    items = st.lists(st.builds(RenameItem, old=seldom_wrong(names), new=seldom_wrong(names)), max_size=4)
    return st.builds(RenameBody, what=st.just(what), names=items, atomic=st.booleans())


class CatalogAgainstModel(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.catalog = Catalog.create(self.directory / "store", "SITE")
        self.model = Model()
        self.live: set[bytes] = set()

    @rule(bodies=st.lists(registrations | deletions | renamings("lfn", lfns), min_size=1, max_size=4))
    def write_a_group(self, bodies: list[Body]) -> None:
        self.write(*bodies)

    @rule(body=registrations)
    def register(self, body: MappingsBody) -> None:
        self.write(body)

    @rule(body=renamings("pfn", pfns))
    def rename_pfns(self, body: RenameBody) -> None:
        self.write(body)

    @rule()
    def reopen(self) -> None:
        self.catalog.close()
        self.catalog = Catalog.open(self.directory / "store")

    def write(self, *bodies: Body) -> None:
        commit = self.catalog.apply(bodies)
        expected = self.model.write(*bodies)
        got = []
        for answer in commit.answers:
            assert not isinstance(answer, ReplocError)
            assert answer.position == self.model.position
            got.append((answer.done, [(error.index, error.code) for error in answer.errors]))
        assert got == expected
        self.live |= set(digest.stored(commit.news.added))
        self.live -= set(digest.stored(commit.news.removed))

    @invariant()
    def counters_agree(self) -> None:
        state = self.catalog.state()
        files = self.model.files
        assert (state.position, state.lfns) == (self.model.position, len(files))
        assert state.mappings == sum(len(file.pfns) for file in files.values())
        assert state.collections == len(self.model.totals())

    @invariant()
    def lookups_agree(self) -> None:
        files = self.model.files
        expected = {lfn: Replica(file.size, file.checksum, file.collection, file.pfns) for lfn, file in files.items()}
        assert {lfn: found for lfn in LFNS if (found := self.catalog.lookup(lfn))} == expected
        many = self.catalog.lookup_many(LFNS)
        assert (many.replicas, many.unknown) == (expected, [lfn for lfn in LFNS if lfn not in files])
        exists = self.catalog.exists(LFNS)
        assert (exists.known, exists.unknown) == ([lfn for lfn in LFNS if lfn in files], many.unknown)

    @invariant()
    def digests_agree(self) -> None:
        expected = set(digest.stored(digest.of(list(self.model.files))))
        assert self.live == expected
        of_slots = self.catalog.digests(range(4), 4)
        assert of_slots.position == self.model.position
        assert {one for slot in of_slots.digests for one in digest.stored(slot)} == expected
        for slot, digests in enumerate(of_slots.digests):
            assert np.all(digest.slots_of(digests, 4) == slot)
        assert self.catalog.slot_counts(4).tolist() == [len(slot) for slot in of_slots.digests]

    @rule(pfn=pfns, limit=st.integers(1, 3))
    def read_by_pfn(self, pfn: str, limit: int) -> None:
        def page(after: str | None) -> tuple[list[str], str | None]:
            names = self.catalog.lfns_by_pfn(pfn, limit, after)
            return names.lfns, names.next

        found = every_page(page)
        assert len(found) == len(set(found)) and set(found) == self.model.lfns_of(pfn)

    @rule(limit=st.integers(1, 4))
    def read_collections(self, limit: int) -> None:
        def page(after: str | None) -> tuple[list[CollectionTotals], str | None]:
            found = self.catalog.collections("*", limit, after)
            return found.collections, found.next

        found = every_page(page)
        assert len(found) == len(self.model.totals())
        for one in found:
            files, size, unknown = self.model.totals()[one.name]
            assert one == CollectionTotals(one.name, files, min(size, (1 << 63) - 1), unknown)
            assert self.catalog.collection(one.name) == one

    @rule(name=st.sampled_from(COLLECTIONS), limit=st.integers(1, 3))
    def read_files_of_a_collection(self, name: str, limit: int) -> None:
        def page(after: str | None) -> tuple[list[LfnReplica], str | None]:
            found = self.catalog.collection_files(name, limit, after)
            return found.files, found.next

        try:
            found = {file.lfn for file in every_page(page)}
        except CollectionUnknown:
            found = set()
        assert found == {lfn for lfn, file in self.model.files.items() if file.collection == name}

    @rule(limit=st.integers(1, 5))
    def read_everything(self, limit: int) -> None:
        def page(after: str | None) -> tuple[list[LfnReplica], str | None]:
            found = self.catalog.files(limit, after)
            return found.files, found.next

        found = every_page(page)
        assert {file.lfn: file.pfns for file in found} == {lfn: file.pfns for lfn, file in self.model.files.items()}
        assert len(found) == len(self.model.files)

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            assert check(self.catalog).findings == []
            self.catalog.close()
            shutil.rmtree(self.directory)


def every_page(page: Callable[[str | None], tuple[list[T], str | None]]) -> list[T]:
    found: list[T] = []
    after: str | None = None
    while True:
        items, after = page(after)
        found += items
        if after is None:
            return found


TestCatalogAgainstModel = CatalogAgainstModel.TestCase
TestCatalogAgainstModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
