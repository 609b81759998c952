"""What is defined: taken whole or not at all, the same on every database, and told twice changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from stores import Told, telling

from placement import datasets, definitions, files
from placement.messages import BlockItem, DatasetItem, FileItem, InjectBody
from reploc.errors import (
    AttributesDiffer,
    CollectionUnknown,
    DefinitionUnknown,
    InventoryInvalid,
    NameInvalid,
    PolicyInvalid,
)

SUM = "adler32:0a0b0c0d"
BODY: dict[str, Any] = {
    "sites": [{"site": {"name": "T1", "lrc": "http://t1:39280", "storage": "mss"}, "bandwidth": 1e9, "cores": 7}],
    "groups": [{"name": "physics"}, {"name": "IB RelVal", "level": "dataset"}],
    "partitions": [
        {"name": "Mine", "condition": "blockreplica.owner == physics"},
        {"name": "Theirs", "condition": "blockreplica.owner != physics"},
        {"name": "All", "parts": ["Mine", "Theirs"]},
    ],
    "quotas": [{"site": "T1", "partition": "Mine", "quota": 10}, {"site": "T1", "partition": "Theirs", "quota": -1}],
    "datasets": [
        {
            "name": "/a",
            "status": "valid",
            "data_type": "mc",
            "blocks": [
                {
                    "name": "1",
                    "files": [{"lfn": "/f1", "size": 5}, {"lfn": "/f2", "size": 6, "checksum": "adler32:0a0b0c0d"}],
                },
                {"name": "2", "size": 9, "num_files": 3, "is_open": True},
            ],
        },
        {"name": "/single", "blocks": [{"size": 1, "num_files": 1}]},
    ],
    "owners": [
        {"item": "/a", "site": "T1", "group": "physics", "growing": True},
        {"item": "/a#2", "site": "T1", "group": "IB RelVal"},
    ],
}


def body(**changes: Any) -> InjectBody:
    return msgspec.convert({**BODY, **changes}, InjectBody)


def test_what_is_told_is_there_and_told_again_changes_nothing(told: Told) -> None:
    first = told.inject(body())
    assert msgspec.structs.astuple(first) == (1, 2, 3, 2, 2, 2, 2)
    version = told.keeper.inventory().version
    assert set(msgspec.structs.astuple(told.inject(body()))) == {0}
    made = told.keeper.inventory()
    assert made.version == version
    (site,) = made.sites.select("name", "storage_type", "bandwidth", "cores", "news_at").rows()
    assert site == ("T1", "mss", 1e9, 7, None)
    assert made.groups.rows() == [("None", "block"), ("physics", "block"), ("IB RelVal", "dataset")]
    assert made.datasets.select("name", "status", "data_type", "size", "num_files").rows() == [
        ("/a", "valid", "mc", 20, 5),
        ("/single", "unknown", "unknown", 1, 1),
    ]
    assert made.blocks.select("name", "size", "files", "is_open").rows() == [
        ("1", 11, 2, False),
        ("2", 9, 3, True),
        (None, 1, 1, False),
    ]
    assert made.quota("All").to_list() == [-1]


def test_a_later_word_changes_what_it_says_and_nothing_else(told: Told) -> None:
    told.inject(body())
    change = {
        "name": "/a",
        "status": "invalid",
        "blocks": [{"name": "2", "size": 8, "num_files": 2}, {"name": "3", "size": 1, "num_files": 1}],
    }
    assert told.inject(msgspec.convert({"datasets": [change]}, InjectBody)).datasets == 1
    made = told.keeper.inventory()
    assert made.datasets.select("name", "status", "data_type", "num_blocks").rows()[0] == ("/a", "invalid", "mc", 3)
    assert sorted(made.blocks.filter(dataset=0).select("name", "size", "is_open").rows()) == [
        ("1", 11, False),
        ("2", 8, True),
        ("3", 1, False),
    ]


def test_files_are_added_to_those_that_are_there_and_listed_in_pages(told: Told) -> None:
    told.inject(body())
    more = BlockItem(name="1", files=[FileItem("/f3", 7), FileItem("/f1", 5)], num_files=3, size=18)
    assert told.inject(InjectBody(datasets=[DatasetItem("/a", blocks=[more])])).files == 1
    with told.keeper.database.reading() as connection:
        place = datasets.places(connection, ["/a#1"])["/a#1"]
        page = files.page(connection, place, "/a#1", 2, None)
        assert [file.lfn for file in page.files] == ["/f1", "/f2"]
        assert page.files[1].checksum == SUM
        last = files.page(connection, place, "/a#1", 2, page.next)
        assert ([file.lfn for file in last.files], last.next) == (["/f3"], None)
        with pytest.raises(CollectionUnknown, match="no files of '/a#2' are defined"):
            files.page(connection, datasets.places(connection, ["/a#2"])["/a#2"], "/a#2", 2, None)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"sites": [BODY["sites"][0]] * 2}, InventoryInvalid, "'T1' stands twice"),
    ({"groups": [{"name": "None"}]}, InventoryInvalid, "stands for nobody"),
    ({"groups": [{"name": "a\nb"}]}, InventoryInvalid, "control character"),
    ({"partitions": [{"name": "P"}]}, InventoryInvalid, "expected either a condition or parts"),
    ({"partitions": [{"name": "P", "condition": "blockreplica.owne == x"}]}, PolicyInvalid, "blockreplica.owne"),
    ({"partitions": [{"name": "P", "parts": ["Nowhere"]}]}, InventoryInvalid, "'Nowhere' is not defined"),
    ({"partitions": [{"name": "Mine", "parts": ["Mine"]}]}, InventoryInvalid, "has parts itself"),
    ({"quotas": [{"site": "T9", "partition": "Mine", "quota": 1}]}, DefinitionUnknown, "site 'T9' is not defined"),
    ({"quotas": [{"site": "T1", "partition": "X", "quota": 1}]}, DefinitionUnknown, "known: All, Mine, Theirs"),
    ({"quotas": [{"site": "T1", "partition": "All", "quota": 1}]}, InventoryInvalid, "the sum of theirs"),
    ({"datasets": [{"name": "/x"}, {"name": "/x"}]}, InventoryInvalid, "'/x' stands 2 times"),
    ({"datasets": [{"name": "/x#1"}]}, InventoryInvalid, "holds '#'"),
    ({"datasets": [{"name": ""}]}, NameInvalid, "dataset is empty"),
    ({"datasets": [{"name": "/x", "blocks": [{"name": "1", "size": 1}]}]}, InventoryInvalid, "told together"),
    (
        {"datasets": [{"name": "/x", "blocks": [{"name": "1", "size": 1, "num_files": 1}] * 2}]},
        InventoryInvalid,
        "block '1' stands 2 times",
    ),
    (
        {"datasets": [{"name": "/x", "blocks": [{"name": "1", "size": 4, "files": [{"lfn": "/f", "size": 5}]}]}]},
        InventoryInvalid,
        "told are 4 bytes, its files make 5",
    ),
    (
        {"datasets": [{"name": "/a", "blocks": [{"name": "1", "num_files": 7, "files": []}]}]},
        InventoryInvalid,
        "told are 7 files, its files make 2",
    ),
    (
        {"datasets": [{"name": "/a", "blocks": [{"name": "1", "files": [{"lfn": "/f1", "size": 6}]}]}]},
        AttributesDiffer,
        "/f1: is 5 bytes, no checksum in block '/a#1', told is 6 bytes",
    ),
    (
        {"datasets": [{"name": "/x", "blocks": [{"name": "1", "files": [{"lfn": "/f1", "size": 5}]}]}]},
        InventoryInvalid,
        "/f1: is in another block already",
    ),
    (
        {"owners": [{"item": "/zz", "site": "T1", "group": "physics"}]},
        DefinitionUnknown,
        "dataset '/zz' is not defined",
    ),
    (
        {"owners": [{"item": "/a#9", "site": "T1", "group": "physics"}]},
        DefinitionUnknown,
        "block '/a#9' is not defined",
    ),
    (
        {"owners": [{"item": "/a", "site": "T1", "group": "x"}]},
        DefinitionUnknown,
        "known: IB RelVal, newcomers, physics",
    ),
]


def test_what_cannot_be_right_is_refused_in_words_and_nothing_is_half_done(told: Told) -> None:
    told.inject(body())
    before = told.keeper.inventory()
    new = {"groups": [{"name": "newcomers"}], "datasets": [{"name": "/new"}]}
    for change, kind, said in REFUSED:
        with pytest.raises(kind, match=said):
            told.inject(msgspec.convert(new | change, InjectBody))
        assert told.keeper.inventory() is before, change


def test_a_quota_goes_when_it_is_null(told: Told) -> None:
    told.inject(body())
    gone = {"quotas": [{"site": "T1", "partition": "Mine", "quota": None}]}
    assert told.inject(msgspec.convert(gone, InjectBody)).quotas == 1
    assert told.keeper.inventory().quota("Mine").to_list() == [None]


def test_another_service_on_the_database_sees_what_was_written(told: Told) -> None:
    with telling(told.url) as other:
        told.inject(body())
        assert other.keeper.inventory().datasets.height == 2
        other.inject(InjectBody(datasets=[DatasetItem("/b", blocks=[BlockItem(size=1, num_files=1)])]))
        assert told.keeper.inventory().datasets["name"].to_list() == ["/a", "/single", "/b"]
        with told.keeper.database.reading() as connection:
            assert set(definitions.read(connection).defined) == {"T1"}
