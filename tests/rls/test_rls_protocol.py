"""The protocol of the Globus RLS as bytes: requests however they are cut, and everything that is no request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc.rls.protocol import (
    FILTER_BYTES_MAX,
    ITEMS_MAX,
    METHODS,
    TOKEN_BYTES_MAX,
    Code,
    Refused,
    Request,
    RequestReader,
    listing,
    name,
    number,
    refusal,
    values,
)

TOKENS = st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"."))
FIRSTS = TOKENS.filter(bool)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Request, bytes]:
    """A request, and its bytes on the wire."""
    method = draw(st.sampled_from(sorted(METHODS)))
    shape = METHODS[method]
    parameters = [draw(TOKENS) for _ in range(shape.parameters)]
    raw = b""
    if shape.raw:
        raw = draw(st.binary(min_size=1, max_size=100))
        parameters[1] = str(len(raw) * 8 - draw(st.integers(1, 8))).encode()
    items = []
    if shape.item:
        rest = [TOKENS] * (shape.item - 1)
        items = draw(st.lists(st.tuples(FIRSTS, *rest), max_size=5))
    flat = [token for item in items for token in item] + ([b""] if shape.item else [])
    spelled = draw(st.sampled_from([method, method.upper()]))
    wire = b"".join(token + b"\0" for token in [spelled, *parameters, *flat]) + raw
    return Request(method, tuple(parameters), tuple(items), raw), wire


@given(st.lists(requests(), max_size=6), st.data())
def test_requests_are_read_however_their_bytes_are_cut(asked: list[tuple[Request, bytes]], data: st.DataObject) -> None:
    wire = b"".join(raw for _, raw in asked)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader, found = RequestReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        found += list(reader.feed(wire[start:end]))
    assert found == [request for request, _ in asked]


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_bytes_do_anything_but_ask_or_be_refused(pieces: list[bytes]) -> None:
    reader = RequestReader()
    try:
        for piece in pieces:
            for request in reader.feed(piece):
                assert request.method in METHODS
    except Refused as refused:
        assert refused.fatal
        assert refused.code in (Code.METHOD_UNKNOWN, Code.BAD_ARGUMENT)


@pytest.mark.parametrize(
    ("wire", "code", "words"),
    [
        (b"frobnicate\0", Code.METHOD_UNKNOWN, "frobnicate"),
        (b"\0", Code.METHOD_UNKNOWN, ""),
        (b"a" * (TOKEN_BYTES_MAX + 1), Code.BAD_ARGUMENT, "without a NUL"),
        (b"lrc_create\0" + b"a" * (TOKEN_BYTES_MAX + 1) + b"\0p\0", Code.BAD_ARGUMENT, "without a NUL"),
        (b"lrc_create_bulk\0" + b"a" * (TOKEN_BYTES_MAX + 1) + b"\0p\0", Code.BAD_ARGUMENT, "without a NUL"),
        (b"lrc_get_pfn_bulk\0" + b"a\0" * (ITEMS_MAX + 1), Code.BAD_ARGUMENT, f"{ITEMS_MAX} items"),
        (b"rli_updatebf\0u\0-1\x003\x009\0", Code.BAD_ARGUMENT, "bits"),
        (b"rli_updatebf\0u\0%d\x003\x009\0" % (1 << 31), Code.BAD_ARGUMENT, "bits"),
    ],
)
def test_what_is_no_request_is_refused_for_good(wire: bytes, code: Code, words: str) -> None:
    with pytest.raises(Refused) as caught:
        list(RequestReader().feed(wire))
    assert caught.value.fatal
    assert caught.value.code is code
    assert words in caught.value.detail


def test_the_largest_bulk_request_is_taken() -> None:
    wire = b"lrc_get_pfn_bulk\0" + b"a\0" * ITEMS_MAX + b"\0"
    [request] = RequestReader().feed(wire)
    assert len(request.items) == ITEMS_MAX


def test_the_largest_number_of_bits_is_within_the_bound_of_bytes() -> None:
    assert FILTER_BYTES_MAX >= (1 << 31) // 8 + 1


def test_replies_are_those_of_the_protocol() -> None:
    assert listing([("a", "p"), ("b", "")]) == b"0\0a\0p\0b\0\0\0"
    assert listing([]) == b"0\0\0"
    assert values(["1.1.5", 95]) == b"0\x001.1.5\x0095\0"
    assert refusal(Refused(Code.LFN_UNKNOWN, "lfnZ")) == b"12\0lfnZ\0"
    assert refusal(Refused(Code.LFN_UNKNOWN, "é" * 2_000)) == b"12\0" + "é".encode() * 500 + b"\0"


@pytest.mark.parametrize("token", [b"x", b"-1", b"+1", b" 1", b"1.0", b"2147483648", b"9" * 30, "٣".encode()])
def test_a_number_that_is_none_is_refused(token: bytes) -> None:
    with pytest.raises(Refused) as caught:
        number(token, "limit")
    assert caught.value.code is Code.BAD_ARGUMENT


def test_an_absent_number_is_zero() -> None:
    assert (number(b"", "limit"), number(b"0007", "limit"), number(b"2147483647", "limit")) == (0, 7, 2**31 - 1)


@pytest.mark.parametrize("token", [b"", b"\xff", b"a\x01", b"\xed\xa0\x80", b"a" * 4097])
def test_a_name_that_is_none_is_refused(token: bytes) -> None:
    with pytest.raises(Refused) as caught:
        name(token, "lfn")
    assert caught.value.code is Code.BAD_ARGUMENT
