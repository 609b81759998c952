"""Attributes in dumps: definitions in the header, a line for each value, and what a loading catalog says to them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_dump_load import dumped, fresh, loaded, text_of

from lrc.catalog import Catalog
from reploc.attributes import AttributeItem, DefineBody, SetBody, SetItem
from reploc.errors import InputInvalid
from reploc.wire import MappingItem, MappingsBody

#: A list made by hand.
HEADER = {"format": "reploc-lrc-dump", "version": 1, "site": "OTHER", "position": 7}
SIZE = {"what": "lfn", "name": "size", "type": "int"}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.create(tmp_path / "store", "SITE") as made:
        yield made


def test_attributes_come_back_whole_and_exact(catalog: Catalog) -> None:
    catalog.write(MappingsBody("put", [MappingItem(f"/{number}", f"p:{number % 7}") for number in range(2_500)]))
    kinds = [("lfn", "size", "int"), ("lfn", "note", "text"), ("pfn", "seen", "time"), ("pfn", "good", "float")]
    catalog.write(DefineBody([AttributeItem(*one) for one in kinds]))  # type: ignore[arg-type]
    sizes = [SetItem(f"/{number}", "size", (1 << 63) - 1 - number) for number in range(2_500)]
    assert catalog.write(SetBody("lfn", [*sizes, SetItem("/7", "note", "a\\b " + "é" * 2000)])).errors == []
    seen = [SetItem("p:1", "seen", "2006-01-02T15:04:05.000001Z"), SetItem("p:2", "good", 0.1)]
    assert catalog.write(SetBody("pfn", seen)).errors == []
    with fresh() as other:
        summary = loaded(dumped(catalog), other)
        assert (summary.lines, summary.refused, summary.values) == (5_003, 0, 2_503)
        assert dumped(other).splitlines()[1:] == dumped(catalog).splitlines()[1:]
        assert other.attributes() == catalog.attributes()


def test_a_dump_of_the_version_before_is_read(catalog: Catalog) -> None:
    summary = loaded(text_of([{"lfn": "/a", "pfns": ["p:a"]}], HEADER), catalog)
    assert (summary.mappings, summary.values, summary.refused) == (1, 0, 0)


def test_an_attribute_of_another_type_stops_the_load_before_anything_is_written(catalog: Catalog) -> None:
    catalog.write(DefineBody([AttributeItem("lfn", "size", "text")]))
    with pytest.raises(InputInvalid, match=r"line 1: attributes\[0\]: attribute-exists"):
        loaded(text_of([{"lfn": "/a", "pfns": ["p:a"]}], HEADER | {"attributes": [SIZE]}), catalog)
    assert catalog.state().lfns == 0


def test_values_that_cannot_be_set_are_named_by_their_lines(catalog: Catalog) -> None:
    lines = [
        {"lfn": "/a", "pfns": ["p:a"]},
        {"attribute": "size", "of": "lfn", "name": "/a", "value": 7},
        {"attribute": "size", "of": "lfn", "name": "/z", "value": 7},
        {"attribute": "size", "of": "lfn", "name": "/a", "value": "7"},
        {"attribute": "size", "of": "site", "name": "/a", "value": 7},
        {"attribute": "size", "of": "pfn", "name": "p:a", "value": 7},
        {"lfn": "/b", "pfns": ["p:b"]},
        {"attribute": "size", "of": "lfn", "name": "/b", "value": 8},
    ]
    summary = loaded(text_of(lines, HEADER | {"attributes": [SIZE]}), catalog)
    assert (summary.lines, summary.mappings, summary.values, summary.refused) == (8, 2, 2, 4)
    said = [refusal.split(":")[0] for refusal in summary.refusals]
    assert said == ["line 4", "line 5", "line 6", "line 7"]
    assert json.loads(dumped(catalog).splitlines()[-2])["value"] == 8
