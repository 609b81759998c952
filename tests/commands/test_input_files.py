"""Files that commands read: both forms, and errors that name the line."""

import io

import pytest

from reploc.commands import input_files
from reploc.errors import InputInvalid
from reploc.wire import DeleteItem, MappingItem


def test_tab_separated_mappings_may_leave_out_what_is_unknown() -> None:
    text = "/a\tfile:///a\t7\tadler32:00000001\t/set#1\n\n/b\tfile:///b\n/c\tfile:///c\t\t\t/set#1\r\n"
    found = [line.item for line in input_files.mappings_in(io.BytesIO(text.encode()))]
    assert found == [
        MappingItem("/a", "file:///a", 7, "adler32:00000001", "/set#1"),
        MappingItem("/b", "file:///b"),
        MappingItem("/c", "file:///c", collection="/set#1"),
    ]


def test_ndjson_mappings_are_objects() -> None:
    text = b'{"lfn":"/a","pfn":"file:///a","size":7}\n{"lfn":"/\\u00e9","pfn":"file:///b"}'
    found = [line.item for line in input_files.mappings_in(io.BytesIO(text), "ndjson")]
    assert found == [MappingItem("/a", "file:///a", 7), MappingItem("/é", "file:///b")]


def test_names_are_the_first_column_of_any_file() -> None:
    found = [line.item for line in input_files.lfns_in(io.BytesIO(b"/a\tfile:///a\t7\n{/b\n"))]
    assert found == ["/a", "{/b"]


def test_deletions_may_name_an_lfn_alone() -> None:
    found = [line.item for line in input_files.deletions_in(io.BytesIO(b"/a\n/b\tfile:///b\n"))]
    assert found == [DeleteItem("/a"), DeleteItem("/b", "file:///b")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"/a", "has 1 columns; expected lfn, pfn"),
        (b"/a\tb\tc\td\te\tf", "has 6 columns"),
        (b"/a\tfile:///a\tmany", "size 'many' is not a whole number"),
        (b"/a\tfile:///a\t-1", "size '-1' is not a whole number"),
        (b"/a\xff\tfile:///a", "is not UTF-8 at byte 2"),
        (b"x" * 200_000, "is over 131,072 bytes long"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: bytes, words: str) -> None:
    lines = input_files.mappings_in(io.BytesIO(b"\n/ok\tfile:///ok\n" + line + b"\n"))
    assert next(lines).where == "input line 2"
    with pytest.raises(InputInvalid, match=f"input line 3: .*{words}"):
        next(lines)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"lfn":"/a"}', b'{"lfn":"/a","pfn":"b","sise":1}', b"\xff"])
def test_an_ndjson_line_that_is_no_mapping_is_named(line: bytes) -> None:
    with pytest.raises(InputInvalid, match="input line 1: "):
        next(input_files.mappings_in(io.BytesIO(line), "ndjson"))


def test_a_long_file_is_read_in_chunks() -> None:
    lines = input_files.lfns_in(io.BytesIO(b"".join(b"/%d\n" % number for number in range(25))))
    assert [len(chunk) for chunk in input_files.chunks(lines, 10)] == [10, 10, 5]
