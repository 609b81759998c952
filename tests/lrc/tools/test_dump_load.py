"""Dump and load: a catalog that is loaded from a dump is equal to the one that was dumped; what is no dump is told."""

import asyncio
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrc.catalog import Catalog
from lrc.check import check
from lrc.tools import dump
from lrc.tools.access import of_catalog
from lrc.tools.dump import Line, Numbered
from lrc.tools.load import Load, LoadMode, Summary, batches
from reploc.client.batches import ITEMS
from reploc.errors import InputInvalid
from reploc.wire import MappingItem, MappingsBody

HEADER = {"format": "reploc-lrc-dump", "version": 1, "site": "OTHER", "position": 7}


def dumped(catalog: Catalog) -> bytes:
    async def run() -> bytes:
        async with of_catalog(catalog) as access:
            attributes = await access.attributes()
            lines = [dump.header_line(await access.origin(), attributes)]
            lfns = 0
            async for piece, count in dump.pieces(access, attributes):
                lines.append(piece)
                lfns += count
            lines.append(dump.end_line(lfns))
        return b"".join(lines)

    return asyncio.run(run())


def loaded(
    text: bytes,
    catalog: Catalog,
    mode: LoadMode = "put",
    update: bool = False,
    seen: list[tuple[int, int]] | None = None,
) -> Summary:
    told = [] if seen is None else seen

    async def run() -> Summary:
        async with of_catalog(catalog) as access:
            return await Load(io.BytesIO(text), access, mode, update, lambda *done: told.append(done)).run()

    return asyncio.run(run())


def text_of(lines: Iterable[Any], header: dict[str, Any] = HEADER) -> bytes:
    said = [line if isinstance(line, str) else json.dumps(line) for line in (header, *lines)]
    return ("\n".join(said) + "\n").encode()


def rows(text: bytes) -> list[bytes]:
    return text.splitlines()[1:-1]


@contextmanager
def fresh(site: str = "FRESH") -> Iterator[Catalog]:
    with tempfile.TemporaryDirectory() as path, Catalog.create(Path(path) / "store", site) as catalog:
        yield catalog
        assert check(catalog).findings == []


