"""The names of a tree's files: what a path is called, what has no name, and what is left out."""

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lrc.tools.naming import Naming, naming, shown
from reploc import names
from reploc.errors import NameInvalid

PLAIN = naming("/store/", "file:///data/")


@pytest.mark.parametrize(
    ("path", "lfn", "pfn"),
    [
        (b"a", "/store/a", "file:///data/a"),
        (b"a b/c.root", "/store/a b/c.root", "file:///data/a%20b/c.root"),
        (b"50%", "/store/50%", "file:///data/50%25"),
        (b"a+b#c?d", "/store/a+b#c?d", "file:///data/a%2Bb%23c%3Fd"),
        ("daten/ä".encode(), "/store/daten/ä", "file:///data/daten/%C3%A4"),
        ("日本".encode(), "/store/日本", "file:///data/%E6%97%A5%E6%9C%AC"),
        (b"a~b_c-d.e", "/store/a~b_c-d.e", "file:///data/a~b_c-d.e"),
    ],
)
def test_a_path_has_an_lfn_as_it_stands_and_a_pfn_that_is_a_url(path: bytes, lfn: str, pfn: str) -> None:
    assert PLAIN.of(path) == (lfn, pfn, None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (b"a\xff", "is not UTF-8 at byte 1"),
        (b"a\nb", "control character (U+000A)"),
        ("a\x85".encode(), "control character (U+0085)"),
        (b"\xed\xa0\x80", "is not UTF-8"),
        (b"x" * 4096, "lfn is 4,103 bytes long"),
        ("é".encode() * 1000, "pfn is 6,013 bytes long"),
    ],
)
def test_what_can_be_no_name_is_said_in_words(path: bytes, said: str) -> None:
    with pytest.raises(NameInvalid) as caught:
        PLAIN.of(path)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("collection", "depth", "path", "expected"),
    [
        (None, 0, b"a/b/c", None),
        ("/set", 0, b"a/b/c", "/set"),
        (None, 1, b"a/b/c", "/store/a"),
        (None, 2, b"a/b/c", "/store/a/b"),
        (None, 3, b"a/b/c", "/store/a/b"),
        (None, 1, b"c", None),
        ("/set", 1, b"a/b/c", "/set#a"),
        ("/set", 2, b"a/b/c", "/set#a/b"),
        ("/set", 1, b"c", "/set"),
    ],
)
def test_directories_name_a_collection(collection: str | None, depth: int, path: bytes, expected: str | None) -> None:
    named = naming("/store/", "file:///data/", collection=collection, collection_depth=depth)
    assert named.of(path).collection == expected


@pytest.mark.parametrize(
    ("glob", "path", "excluded"),
    [
        ("*.tmp", b"a/b.tmp", True),
        ("*.tmp", b"a.tmp/b", False),  # the walk does not enter a.tmp, so it never asks
        ("*.tmp", b"a.tmp", True),
        ("*.tmp", b"a.TMP", False),
        ("a/*.tmp", b"a/b/c.tmp", True),
        ("a/*.tmp", b"b/a/c.tmp", False),
        (".*", b"a/.hidden", True),
        ("*\udcff", b"a\xff", True),
        ("b", b"a/bb", False),
    ],
)
def test_a_glob_without_a_slash_is_for_names_and_one_with_for_paths(glob: str, path: bytes, excluded: bool) -> None:
    assert naming("/", "file:///", excludes=[glob]).excludes(path) is excluded


@pytest.mark.parametrize(
    ("lfn_prefix", "pfn_prefix", "said"),
    [
        ("/store", "file:///data/", "lfn prefix '/store' ends in a letter or digit"),
        ("/store/", "file:///data", "pfn prefix 'file:///data' ends in a letter or digit"),
        ("/store/", "/data/", "is not the beginning of a URL"),
        ("/store/", "", "pfn prefix is empty"),
        ("/st\nore/", "file:///data/", "lfn prefix holds a control character"),
    ],
)
def test_a_prefix_that_would_make_wrong_names_is_refused(lfn_prefix: str, pfn_prefix: str, said: str) -> None:
    with pytest.raises(NameInvalid) as caught:
        naming(lfn_prefix, pfn_prefix)
    assert said in caught.value.detail


@pytest.mark.parametrize("prefix", ["", "/", "/store/", "cms:", "user.me:"])
def test_other_prefixes_are_taken_as_they_stand(prefix: str) -> None:
    assert naming(prefix, "root://host//").of(b"a") == (f"{prefix}a", "root://host//a", None)


def test_a_path_is_shown_on_one_line_of_bounded_length() -> None:
    assert shown(b"a\nb\xff") == r"'a\nb\\xff'"
    assert len(shown(b"x" * 4096)) < 210


@given(st.binary(min_size=1, max_size=60))
def test_every_path_has_names_of_which_it_can_be_told_or_none_at_all(path: bytes) -> None:
    assume(b"\0" not in path)
    try:
        found = PLAIN.of(path)
    except NameInvalid:
        with pytest.raises((UnicodeDecodeError, NameInvalid)):
            names.require(path.decode())
        return
    assert found.lfn.removeprefix("/store/").encode() == path
    encoded = found.pfn.removeprefix("file:///data/")
    assert unquote_to_bytes(encoded) == path
    assert encoded.isascii()
    assert not set(encoded) & set(' #?+"<>\\')


@given(st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=6), st.integers(1, 8))
def test_a_collection_is_the_beginning_of_its_files_lfns(parts: list[str], depth: int) -> None:
    path = "/".join(parts)
    found = Naming("/s/", "file:///", None, depth).of(path.encode())
    if len(parts) == 1:
        assert found.collection is None
    else:
        assert found.collection is not None
        assert found.lfn.startswith(found.collection + "/")
        assert found.collection.count("/") == min(depth, len(parts) - 1) + 1
