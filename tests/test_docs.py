"""The docs are true: every route, command, setting file, module and error code that they name exists, and back."""

import ast
import json
import re
from pathlib import Path

import click
import pytest

from consistency.settings import ConsistencySettings
from fileops.settings import FileopsSettings
from lrc.settings import LrcSettings
from placement.settings import PlacementSettings
from reploc import config, errors
from reploc.cli import cli
from reploc.config import Settings
from rli.settings import RliSettings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
#: Every page for people, with what its links begin at.
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CHANGELOG.md",
    ROOT / "THREATS.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PACKAGES = ("reploc", "lrc", "rli", "placement", "fileops", "consistency")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def routes_in_code() -> set[str]:
    """The routes as their services name them, read from the source so that no daemon is needed."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("get", "post"):
                path_of_route = node.args[0]
                if isinstance(path_of_route, ast.Constant) and isinstance(path_of_route.value, str):
                    found.add(f"{node.func.id.upper()} {path_of_route.value}")
    return found


def test_the_docs_name_every_route_and_no_other() -> None:
    named = {re.sub(r"\?.*", "", route) for route in re.findall(r"`((?:GET|POST) /[^`{ ]*)", HTTP)}
    assert named == routes_in_code()


def commands(group: click.Group, prefix: str) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix} {name}")
        else:
            found[f"{prefix} {name}"] = command
    return found


COMMANDS = commands(cli, "reploc")


def test_every_command_that_the_docs_show_exists_with_its_options() -> None:
    shown = [line for page in PAGES for line in re.findall(r"^(reploc .+)$", page.read_text("utf-8"), re.MULTILINE)]
    assert len(shown) > 8
    for line in shown:
        words = line.split()
        name = next(" ".join(words[:n]) for n in (4, 3, 2) if " ".join(words[:n]) in COMMANDS)
        options = {option for param in COMMANDS[name].params for option in param.opts}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_every_command_says_what_it_does_and_its_exit_statuses() -> None:
    for name, command in COMMANDS.items():
        said = command.get_help(click.Context(command))
        assert "Exit status" in said, name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lrc", LrcSettings),
        ("rli", RliSettings),
        ("fileops", FileopsSettings),
        ("placement", PlacementSettings),
        ("consistency", ConsistencySettings),
    ],
)
def test_the_files_under_configs_are_the_defaults(name: str, kind: type[Settings]) -> None:
    path = ROOT / "configs" / f"{name}.toml"
    assert path.read_text(encoding="utf-8") == config.example(kind)
    assert config.load(kind, path) == kind()


def modules_in_rooms() -> set[Path]:
    """The modules that the drawing of the rooms names: below `package/`, `  folder/`, left of what is said of them."""
    found = set()
    package = folder = Path()
    for line in ARCHITECTURE.split("## The rooms")[1].split("```")[1].splitlines():
        names = re.split(r" {2,}", line.strip())[0]
        if re.fullmatch(r"\w+/", line):
            package = folder = Path(line)
        elif re.fullmatch(r"  \w+/", line):
            folder = package / names
        elif re.match(r"(  |    )\w", line):
            room = folder if line.startswith("    ") else package
            found |= {room / f"{name}.py" for name in re.findall(r"\w+", names)}
    return found


def test_the_architecture_names_every_module_in_its_room() -> None:
    there = {
        path.relative_to(ROOT)
        for path in SOURCES
        if path.stem not in ("__init__", "__main__") and not path.stem.endswith(("_command", "_commands"))
    }
    assert modules_in_rooms() == there


def test_every_page_that_the_sources_cite_can_be_read_here() -> None:
    """Nobody who has this tree alone is sent to a document that is not in it."""
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "loadtests").rglob("*.py")]:
        for name in re.findall(r"`([\w/]+\.md)`", path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{path}: {name}"


def test_every_file_that_the_docs_name_exists() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|toml))`", text):
            assert (ROOT / name).exists(), name
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), target


def test_the_drawing_of_the_error_tree_has_every_error() -> None:
    drawing = errors.__doc__ or ""
    for kind in errors.ReplocError.by_code.values():
        assert kind.__name__ in drawing, kind.__name__


def test_error_codes_are_unique_and_their_statuses_those_of_http() -> None:
    tree = ast.parse((ROOT / "reploc/errors.py").read_text(encoding="utf-8"))
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(errors.ReplocError.by_code) == len(classes) - 2  # Problem and the root are no errors to be met
    assert all(400 <= kind.status < 600 for kind in errors.ReplocError.by_code.values())


def test_the_modules_that_docstrings_point_to_exist() -> None:
    places = "|".join([*PACKAGES, "tests"])
    for path in SOURCES:
        for name in re.findall(rf"`((?:{places})/[a-z_/]+\.py)`", path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{path}: {name}"


def metrics_in_code() -> set[str]:
    """The metrics of all daemons under the names that /metrics gives them, read from the source."""
    found = {"reploc_request_seconds"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first, suffix = node.args[0], {"counter": "_total", "watch": "", "watch_each": ""}
                if node.func.attr in suffix and isinstance(first, ast.Constant):
                    found.add(f"{first.value}{suffix[node.func.attr]}")
    return found


def test_every_metric_of_the_dashboard_exists() -> None:
    board = json.loads((ROOT / "configs" / "reploc-softstate.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for query in asked for name in re.findall(r"reploc_[a-z_]+", query)}
    assert len(named) > 8
    assert named <= metrics_in_code()


def test_the_makefile_installs_every_package_that_a_test_asks_for() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    listed = re.search(r"^PACKAGES := (.+)$", makefile, re.MULTILINE)
    assert listed is not None
    asked = set()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r"apt-get install ([a-z0-9-]+)", text))
        asked |= set(re.findall(r'needs_command\("[^"]+", "([^"]+)"\)', text))
    assert asked
    assert asked <= set(listed[1].split())


def test_every_fault_that_the_docs_tell_of_is_made_by_the_test_that_they_name() -> None:
    there = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    rows = [
        line
        for page in ("faults.md", "fileops.md")
        for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
        if "| `test_" in line
    ]
    assert len(rows) > 30
    for row in rows:
        assert set(re.findall(r"`(test_[a-z0-9_]+)`", row)) <= there, row
