"""Copies as Metalink 4 (RFC 5854) and as a redirect with links (RFC 6249), read back by standard parsers."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reploc import metalink, names
from reploc.errors import LfnUnknown, NotRedirectable, Unavailable
from reploc.wire import Resolved, SiteReplica

SPACE = {"m": metalink.NAMESPACE}


def copy(site: str, *pfns: str, size: int | None = 7, checksum: str | None = "adler32:0000002a") -> SiteReplica:
    return SiteReplica(site, f"http://{site}", size, checksum, list(pfns))


def found(*copies: SiteReplica, lfn: str = "/data/run 1.root", complete: bool = True) -> Resolved:
    return Resolved(lfn, complete, [] if complete else ["FAR"], [], list(copies))


def parsed(said: Resolved) -> ElementTree.Element:
    root = ElementTree.fromstring(metalink.document(said))
    assert root.tag == f"{{{metalink.NAMESPACE}}}metalink"
    (file,) = root.findall("m:file", SPACE)
    return file


def test_a_document_names_the_file_its_size_its_checksum_and_its_urls_in_order() -> None:
    file = parsed(found(copy("A", "https://a/1", "root://a//1"), copy("B", "https://b/1")))
    assert file.get("name") == "data/run 1.root"
    assert file.findtext("m:identity", namespaces=SPACE) == "/data/run 1.root"
    assert file.findtext("m:size", namespaces=SPACE) == "7"
    checksum = file.find("m:hash", SPACE)
    assert checksum is not None
    assert (checksum.get("type"), checksum.text) == ("adler32", "0000002a")
    urls = [(url.get("priority"), url.text) for url in file.findall("m:url", SPACE)]
    assert urls == [("1", "https://a/1"), ("2", "root://a//1"), ("3", "https://b/1")]


def test_what_sites_do_not_agree_on_is_left_out() -> None:
    file = parsed(found(copy("A", "https://a/1", checksum="sha256:" + "0" * 64), copy("B", "https://b/1", size=8)))
    assert file.find("m:size", SPACE) is None
    assert file.find("m:hash", SPACE) is None


def test_a_file_name_never_leads_out_of_a_directory() -> None:
    assert parsed(found(lfn="/../../etc/./passwd")).get("name") == "etc/passwd"
    assert parsed(found(lfn="/..")).get("name") == "file"


@given(st.text(min_size=1, max_size=50).filter(lambda text: names.fault(text) is None))
def test_any_name_makes_a_document_that_an_xml_parser_reads(name: str) -> None:
    file = parsed(found(copy("A", name), lfn=name))
    url = file.findtext("m:url", namespaces=SPACE)
    assert url is not None
    assert url.isascii()
    assert file.findtext("m:identity", name, SPACE) == name


def test_a_redirect_goes_to_the_first_copy_that_tools_can_open_and_links_all() -> None:
    said = found(copy("A", "file:///a"), copy("B", "root://b//a b", "https://b/<1>"))
    headers = metalink.redirect(said, "/v1/replicas?lfn=x")
    assert headers["Location"] == "root://b//a%20b"
    assert headers["Link"] == (
        '</v1/replicas?lfn=x>; rel=describedby; type="application/metalink4+xml", '
        "<root://b//a%20b>; rel=duplicate; pri=1, <https://b/%3C1%3E>; rel=duplicate; pri=2"
    )
    assert headers["Digest"] == "ADLER32=0000002a"


def test_a_digest_is_that_of_rfc_3230() -> None:
    said = found(copy("A", "https://a/1", checksum="md5:" + "00" * 16))
    assert metalink.redirect(said, "/x")["Digest"] == "MD5=AAAAAAAAAAAAAAAAAAAAAA=="


def test_links_are_bounded() -> None:
    said = found(copy("A", *(f"https://a/{number}" for number in range(1_000))))
    assert metalink.redirect(said, "/x")["Link"].count("rel=duplicate") == metalink.LINKS_MAX


def test_a_redirect_without_a_copy_says_whether_there_is_none_or_nobody_knows() -> None:
    with pytest.raises(LfnUnknown, match="no site has a copy"):
        metalink.redirect(found(), "/x")
    with pytest.raises(Unavailable, match="not all that might know one were heard: FAR"):
        metalink.redirect(found(complete=False), "/x")
    with pytest.raises(NotRedirectable, match="http, https, root, roots"):
        metalink.redirect(found(copy("A", "file:///a")), "/x")
