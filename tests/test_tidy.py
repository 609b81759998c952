"""The house rules that a machine can keep: file and function sizes, first lines, names of files, no leftovers."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("reploc", "lrc", "rli", "placement", "fileops", "consistency")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
EVERYTHING = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "loadtests").rglob("*.py"))]

#: When a file grows past this, look for the second noun in it.
FILE_LINES_MAX = 500
#: A function fits a screen.
FUNCTION_LINES_MAX = 60

LEFTOVERS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|pytest\.(mark\.)?(skip|xfail)|breakpoint\(")
#: The one place where a test may be passed over, with its reason.
NEEDED = ROOT / "tests" / "needed.py"
VAGUE = {"utils", "helpers", "common", "misc", "base", "manager"}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", EVERYTHING, ids=ids)
def test_a_file_is_of_a_size_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", EVERYTHING, ids=ids)
def test_a_function_fits_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", EVERYTHING, ids=ids)
def test_a_module_opens_with_what_it_is(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert said
    assert said.splitlines()[0].endswith((".", ":", ";")) or len(said.splitlines()) > 1


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_public_classes_and_functions_say_what_they_promise(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("path", EVERYTHING, ids=ids)
def test_a_file_is_named_by_a_noun(path: Path) -> None:
    assert path.stem not in VAGUE


@pytest.mark.parametrize("path", EVERYTHING, ids=ids)
def test_nothing_is_left_for_later(path: Path) -> None:
    if path not in (Path(__file__), NEEDED):
        assert not LEFTOVERS.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_no_text_is_executed_and_no_shell_is_started(path: Path) -> None:
    assert not re.search(r"\beval\(|\bexec\(|shell=True|os\.system\(", path.read_text(encoding="utf-8"))


def test_no_two_test_files_have_one_name() -> None:
    """They are imported by their names alone."""
    found = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in found if found.count(name) > 1}) == []
