"""The demo: its judgement can fail, its lists are checked line by line, and the story ends well on a small list."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from reploc.cli import cli
from reploc.client.resolve import Lookup
from reploc.demo import files, listing
from reploc.demo.grid import SITES
from reploc.demo.truth import Expected, Verdict, judged, listed, opened
from reploc.errors import ConfigInvalid
from reploc.wire import SiteReplica

LFN = "/demo/a"
#: Seconds that a demo may take, which is done in one or two minutes where nothing else runs.
PATIENCE_S = 600.0


def found(*replicas: SiteReplica, incomplete: bool = False, missing: tuple[str, ...] = ()) -> Lookup:
    return Lookup({LFN: list(replicas)}, [LFN] if incomplete else [], list(missing), {}, {})


def at(site: str, pfn: str, size: int | None = 3, checksum: str | None = "adler32:024d0127") -> SiteReplica:
    return SiteReplica(site, "http://127.0.0.1:1", size, checksum, [pfn])


@pytest.fixture
def copy(tmp_path: Path) -> str:
    path = tmp_path / "a file"
    path.write_bytes(b"abc")
    return path.as_uri()


def said(truth: Expected, lookup: Lookup, down: frozenset[str] = frozenset()) -> str:
    verdict = judged({LFN: truth}, lookup, down, opened)
    assert verdict.right + len(verdict.wrong) == 1
    return verdict.wrong[0] if verdict.wrong else ""


def test_a_lookup_that_lists_exactly_what_is_there_is_right(copy: str) -> None:
    assert said(Expected(3, "adler32:024d0127", {"s": copy}), found(at("s", copy))) == ""


def test_every_way_to_be_wrong_is_told(copy: str, tmp_path: Path) -> None:
    truth = Expected(3, "adler32:024d0127", {"s": copy})
    assert "was not found" in said(truth, found())
    assert "does not exist" in said(truth, found(at("s", copy), at("t", copy)))
    assert "is said to have 4 bytes" in said(truth, found(at("s", copy, size=4)))
    assert "not complete, for u" in said(truth, found(at("s", copy), incomplete=True, missing=("u",)))
    gone = (tmp_path / "gone").as_uri()
    assert "No such file" in said(Expected(3, "adler32:024d0127", {"s": gone}), found(at("s", gone)))
    (tmp_path / "a file").write_bytes(b"abd")
    assert "holds 3 bytes" in said(truth, found(at("s", copy)))


def test_a_site_that_is_down_must_be_named(copy: str) -> None:
    truth, down = Expected(3, "adler32:024d0127", {"s": copy, "t": copy}), frozenset(["t"])
    assert "t is down, and the answer does not say so" in said(truth, found(at("s", copy)), down)
    assert said(truth, found(at("s", copy), incomplete=True, missing=("t",)), down) == ""


def test_a_claim_that_does_not_hold_is_counted_as_wrong() -> None:
    verdict = Verdict()
    assert (verdict.claim(True, "one is one"), verdict.claim(False, "one is two")) == (True, False)
    assert (verdict.right, verdict.wrong) == (1, ["it does not hold that one is two"])


def test_copies_are_dealt_to_one_two_and_three_sites() -> None:
    chosen = files.chosen(SITES, 300)
    assert len(chosen) == 300
    assert {len(file.sites) for file in chosen} == {1, 2, 3}
    assert all(file.source.stat().st_size == file.size for file in chosen)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("/a", ":2: 1 column; expected lfn, size, checksum and collection"),
        ("/a\t1", ":2: 2 columns; expected lfn, size, checksum and collection"),
        ("/a\tmany\t\t", ":2: size is 'many'; expected a number of bytes, or nothing"),
        ("/a\t-1\t\t", ":2: size is '-1'; expected a number of bytes, or nothing"),
        ("\t1\t\t", ":2: lfn is empty"),
        ("/a\t1\tadler32:1\t", ":2: adler32 checksum needs 8"),
        ("/a\t1\t\t\n/a\t1\t\t", ":3: /a stands twice"),
        ("/a\t1\t\t\n\xff", "is not UTF-8"),
    ],
)
def test_a_list_that_is_wrong_is_named_by_its_line(tmp_path: Path, line: str, wrong: str) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes(f"lfn\tsize\tchecksum\tdataset\n{line}\n".encode("latin-1"))
    with pytest.raises(ConfigInvalid) as caught:
        listing.read(path, SITES)
    assert wrong in caught.value.detail


def test_a_list_becomes_the_truth_with_unknown_where_nothing_stands(tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    path.write_text("/a b\t5\tADLER32:0000000A\t/d#1\n/b\t\t\t\n")
    truth = listing.truth(listing.read(path, SITES))
    assert (truth["/a b"].size, truth["/a b"].checksum) == (5, "adler32:0000000a")
    assert (truth["/b"].size, truth["/b"].checksum) == (None, None)
    assert all(1 <= len(expected.pfns) <= 3 for expected in truth.values())


def test_a_directory_that_is_there_is_not_used(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["demo", "--directory", str(tmp_path)])
    assert (result.exit_code, "is there already" in result.output) == (2, True)


#: What each example system of the Giggle paper, "Implementation approaches", has looked up: all once, and again
#: without a node.
EXAMPLES = {"rls1": 500, "rls2": 1000, "rls3": 500, "rls4": 1000, "rls5": 1000}


@pytest.mark.timeout(1.1 * PATIENCE_S)
@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_system_is_started_by_one_command(tmp_path: Path, name: str) -> None:
    config = Path(__file__).parents[1] / "configs" / f"{name}.toml"
    told = played(tmp_path, "--config", str(config))
    assert f"{EXAMPLES[name]:,} of {EXAMPLES[name]:,} lookups and checks were right" in told


def test_an_index_without_nodes_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "index.toml").write_text("[index]\nnodes = []\n")
    result = CliRunner().invoke(cli, ["demo", "--config", str(tmp_path / "index.toml")])
    assert (result.exit_code, "names no index.nodes" in result.output) == (2, True)


def played(tmp_path: Path, *options: str) -> str:
    """What the demo tells of a small list of files, all of it right."""
    path = tmp_path / "list.tsv"
    path.write_text("".join(f"/store/run{n}/file {n}.root\t{n}\tadler32:{n:08x}\t/d#{n % 7}\n" for n in range(500)))
    told = subprocess.run(
        [sys.executable, "-m", "reploc", "demo", "--data", str(path), "--directory", str(tmp_path / "grid"), *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.timeout(1.1 * PATIENCE_S)
@pytest.mark.parametrize("options", [[], ["--tls"]], ids=["plain", "tls"])
def test_the_story_is_told_to_its_end_and_every_lookup_is_right(tmp_path: Path, options: list[str]) -> None:
    told = played(tmp_path, *options)
    assert "3,304 of 3,304 lookups and checks were right" in told
    assert listed("", Expected(None, None, {})) == ""
