"""Random attributes on a catalog and in plain dictionaries: every answer, every value and every search must agree."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from attribute_model import AttributeModel, Body, plain
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lrc.catalog import Catalog
from lrc.check import check
from reploc.attributes import (
    After,
    AttributeItem,
    DefineBody,
    RemoveBody,
    RemoveItem,
    SearchBody,
    SetBody,
    SetItem,
    UndefineBody,
    UndefineItem,
)
from reploc.errors import ReplocError
from reploc.wire import DeleteBody, DeleteItem, MappingItem, MappingsBody, RenameBody, RenameItem

LFNS = ["/a", "/b", "/été", "/long/" + "x" * 600 + "1", "/long/" + "x" * 600 + "2"]
PFNS = ["p:a", "p:b", "s3://" + "k" * 600 + "1", "s3://" + "k" * 600 + "2", LFNS[0]]
TYPES = ["text", "int", "float", "time"]
#: By type, values around every edge of their order in the index.
VALUES: dict[str, list[Any]] = {
    "text": ["a", "b", "ab", "é", "%", "_x", *("v" * 600 + end for end in "12"), "v" * 507, "v" * 506, "\U0001f600"],
    "int": [0, 1, -1, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63)],
    "float": [0.0, -0.0, 1.5, -1.5, 5e-324, -5e-324, 1e308, -1e308, 3],
    "time": [
        "1970-01-01T00:00:00Z",
        "2038-01-19T03:14:08.000001Z",
        "0001-01-01T00:00:00Z",
        "1999-12-31T23:59:59+01:00",
    ],
}
ATTRIBUTES = [f"{kind}{number}" for kind in TYPES for number in (1, 2)]

whats = st.sampled_from(["lfn", "pfn"])


def names_of(what: str) -> st.SearchStrategy[str]:
    return st.sampled_from(LFNS if what == "lfn" else PFNS)


@st.composite
def set_items(draw: st.DrawFn, what: str) -> SetItem:
    attribute = draw(st.sampled_from(ATTRIBUTES))
    kind = attribute[:-1] if draw(st.integers(0, 9)) else draw(st.sampled_from(TYPES))
    return SetItem(draw(names_of(what)), attribute, draw(st.sampled_from(VALUES[kind])))


def set_bodies(what: str) -> st.SearchStrategy[SetBody]:
    modes = st.sampled_from(["set", "set", "add", "modify"])
    return st.builds(
        SetBody, what=st.just(what), values=st.lists(set_items(what), max_size=5), mode=modes, atomic=st.booleans()
    )


def remove_bodies(what: str) -> st.SearchStrategy[RemoveBody]:
    item = st.builds(RemoveItem, name=names_of(what), attribute=st.none() | st.sampled_from(ATTRIBUTES))
    return st.builds(RemoveBody, what=st.just(what), values=st.lists(item, max_size=3), atomic=st.booleans())


registrations = st.builds(
    MappingsBody,
    mode=st.just("put"),
    mappings=st.lists(st.builds(MappingItem, lfn=names_of("lfn"), pfn=names_of("pfn")), max_size=4),
)
deletions = st.builds(
    DeleteBody,
    mappings=st.lists(st.builds(DeleteItem, lfn=names_of("lfn"), pfn=st.none() | names_of("pfn")), max_size=3),
    atomic=st.booleans(),
)


def renamings(what: str) -> st.SearchStrategy[RenameBody]:
    items = st.lists(st.builds(RenameItem, old=names_of(what), new=names_of(what)), max_size=3)
    return st.builds(RenameBody, what=st.just(what), names=items, atomic=st.booleans())


class AttributesAgainstModel(RuleBasedStateMachine):
    @initialize()
    def create(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.catalog = Catalog.create(self.directory / "store", "SITE")
        self.model = AttributeModel()
        known = [AttributeItem(what, name, name[:-1]) for what in ("lfn", "pfn") for name in ATTRIBUTES[::2]]  # type: ignore[arg-type]
        self.write(DefineBody(known))
        self.write(MappingsBody("put", [MappingItem(lfn, pfn) for lfn in LFNS[:4] for pfn in PFNS[:4]]))

    @rule(bodies=st.lists(registrations | deletions | renamings("lfn") | set_bodies("lfn"), min_size=1, max_size=4))
    def write_a_group(self, bodies: list[Body]) -> None:
        self.write(*bodies)

    @rule(body=set_bodies("pfn") | set_bodies("lfn") | remove_bodies("pfn") | remove_bodies("lfn") | renamings("pfn"))
    def write_one(self, body: Body) -> None:
        self.write(body)

    @rule(
        items=st.lists(
            st.builds(AttributeItem, what=whats, name=st.sampled_from(ATTRIBUTES), type=st.sampled_from(TYPES)),
            max_size=3,
        ),
        if_absent=st.booleans(),
        atomic=st.booleans(),
    )
    def define(self, items: list[AttributeItem], if_absent: bool, atomic: bool) -> None:
        self.write(DefineBody(items, if_absent, atomic))

    @rule(
        items=st.lists(st.builds(UndefineItem, what=whats, name=st.sampled_from(ATTRIBUTES)), max_size=2),
        atomic=st.booleans(),
    )
    def undefine(self, items: list[UndefineItem], atomic: bool) -> None:
        self.write(UndefineBody(items, atomic=atomic))

    @rule()
    def reopen(self) -> None:
        self.catalog.close()
        self.catalog = Catalog.open(self.directory / "store")

    def write(self, *bodies: Body) -> None:
        commit = self.catalog.apply(bodies)
        got = []
        for answer in commit.answers:
            assert not isinstance(answer, ReplocError)
            got.append((answer.done, [(error.index, error.code) for error in answer.errors]))
        assert got == [self.model.write(body) for body in bodies]

    @invariant()
    def values_agree(self) -> None:
        for what, names in (("lfn", LFNS), ("pfn", PFNS)):
            said = self.catalog.values(what, names)  # type: ignore[arg-type]
            there = self.model.names(what)
            assert said.unknown == [name for name in names if name not in there]
            assert {name: self.as_plain(what, held) for name, held in said.values.items()} == {
                name: self.model.values.get((what, name), {}) for name in names if name in there
            }

    def as_plain(self, what: str, held: dict[str, Any]) -> dict[str, Any]:
        return {name: plain(self.model.types[what, name], value) for name, value in held.items()}

    @invariant()
    def definitions_agree(self) -> None:
        said = {(one.what, one.name): one for one in self.catalog.attributes()}
        assert {key: one.type for key, one in said.items()} == self.model.types
        for (what, name), one in said.items():
            held = [values[name] for (of, _), values in self.model.values.items() if of == what and name in values]
            assert one.values == len(held)
            if held:
                ends = [plain(one.type, one.least), plain(one.type, one.greatest)]
                assert [as_ordered(end) for end in ends] == [as_ordered(min(held)), as_ordered(max(held))]

    @rule(
        what=whats,
        attribute=st.sampled_from(ATTRIBUTES),
        op=st.sampled_from(["all", "=", "!=", "<", "<=", ">=", ">", "between", "like"]),
        limit=st.integers(1, 3),
        data=st.data(),
    )
    def search(self, what: Any, attribute: str, op: Any, limit: int, data: st.DataObject) -> None:
        kind = self.model.types.get((what, attribute))
        assume(kind is not None and (op != "like" or kind == "text"))
        assert kind is not None
        operands = st.sampled_from(["%", "v%", "_", "a%b", "é"] if op == "like" else VALUES[kind])
        value = None if op == "all" else data.draw(operands)
        body = SearchBody(what, attribute, op, value, data.draw(operands) if op == "between" else None, limit)
        found: list[tuple[str, Any]] = []
        after: After | None = None
        while True:
            page = self.catalog.search(SearchBody(what, attribute, op, value, body.upper, limit, after))
            assert len(page.found) <= limit
            found += [(one.name, plain(kind, one.value)) for one in page.found]
            if page.next is None:
                break
            after = After(page.next.name, page.next.value)
        expected = self.model.search(body)
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert [as_ordered(value) for _, value in found] == [as_ordered(value) for _, value in expected]

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            assert check(self.catalog).findings == []
            self.catalog.close()
            shutil.rmtree(self.directory)


def as_ordered(value: Any) -> Any:
    """What the order of values looks at: of a text its first 507 bytes."""
    return value.encode()[:507] if isinstance(value, str) else value


TestAttributesAgainstModel = AttributesAgainstModel.TestCase
TestAttributesAgainstModel.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
