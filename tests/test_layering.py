"""Layers: who may import whom, what pure modules may not touch, and which files meet the outside."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = {"lrc", "rli", "placement", "fileops", "consistency"}
PACKAGES = ("reploc", *sorted(SERVICES))

#: Modules that hold rules: no clock, no chance, no input or output. `now` and `rng` are their arguments.
PURE = {
    "consistency.compare",
    "consistency.intervals",
    "consistency.limits",
    "consistency.records",
    "consistency.report",
    "consistency.tally",
    "consistency.verdict",
    "reploc.changes",
    "reploc.actions",
    "reploc.client.batches",
    "reploc.client.demands",
    "reploc.attributes",
    "reploc.bloom",
    "reploc.digest",
    "reploc.errors",
    "reploc.metalink",
    "reploc.client.nearness",
    "reploc.client.locations",
    "reploc.members",
    "reploc.name_mapping",
    "reploc.names",
    "reploc.orders",
    "reploc.holdings",
    "reploc.listed",
    "reploc.hierarchy",
    "reploc.hot",
    "reploc.client.resolve",
    "reploc.client.round_trips",
    "reploc.questions",
    "reploc.key_sets",
    "reploc.partition",
    "reploc.ring",
    "reploc.roster",
    "reploc.squeezed",
    "reploc.totals",
    "reploc.security.foreign",
    "reploc.security.identity",
    "reploc.security.limits",
    "reploc.security.rules",
    "reploc.security.settings",
    "reploc.rls.access",
    "reploc.rls.bloom",
    "reploc.rls.feeding",
    "reploc.rls.protocol",
    "reploc.sites",
    "reploc.softstate",
    "reploc.wire",
    "reploc.difference",
    "reploc.sender.additions",
    "reploc.sender.form",
    "reploc.sender.key_log",
    "reploc.sender.news",
    "reploc.sender.placing",
    "lrc.rls.filter",
    "lrc.rls.indexes",
    "lrc.rls.owed",
    "reploc.sender.slot_keys",
    "reploc.sender.slot_tables",
    "lrc.slot_totals",
    "lrc.attributes",
    "lrc.values",
    "reploc.sender.deletions",
    "reploc.sender.difference_log",
    "lrc.mappings",
    "lrc.named",
    "lrc.tools.naming",
    "reploc.sender.node_progress",
    "reploc.sender.slot_filters",
    "reploc.sender.slot_lag",
    "reploc.sender.sender",
    "fileops.doors",
    "reploc.storage.faults",
    "fileops.lane",
    "fileops.links",
    "fileops.messages",
    "fileops.operation",
    "fileops.retries",
    "fileops.schedule",
    "placement.columns",
    "placement.assembly",
    "placement.dealer.application",
    "placement.dealer.balancer",
    "placement.dealer.deciding",
    "placement.dealer.explanation",
    "placement.dealer.group_reassign",
    "placement.dealer.plan",
    "placement.dealer.planning",
    "placement.dealer.plots",
    "placement.dealer.popularity",
    "placement.dealer.proposal",
    "placement.dealer.room",
    "placement.dealer.settings",
    "placement.dealer.stock",
    "placement.dealer.turns",
    "placement.dealer.undertaker",
    "placement.detox.application",
    "placement.detox.conditions",
    "placement.detox.cycle",
    "placement.detox.explanation",
    "placement.detox.leaving",
    "placement.detox.lines",
    "placement.detox.planning",
    "placement.detox.record",
    "placement.detox.runs",
    "placement.detox.settings",
    "placement.detox.simulation",
    "placement.detox.values",
    "placement.detox.vetoes",
    "placement.detox.world",
    "placement.inventory",
    "placement.items",
    "placement.known",
    "placement.messages",
    "placement.request_messages",
    "placement.observations",
    "placement.packs",
    "placement.policy.bits",
    "placement.policy.dates",
    "placement.policy.lexer",
    "placement.policy.parser",
    "placement.policy.partitions",
    "placement.policy.review",
    "placement.policy.source",
    "placement.policy.syntax",
    "placement.policy.texts",
    "placement.policy.values",
    "placement.policy.variables",
    "placement.schemas",
    "rli.filters",
    "rli.interned",
    "rli.key_sets",
    "rli.lfns",
    "rli.matrix",
    "rli.claims",
    "rli.pairs",
    "rli.texts",
    "rli.totals",
    "rli.completeness",
    "rli.decisions",
    "rli.former",
    "rli.foreign",
    "rli.registry",
    "rli.site",
    "rli.children",
    "rli.union",
    "reploc.sender.beneath",
}
IMPURE = {"aiohttp", "asyncio", "lmdb", "logging", "os", "random", "socket", "subprocess", "threading", "time"}

#: The modules of placement that keep something in its database.
PLACEMENT_SQL = {
    f"placement.{name}"
    for name in (
        "tables",
        "bulk",
        "database",
        "definitions",
        "datasets",
        "files",
        "intents",
        "locks",
        "orders",
        "requests",
        "growth",
        "history",
        "recording",
        "injection",
        "keeper",
        "server",
        "observed",
    )
}

#: What is outside → the files that meet it.
SEAMS = {
    "aiohttp": {
        "reploc.bodies",
        "reploc.connection",
        "reploc.relay",
        "reploc.routes",
        "reploc.service",
        "reploc.client.transport",
        "reploc.etcd",
        "reploc.storage.web",
    },
    "plotly": {"fileops.plots", "placement.pictures"},
    "matplotlib": {"placement.pictures"},
    "lmdb": {"lrc.layout", "lrc.catalog", "lrc.store", "lrc.whole", "rli.scratch"},
    "pybloom_live": {"reploc.bloom"},
    "uhashring": {"reploc.ring"},
    "mmh3": {"reploc.digest", "consistency.catalog"},
    "prometheus_client": {"reploc.telemetry"},
    "uvloop": {"reploc.service", "reploc.worker"},
    "jwt": {"reploc.security.tokens"},
    "cryptography": {
        "fileops.delegation",
        "reploc.pki",
        "reploc.security.tls",
        "reploc.security.tokens",
        "reploc.security.credentials",
    },
    "ssl": {"reploc.security.tls", "reploc.security.credentials"},
    "pyarrow": {"consistency.parts", "consistency.listers.dump"},
    "sqlalchemy": {
        "consistency.history",
        "reploc.sql",
        "fileops.tables",
        "fileops.journal",
        "fileops.submissions",
        "fileops.order_book",
        "fileops.records",
        "fileops.remains",
        "fileops.ledger",
        *PLACEMENT_SQL,
    },
    "subprocess": {"lrc.whole", "reploc.demo.processes"},
}


def paths() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


PATHS = paths()


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            # A package whose modules are imported from it is not used itself.
            yield from names if all(name in PATHS for name in names) else [node.module, *names]


MODULES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}


@pytest.mark.parametrize("name", MODULES)
def test_siblings_do_not_know_each_other(name: str) -> None:
    package = name.partition(".")[0]
    forbidden = SERVICES - {package} if package in SERVICES else SERVICES
    assert not {module.partition(".")[0] for module in imported(MODULES[name])} & forbidden


def test_pure_modules_exist() -> None:
    assert set(MODULES) >= PURE


@pytest.mark.parametrize("name", sorted(PURE))
def test_rules_touch_no_clock_no_chance_and_no_outside(name: str) -> None:
    assert not {module.partition(".")[0] for module in imported(MODULES[name])} & IMPURE


@pytest.mark.parametrize("outside", SEAMS)
def test_each_outside_thing_is_met_in_its_named_files(outside: str) -> None:
    users = {name for name, tree in MODULES.items() if outside in {m.partition(".")[0] for m in imported(tree)}}
    assert users <= SEAMS[outside]


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {name: {module for module in imported(tree) if module in MODULES} for name, tree in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above, name])
        if name not in done:
            for module in graph[name] - {name}:
                visit(module, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_imports_stand_at_the_top(name: str) -> None:
    """Save for optional extras, which are imported where they are used."""
    optional = {"fsspec", "matplotlib", "zstandard"}
    for function in ast.walk(MODULES[name]):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            assert {module.partition(".")[0] for module in imported(function)} <= optional, f"{name}.{function.name}"


def test_only_declared_packages_are_imported() -> None:
    declared = {
        "aiohttp", "bitarray", "click", "cryptography", "fsspec", "jwt", "lmdb", "matplotlib", "mmh3",
        "msgspec", "numpy", "plotly", "polars", "prometheus_client", "pyarrow", "pybloom_live", "rich", "sqlalchemy",
        "uhashring", "uvloop", "yarl", "zstandard",
    }  # fmt: skip
    outside = {module.partition(".")[0] for tree in MODULES.values() for module in imported(tree)}
    assert outside - set(PACKAGES) - {"configs"} - sys.stdlib_module_names <= declared
