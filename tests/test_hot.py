"""What a request is by its bytes: known again only where nothing but its query and the length of its body differ."""

import pytest

from reploc.hot import HOT_BYTES_MAX, Answer, Framing, Head, Send, asked, whole_request

GET = b"GET /v1/replicas?lfn=/a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
POST = b"POST /v1/mappings HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nAccept: */*\r\n\r\n12345"


def nobody(query: bytes, body: bytes, send: Send) -> None:
    raise AssertionError("nothing is answered here")


def known(*requests: bytes, answer: Answer = nobody) -> dict[bytes, Head]:
    heads = {}
    for data in requests:
        request = whole_request(data)
        assert request is not None
        heads[request.target] = Head(request.before, request.after, answer)
    return heads


def test_another_name_and_another_body_are_known_again() -> None:
    heads = known(GET, POST)
    other = asked(heads, GET.replace(b"lfn=/a ", b"lfn=/b%20c&limit=2 "))
    assert other is not None
    assert (other.query, other.body) == (b"lfn=/b%20c&limit=2", b"")
    longer = asked(heads, POST.replace(b"h: 5", b"h: 12").replace(b"12345", b"x" * 12))
    assert longer is not None
    assert (longer.query, longer.body) == (b"", b"x" * 12)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GET + GET, id="two requests"),
        pytest.param(GET[:-1], id="a head that goes on"),
        pytest.param(GET.replace(b"Host: h", b"Host: i"), id="another header"),
        pytest.param(GET.replace(b"Host: h", b"Authorization: x\r\nHost: h"), id="one header more"),
        pytest.param(GET.replace(b"HTTP/1.1", b"HTTP/1.0"), id="another version"),
        pytest.param(GET.replace(b"GET", b"HEAD"), id="another method"),
        pytest.param(GET.replace(b"/v1/replicas", b"/v1/status"), id="another path"),
        pytest.param(GET.replace(b"?lfn=/a", b""), id="no query"),
        pytest.param(GET.replace(b"/a", b"/a b"), id="a blank in the query"),
        pytest.param(GET.replace(b"/a", b"/a#b"), id="a fragment"),
        pytest.param(GET.replace(b"/a", b"/\xc3\xa4"), id="bytes that are not encoded"),
        pytest.param(GET.replace(b"/a", b"/a?b"), id="a second question mark"),
        pytest.param(GET.replace(b"/a", b"/a\n"), id="a line end in the query"),
        pytest.param(GET.replace(b"/a", b"/" + b"a" * HOT_BYTES_MAX), id="longer than what is looked at"),
        pytest.param(POST[:-1], id="a body that goes on"),
        pytest.param(POST + b"6", id="more than the body"),
        pytest.param(POST.replace(b"h: 5", b"h: +5"), id="a length that is no number"),
        pytest.param(POST.replace(b"h: 5", b"h: "), id="no length"),
        pytest.param(POST.replace(b"mappings ", b"mappings?a=b "), id="a query where none was"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n\r\n", id="an empty line"),
    ],
)
def test_whatever_looks_different_is_not(data: bytes) -> None:
    assert asked(known(GET, POST), data) is None


@pytest.mark.parametrize(
    "data",
    [
        GET + b"G",
        GET[:-2],
        POST[:-1],
        POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        POST.replace(b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 5"),
        POST.replace(b"Content-Length: 5", b"Content-Length: five"),
        POST.replace(b"Content-Length: 5", b"Content-Length : 5"),
        GET.replace(b"Host: h\r\n", b"Host: h\n"),
    ],
)
def test_what_is_not_plainly_one_whole_request_is_none(data: bytes) -> None:
    assert whole_request(data) is None


def test_a_parser_holds_nothing_back_between_whole_requests_only() -> None:
    framing = Framing()
    for data in (GET, POST, POST[:-3], b"3", b"45", GET):
        framing.feed(data)
        assert framing.at_start == (not data.endswith((POST[-4:-3], b"3")))


@pytest.mark.parametrize("data", [GET[:-1], GET + POST, POST + b"6", b"nonsense"])
def test_what_is_not_clear_once_is_not_clear_again(data: bytes) -> None:
    framing = Framing()
    framing.feed(data)
    framing.feed(GET)
    assert not framing.at_start
