"""What "fast" means: what the project promises of its speed and memory on two cores, and which program shows each.

Rows without a bar are shown by plots. A bar stands twice on purpose, here with the words of its promise and in the
figure of its program: a test holds them together, and every program to showing what is promised of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loadtests.figure import Result, bound, shown


@dataclass(frozen=True)
class Bar:
    """A figure of a program, by its name, and what it must reach, in the figure's unit."""

    figure: str
    bar: float


@dataclass(frozen=True)
class Promise:
    """One row: in words, the program that shows it, its bars, and its plots by name."""

    what: str
    program: str
    bars: tuple[Bar, ...] = ()
    curves: tuple[str, ...] = ()


PROMISES = (
    Promise(
        "LRC, one LFN per request, 10 million mappings, one process",
        "lrc_lookups",
        (Bar("LRC, one LFN per request", 15_000),),
    ),
    Promise(
        "LRC, bulk lookup of 1,000",
        "lrc_lookups",
        (Bar("LRC, bulk lookup of 1,000 in JSON", 150_000), Bar("LRC, bulk lookup of 1,000 in MessagePack", 250_000)),
    ),
    Promise(
        "LRC, durable put, one mapping per request, 64 clients",
        "lrc_writes",
        (Bar("LRC, durable put, one mapping per request, 64 clients", 8_000),),
    ),
    Promise(
        "LRC, durable bulk of 1,000, into an empty catalog and at 10 million",
        "lrc_writes",
        (
            Bar("LRC, durable bulk of 1,000 into an empty catalog", 100_000),
            Bar("LRC, durable bulk of 1,000, a block each", 30_000),
        ),
    ),
    Promise(
        "full update of a site of 1 million LFNs, from store to answering at the node",
        "full_update",
        (Bar("full update, from store to answering at the node", 1.5), Bar("full update, on the wire at 1e-5", 3.5)),
    ),
    Promise(
        "freshness: registered at the LRC, seen at the index, 200 changes/s",
        "freshness",
        (Bar("freshness, registered at the LRC to seen at the index, p99", 1.5),),
    ),
    Promise(
        "RLI, 1,000 sites, 3 replicas per LFN, one LFN per request, one process",
        "rli_lookups",
        (Bar("RLI, one LFN per request", 12_000), Bar("RLI, one LFN per request, p99", 10)),
    ),
    Promise(
        "RLI, the same, bulk lookup of 1,000",
        "rli_lookups",
        (Bar("RLI, bulk lookup of 1,000 in JSON", 120_000), Bar("RLI, bulk lookup of 1,000 in MessagePack", 200_000)),
    ),
    Promise(
        "the framework paper's target: 1,000 queries/s with 200 updates/s",
        "mixed",
        (
            Bar("mixed, queries held", 1_000),
            Bar("mixed, updates held", 200),
            Bar("mixed, mean of queries", 2),
            Bar("mixed, worst of queries", 1_000),
        ),
    ),
    Promise(
        "the framework paper's whole world (200 sites, 50 million LFNs, 500 million replicas) in one node",
        "whole_world",
        (
            Bar("whole world, resident memory of the node", 3),
            Bar("whole world, false positives among sites that lack the LFN", 1e-5),
        ),
    ),
    Promise(
        "update time against catalog size and against the number of catalogs sending at once",
        "update_curves",
        curves=("names", "senders"),
    ),
    Promise("what an answer costs by the number of sites", "sites_curve", curves=("sites",)),
    Promise(
        "100,000 small sites in one node, each renewed every 30 s",
        "small_sites",
        (Bar("small sites, renewals taken", 3_333),),
        ("small-sites", "small-sites-memory"),
    ),
    Promise("what a catalog does by its size", "catalog_curve", curves=("catalog",)),
    Promise("lookups by the number of processes, LRC and RLI", "workers", curves=("workers",)),
    Promise(
        "a lookup from the top of a hierarchy, and freshness there, by levels",
        "hierarchy",
        curves=("hierarchy-lookup", "hierarchy-freshness"),
    ),
    Promise("each form of soft state, in bytes and in time", "forms", curves=("form-bytes", "form-queries")),
    Promise(
        "the RLS port over ten connections, one process",
        "rls_port",
        (
            Bar("RLS port, LRC lookups over ten connections", 40_000),
            Bar("RLS port, RLI lookups over ten connections", 30_000),
        ),
    ),
    Promise(
        "the false-positive rate, at every fill level and on sequential names",
        "filters",
        (Bar("filter, false positives measured", 1e-5),),
    ),
    Promise(
        "10 million (site, block) pairs of 5 million names, as totals",
        "block_totals",
        (Bar("totals of collections, resident", 1.5), Bar("totals of collections, pulled as Arrow, all sites", 30)),
    ),
    Promise(
        "inventory of 10 million block replicas",
        "inventory_load",
        (
            Bar("inventory, loaded from SQL", 10),
            Bar("inventory, loaded from Parquet", 1),
            Bar("inventory, observations lost, pulled from the index", 30),
            Bar("inventory, the most memory of a process that loaded it from SQL", 2),
        ),
    ),
    Promise(
        "detox, 1 million dataset replicas, 33 policy lines, 60 sites, all iterations",
        "detox",
        (Bar("detox, a cycle of 33 lines", 10), Bar("detox, a cycle of 4,033 lines", 10)),
        ("detox-year",),
    ),
    Promise(
        "dealer, 1 million dataset replicas, 60 sites, all plugins",
        "dealer",
        (Bar("dealer, a cycle with all plugins", 10),),
    ),
    Promise(
        "file operations: journal and schedule",
        "file_operations",
        (
            Bar("file operations through journal and schedule", 2_000),
            Bar("HTTP third-party copies of small files", 300),
            Bar("memory of the service with operations waiting", 500),
        ),
    ),
    Promise(
        "consistency, 10 million paths compared (from dumps)",
        "consistency_check",
        (
            Bar("consistency, dumps compared", 60),
            Bar("consistency, memory of the comparison", 300),
            Bar("consistency, `posix` listing", 150_000),
        ),
    ),
)


def table(found: Mapping[str, Iterable[Result]]) -> list[str]:
    """The promises as a Markdown table; `found` are the results of each program that has run."""
    head = ["| what | figure | bar | measured | |", "|---|---|---:|---:|---|"]
    return head + [row for promise in PROMISES for row in _rows(promise, found)]


def _rows(promise: Promise, found: Mapping[str, Iterable[Result]]) -> Iterable[str]:
    results = found.get(promise.program)
    for bar in promise.bars:
        measured = [result for result in results or () if result.figure.name == bar.figure]
        for result in measured:
            value = f"{shown(result.value)} {result.figure.unit} ({result.scale})"
            yield f"| {promise.what} | {bar.figure} | {bound(result.figure)} | {value} | {result.verdict} |"
        if not measured:
            yield f"| {promise.what} | {bar.figure} | {shown(bar.bar)} | | not measured: {promise.program} |"
    if promise.curves:
        said = "" if results is None else "plotted"
        yield f"| {promise.what} | plot{'s' * (len(promise.curves) > 1)} of {promise.program} | | | {said} |"