# ---- there and back --------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ["x" * 4096, "y" * 511, "z" * 510, "é" * 2048, '"\\/', "#", "a b"]
)
CHECKSUMS = st.none() | st.integers(0, 2**32 - 1).map(lambda value: f"adler32:{value:08x}")
LINES = st.builds(
    Line,
    lfn=NAMES,
    pfns=st.lists(NAMES, min_size=1, max_size=5, unique=True),
    size=st.none() | st.integers(0, 2**63 - 1),
    checksum=CHECKSUMS,
    collection=st.none() | st.sampled_from(["/a", "/b#1", "c" * 600]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(LINES, max_size=12, unique_by=lambda line: line.lfn), st.sampled_from(["put", "create"]))
def test_a_catalog_loaded_from_a_dump_gives_the_same_dump(lines: list[Line], mode: LoadMode) -> None:
    items = [MappingItem(one.lfn, pfn, one.size, one.checksum, one.collection) for one in lines for pfn in one.pfns]
    with fresh("SITE") as first, fresh("OTHER") as second:
        assert first.write(MappingsBody("put", items)).errors == []
        text = dumped(first)
        assert len(rows(text)) == len(lines)
        summary = loaded(text, second, mode)
        assert (summary.from_site, summary.site, summary.refused) == ("SITE", "OTHER", 0)
        assert (summary.lines, summary.mappings) == (len(lines), len(items))
        assert rows(dumped(second)) == rows(text)
        assert second.collections() == first.collections()


def test_a_dump_of_many_batches_comes_back_whole_and_in_order(catalog: Catalog) -> None:
    lines = [
        {"lfn": f"/f/{number:05}", "pfns": [f"b:{copy}/{number}" for copy in range(1 + number % 3)], "size": number}
        for number in range(5_500)
    ]
    seen: list[tuple[int, int]] = []
    text = text_of(lines)
    summary = loaded(text, catalog, seen=seen)
    assert (summary.lines, summary.mappings) == (5_500, sum(len(line["pfns"]) for line in lines))  # type: ignore[arg-type]
    assert sum(count for count, _ in seen) == 5_500
    assert sum(size for _, size in seen) == sum(len(line) + 1 for line in text.splitlines()[1:])
    back = [json.loads(line) for line in rows(dumped(catalog))]
    assert [(line["lfn"], line["pfns"], line["size"]) for line in back] == [
        (line["lfn"], line["pfns"], line["size"]) for line in lines
    ]


def test_an_lfn_with_as_many_pfns_as_it_can_have_is_one_line(catalog: Catalog) -> None:
    pfns = [f"file:///{number}" for number in range(1_000)]
    assert loaded(text_of([{"lfn": "many", "pfns": pfns}, {"lfn": "one", "pfns": ["p"]}]), catalog).refused == 0
    found = catalog.lookup("many")
    assert found is not None
    assert found.pfns == pfns
    with fresh() as second:
        assert loaded(dumped(catalog), second, "create").mappings == 1_001
        assert rows(dumped(second)) == rows(dumped(catalog))


def test_loading_twice_changes_nothing(catalog: Catalog) -> None:
    text = text_of([{"lfn": f"l{number}", "pfns": ["a", "b"]} for number in range(50)])
    first = loaded(text, catalog)
    again = loaded(text, catalog)
    assert (again.refused, again.position) == (0, first.position)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "input-invalid: "),
        ('{"lfn": "a"', "input-invalid: "),
        ("[]", "Expected `object`, got `array`"),
        ('{"lfn": "a"}', "missing required field `pfns`"),
        ('{"lfn": "a", "pfns": []}', "Expected `array` of length >= 1"),
        ('{"lfn": "a", "pfns": "p"}', "Expected `array`, got `str` - at `$.pfns`"),
        ('{"lfn": "a", "pfns": ["p"], "sise": 1}', "contains unknown field `sise`"),
        ('{"lfn": "a", "pfns": ["p"], "size": -1}', "Expected `int` >= 0"),
        ('{"lfn": "a", "pfns": ["p"], "size": 9223372036854775808}', "at `$.size`"),
        ('{"lfn": "", "pfns": ["p"]}', "name-invalid: lfn is empty"),
        ('{"lfn": "a\\n", "pfns": ["p"]}', "lfn holds a control character (U+000A)"),
        ('{"lfn": "\\ud800", "pfns": ["p"]}', "input-invalid"),
        ('{"lfn": "a", "pfns": ["p", ""]}', "pfns[1] is empty"),
        ('{"lfn": "a", "pfns": ["p"], "collection": ""}', "collection is empty"),
        ('{"lfn": "a", "pfns": ["p"], "checksum": "adler32:0"}', "adler32 checksum needs 8"),
        ('{"lfn": "' + "a" * 4097 + '", "pfns": ["p"]}', "lfn is 4,097 bytes long"),
        ('{"lfn": "a", "pfns": [' + '"p",' * 1_000 + '"p"]}', "Expected `array` of length <= 1000"),
    ],
)
def test_a_line_that_cannot_be_right_is_named_and_stops_no_other(catalog: Catalog, line: str, said: str) -> None:
    summary = loaded(text_of([{"lfn": "before", "pfns": ["p"]}, line, {"lfn": "after", "pfns": ["p"]}]), catalog)
    assert (summary.lines, summary.refused, summary.mappings) == (3, 1, 2)
    assert summary.refusals[0].startswith("line 3: ")
    assert said in summary.refusals[0]
    assert catalog.exists(["before", "a", "after"]).known == ["before", "after"]


def test_bytes_that_are_no_text_are_refused(catalog: Catalog) -> None:
    summary = loaded(text_of([]) + b'{"lfn": "\xff", "pfns": ["p"]}\n\n   \n{"lfn": "b", "pfns": ["p"]}', catalog)
    assert (summary.lines, summary.refused, summary.mappings) == (2, 1, 1)


def test_a_line_beyond_the_bound_is_skipped_whole(catalog: Catalog) -> None:
    long = b'{"lfn": "' + b"a" * (2 * dump.LINE_BYTES_MAX) + b'", "pfns": ["p"]}\n'
    text = text_of([]) + long + b'{"lfn": "b", "pfns": ["p"]}\n'
    seen: list[tuple[int, int]] = []
    summary = loaded(text, catalog, seen=seen)
    assert summary.refusals == ["line 2: too-large: is over 26 MiB long"]
    assert summary.mappings == 1
    assert sum(size for _, size in seen) == len(text) - len(text_of([]))


def test_what_the_catalog_refuses_is_told_by_its_line_and_once(catalog: Catalog) -> None:
    loaded(text_of([{"lfn": "a", "pfns": ["p"], "size": 1}]), catalog)
    text = text_of([{"lfn": "b", "pfns": ["p"]}, {"lfn": "a", "pfns": ["p", "q", "r"], "size": 2}])
    summary = loaded(text, catalog)
    assert (summary.refused, summary.mappings) == (1, 1)
    assert summary.refusals[0].startswith("line 3: attributes-differ: ")
    assert loaded(text, catalog, update=True).refused == 0
    found = catalog.lookup("a")
    assert found is not None
    assert (found.size, found.pfns) == (2, ["p", "q", "r"])


