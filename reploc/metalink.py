"""Verified copies of one LFN in the forms that download tools know: Metalink 4 documents and links in headers.

Metalink 4 is RFC 5854; the headers of a redirect are those of RFC 6249, with digests as in RFC 3230. URLs stand in the
order of the answer, the best first, percent-encoded where a PFN holds what a URL may not. Size and checksum are given
where all sites that know one agree.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar
from urllib.parse import quote
from xml.etree import ElementTree

from reploc import __version__
from reploc.errors import LfnUnknown, NotRedirectable, Unavailable
from reploc.wire import Resolved

T = TypeVar("T")

MEDIA = "application/metalink4+xml"
NAMESPACE = "urn:ietf:params:xml:ns:metalink"
#: Schemes that a client is redirected to: what its tools open by URL alone.
REDIRECT_SCHEMES = {"http", "https", "root", "roots"}
#: Links in the headers of one redirect: with ordinary URLs they stay within the 8 KiB of headers that clients accept.
LINKS_MAX = 16
#: Bytes of one URL in a header, so that a few of the longest PFNs do not exceed the same.
LINK_BYTES_MAX = 2_048

#: Our checksum algorithms as Metalink (IANA's names of hash functions) and RFC 3230 call them.
_HASHES = {"sha1": "sha-1", "sha256": "sha-256", "sha512": "sha-512"}
_DIGESTS = {"md5": "MD5", "sha1": "SHA", "sha256": "SHA-256", "sha512": "SHA-512"}
#: Characters that stand in a URL for themselves: RFC 3986's reserved ones, and the percent sign of what is encoded.
_URL_SAFE = "%/:?#[]@!$&'()*+,;=-._~"
#: What a name may hold and XML 1.0 may not.
_NOT_XML = re.compile("[\ufffe\uffff]")


def document(found: Resolved) -> bytes:
    """The Metalink document of a lookup, UTF-8. A lookup without copies is a file without URLs."""
    root = ElementTree.Element("metalink", xmlns=NAMESPACE)
    ElementTree.SubElement(root, "generator").text = f"reploc/{__version__}"
    file = ElementTree.SubElement(root, "file", name=_file_name(found.lfn))
    if not _NOT_XML.search(found.lfn):
        ElementTree.SubElement(file, "identity").text = found.lfn
    if (size := _agreed(copy.size for copy in found.replicas)) is not None:
        ElementTree.SubElement(file, "size").text = str(size)
    if (checksum := _agreed(copy.checksum for copy in found.replicas)) is not None:
        algorithm, _, digits = checksum.partition(":")
        ElementTree.SubElement(file, "hash", type=_HASHES.get(algorithm, algorithm)).text = digits
    for priority, url in enumerate(urls(found), start=1):
        ElementTree.SubElement(file, "url", priority=str(priority)).text = url
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def urls(found: Resolved) -> list[str]:
    """The PFNs of a lookup as URLs, the best first."""
    return [quote(pfn, safe=_URL_SAFE) for copy in found.replicas for pfn in copy.pfns]


def redirect(found: Resolved, described_by: str) -> dict[str, str]:
    """The headers of a redirect to the best copy; `described_by` is the address of the Metalink document.

    Raises LfnUnknown: there is no copy; Unavailable: none is known, and not all sites could be asked; NotRedirectable.
    """
    usable = [url for url in urls(found) if url.partition(":")[0].lower() in REDIRECT_SCHEMES]
    if not usable:
        raise _nowhere(found)
    links = [
        f'<{described_by}>; rel=describedby; type="{MEDIA}"',
        *(
            f"<{url}>; rel=duplicate; pri={rank}"
            for rank, url in enumerate(usable, start=1)
            if len(url) <= LINK_BYTES_MAX
        ),
    ]
    return {"Location": usable[0], "Link": ", ".join(links[: LINKS_MAX + 1]), **dict(_digest(found))}


def _nowhere(found: Resolved) -> LfnUnknown | Unavailable | NotRedirectable:
    lfn = repr(found.lfn[:200])
    if found.replicas:
        return NotRedirectable(f"no copy of {lfn} has a URL of {', '.join(sorted(REDIRECT_SCHEMES))}")
    if found.complete:
        return LfnUnknown(f"no site has a copy of {lfn}")
    lacking = ", ".join([*found.missing, *found.unreachable][:10]) or "an index node"
    return Unavailable(f"no copy of {lfn} is known, and not all that might know one were heard: {lacking}")


def _digest(found: Resolved) -> Iterator[tuple[str, str]]:
    checksum = _agreed(copy.checksum for copy in found.replicas)
    algorithm, _, digits = (checksum or "").partition(":")
    if algorithm in _DIGESTS:
        yield "Digest", f"{_DIGESTS[algorithm]}={base64.b64encode(bytes.fromhex(digits)).decode()}"
    elif algorithm == "adler32":
        yield "Digest", f"ADLER32={digits}"


def _agreed(values: Iterable[T | None]) -> T | None:
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None


def _file_name(lfn: str) -> str:
    """A relative path without steps upwards, as RFC 5854 section 4.1.2.1 wants it."""
    steps = [step for step in _NOT_XML.sub("\ufffd", lfn).split("/") if step not in ("", ".", "..")]
    return "/".join(steps) or "file"
