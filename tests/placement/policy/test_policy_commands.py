"""`reploc placement policy`: what it prints and how it ends."""

import json
from pathlib import Path

from click.testing import CliRunner
from policies import EXAMPLE

from placement.policy.variables import VARIABLES
from reploc.cli import cli


def run(*words: str):
    return CliRunner().invoke(cli, ["placement", "policy", *words])


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_a_check_prints_every_problem_of_every_file_and_ends_with_1(tmp_path: Path) -> None:
    good = written(tmp_path, "good", EXAMPLE)
    bad = written(tmp_path, "bad", "Partition P\nOn site.nam == X\nWhen never\nUntil never\nProtect\nDelete dataset.x")
    done = run("check", good, bad, str(tmp_path / "none"))
    assert done.exit_code == 1
    assert f"{good}: 0 errors, 0 warnings\n" in done.output
    assert f"{good}: needs producer popularity for dataset.usage_rank\n" in done.output
    assert f"{bad}:2:4: unknown variable 'site.nam' (did you mean 'site.name'?)" in done.output
    assert f"{bad}:6:8: unknown variable 'dataset.x'" in done.output
    assert f"{bad}: 2 errors" in done.output
    assert "No such file" in done.output


def test_a_check_of_right_policies_ends_with_0_and_warns_of_dead_lines(tmp_path: Path) -> None:
    dead = written(tmp_path, "dead", EXAMPLE + "Delete dataset.usage_rank > 300\n")
    done = run("check", "--json", dead)
    assert done.exit_code == 0
    report = json.loads(done.output)
    assert report["right"]
    assert report["producers"] == {"popularity": ["dataset.usage_rank"]}
    assert [(each["line"], each["warning"]) for each in report["problems"]] == [(13, True)]


def test_the_table_of_variables_has_every_one() -> None:
    assert [line.split("\t")[0] for line in run("variables").output.splitlines()] == list(VARIABLES)
    told = [json.loads(line) for line in run("variables", "--json").output.splitlines()]
    assert [each["name"] for each in told] == list(VARIABLES)
    assert all(each["sentence"].endswith(".") for each in told)
