"""Every program of the figures runs, at toy scale, and finds what it is there for."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from needed import needed, needs_command

from loadtests import figures, machine, postgres, promises
from loadtests.report import Report

#: The commands that a program cannot do without, and the Debian packages that have them.
WITH_WRK = ("lrc_lookups", "rli_lookups", "whole_world", "small_sites", "catalog_curve", "tls_and_tokens", "workers")
NEEDS = {name: {"wrk": "wrk"} for name in WITH_WRK}
NEEDS["catalog_peers"] = {"redis-server": "redis-server"}
NEEDS["file_operations"] = {"xrootd": "xrootd-server", "xrdcp": "xrootd-client"}
#: The Debian packages of servers that are not on the path.
POSTGRES = "PostgreSQL: apt-get install postgresql"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.mark.parametrize("name", figures.NAMES)
def test_a_program_measures_what_it_should(name: str, tmp_path: Path, stores: Path) -> None:
    for command, package in NEEDS.get(name, {}).items():
        needs_command(command, package)
    if name in ("attributes", "catalog_peers"):
        needed(postgres.installed(), POSTGRES)
    said = ["--toy", "--only", name, "--stores", str(stores), "--results", str(tmp_path)]
    assert figures.main(said) == 0
    report = msgspec.json.decode((tmp_path / "toy.json").read_bytes(), type=Report)
    assert [part.program for part in report.parts] == [name]
    assert report.results or report.curves
    promised = [one for one in promises.PROMISES if one.program == name]
    assert {bar.figure for one in promised for bar in one.bars} <= {result.figure.name for result in report.results}
    assert {curve for one in promised for curve in one.curves} <= {curve.name for curve in report.curves}
    for result in report.results:
        assert all(value >= 0 for value in result.runs), result
    for curve in report.curves:
        assert (tmp_path / f"toy-{curve.name}.svg").exists()
        assert all(y > 0 for line in curve.lines for _, y in line.points), curve


def test_the_scenario_of_the_load_test_runs(stores: Path) -> None:
    command = [sys.executable, "-m", "loadtests.scenario", "--toy", "--stores", str(stores)]
    done = subprocess.run(command, cwd=machine.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "scenario, queries held" in done.stdout