def test_create_takes_only_lfns_that_are_new_and_leaves_the_others_alone(catalog: Catalog) -> None:
    loaded(text_of([{"lfn": "a", "pfns": ["p"]}]), catalog)
    text = text_of([{"lfn": "a", "pfns": ["q", "r"]}, {"lfn": "b", "pfns": ["q", "r"]}])
    summary = loaded(text, catalog, "create")
    assert (summary.refused, summary.mappings) == (1, 2)
    assert summary.refusals[0].startswith("line 2: lfn-exists: ")
    known = catalog.lookup_many(["a", "b"]).replicas
    assert (known["a"].pfns, known["b"].pfns) == (["p"], ["q", "r"])


def test_refused_lines_are_all_counted_and_a_hundred_are_told_in_order(catalog: Catalog) -> None:
    summary = loaded(text_of(["{"] * 250), catalog)
    assert (summary.lines, summary.refused) == (250, 250)
    assert [line.partition(":")[0] for line in summary.refusals] == [f"line {number}" for number in range(2, 102)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\n", "line 1: is not the header of a dump"),
        (b"lfn\tpfn\n", "line 1: is not the header of a dump"),
        (b'{"lfn": "a", "pfns": ["p"]}\n', "missing required field `format`"),
        (text_of([], HEADER | {"format": "other"}), "format is 'other'; expected 'reploc-lrc-dump'"),
        (text_of([], HEADER | {"version": 3}), "version is 3; this reploc reads 2 and 1"),
        (b"\xff\n", "line 1: is not the header of a dump"),
    ],
)
def test_a_file_that_is_no_dump_is_refused_before_anything_is_written(catalog: Catalog, text: bytes, said: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        loaded(text + text_of([{"lfn": "a", "pfns": ["p"]}]), catalog)
    assert said in caught.value.detail
    assert catalog.position == 0


# ---- batches ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1_000), max_size=40))
def test_a_batch_holds_whole_lines_in_their_order_and_no_more_than_a_request(counts: list[int]) -> None:
    wrong = InputInvalid("no line")
    lines = [
        Numbered(number, Line("l", ["p"] * count) if count else wrong, 10) for number, count in enumerate(counts, 2)
    ]
    found = list(batches(iter(lines)))
    assert [
        number for batch in found for number, _ in sorted([*batch.lines, *batch.faults], key=lambda each: each[0])
    ] == [line.number for line in lines]
    assert all(sum(len(line.pfns) for _, line in batch.lines) <= ITEMS for batch in found)
    assert sum(batch.bytes for batch in found) == 10 * len(lines)


# ---- the end of a dump -----------------------------------------------------------------------------------------------


def test_a_dump_that_is_cut_anywhere_is_not_taken_for_whole(catalog: Catalog) -> None:
    items = [MappingItem(f"/lfn/{number}", f"file:///{number}") for number in range(9)]
    catalog.write(MappingsBody("put", items))
    whole = dumped(catalog)
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole) - 1):
        with fresh() as copy:
            summary = loaded(whole[:cut], copy)
            assert summary.refused > 0, whole[:cut][-40:]
    with fresh() as copy:
        assert loaded(whole, copy).refused == 0
        lines = whole.splitlines(keepends=True)
        assert loaded(b"".join(lines[:4]), copy).refusals == [
            "line 5: input-invalid: is not there: the dump was cut short after 3 lines"
        ]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ('{"end":2}', "line 3: input-invalid: says that the dump has 2 lines, but there are 1"),
        (
            '{"end":1}\n{"lfn":"/b","pfns":["b:1"]}',
            "line 4: input-invalid: says that the dump ends, but 1 lines follow",
        ),
        ('{"end":-}', "line 3: input-invalid: is not the end of a dump: JSON is malformed"),
    ],
)
def test_an_end_that_is_not_true_is_said_so(catalog: Catalog, end: str, said: str) -> None:
    summary = loaded(text_of([{"lfn": "/a", "pfns": ["a:1"]}, end], HEADER | {"version": 2}), catalog)
    assert (summary.refused, summary.refusals[0][: len(said)]) == (1, said)


def test_a_dump_of_the_first_version_has_no_end(catalog: Catalog) -> None:
    assert loaded(text_of([{"lfn": "/a", "pfns": ["a:1"]}]), catalog).refused == 0
