"""What a catalog and a storage say of the same range of paths, compared: each path gets one kind.

    missing    in the catalog, not on storage            damaged  there, with another size or checksum
    orphan     on storage, not in the catalog            ok       both say the same
    in-flux    the catalog changed it while we looked    unknown  below a directory that could not be listed
    busy       a copy or deletion of it is under way, or its block is open and within its grace
    young      too young to be judged                    excluded below a path that is left out, or below no root

Rules come in the order in which they protect: what is excluded is not looked at; what changed, could not be seen, is
being worked on or is young is never missing, orphaned or damaged. A path that two LFNs name, or that stands under two
spellings of its URL, is one file. Sizes compare where both sides know them, checksums where their algorithms agree.

*Time.* A change of the catalog since it was read carries what the catalog says now, and whether it happened after the
directory was listed: before, it simply counts; after, nobody can know what the listing should have shown. Where a
catalog has no log of changes a second reading of it, after the listing, takes its place: what differs is in flux.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from consistency.intervals import Intervals
from consistency.records import CATALOG, STORAGE, algorithm_of

Kind: TypeAlias = Literal["ok", "missing", "orphan", "damaged", "in-flux", "unknown", "busy", "young", "excluded"]
KINDS: tuple[Kind, ...] = (
    "ok", "missing", "orphan", "damaged", "in-flux", "unknown", "busy", "young", "excluded",
)  # fmt: skip
#: The kinds that are reported and may be acted on.
FINDINGS: tuple[Kind, ...] = ("missing", "orphan", "damaged")

#: A change of the catalog since it was read: whether the path is in it now and as what; whether the change came after
#: the path's directory was listed, and whether it is within the grace of what is new.
CHANGES = pl.Schema([*CATALOG.items(), ("present", pl.Boolean()), ("in_flux", pl.Boolean()), ("young", pl.Boolean())])
#: What comes of it: what the catalog says, what storage says (`found_…`), and the kind.
COMPARED = pl.Schema(
    [
        *CATALOG.items(),
        ("found_size", pl.Int64()),
        ("found_checksum", pl.String()),
        ("mtime", pl.Int64()),
        ("in_catalog", pl.Boolean()),
        ("on_storage", pl.Boolean()),
        ("kind", pl.Enum(KINDS)),
    ]
)


@dataclass(frozen=True)
class Rules:
    """What protects a path from being judged.

    Files whose time of change is `young_from` or later (seconds since the epoch) are young; `unknown` are directories
    that could not be listed, `excluded` those left out, as is all that does not lie within the roots, `busy` paths that
    are being worked on.
    """

    young_from: int
    unknown: Intervals = field(default_factory=lambda: Intervals(()))
    excluded: Intervals = field(default_factory=lambda: Intervals(()))
    busy: Intervals = field(default_factory=lambda: Intervals(()))
    within: Intervals = field(default_factory=lambda: Intervals((b"/",)))


def compared(
    before: pl.DataFrame, storage: pl.DataFrame, after: pl.DataFrame | None, changes: pl.DataFrame, rules: Rules
) -> pl.DataFrame:
    """Every path of a range with its kind, in the columns of COMPARED, by ascending path.

    `before` and `after` have the columns of CATALOG, `storage` those of STORAGE, `changes` those of CHANGES; all hold
    everything that there is of the same range. Without `after` the changes say all that happened since.
    """
    rows = _side_by_side(_catalog(before, after), _once(storage), _once(changes)).sort("path")
    rows = rows.filter(pl.col("in_catalog") | pl.col("on_storage"))
    paths = rows["path"]
    protected = pl.DataFrame(
        {
            "excluded": rules.excluded.below(paths) | ~rules.within.below(paths),
            "unknown": rules.unknown.below(paths),
            "busy": rules.busy.below(paths),
        }
    )
    kinds = pl.concat([rows, protected], how="horizontal").with_columns(_kind(rules.young_from).alias("kind"))
    return kinds.select(COMPARED.names()).cast({"kind": COMPARED["kind"]})


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.unique("path", keep="first", maintain_order=True)


def _catalog(before: pl.DataFrame, after: pl.DataFrame | None) -> pl.DataFrame:
    """What the catalog said when it was read, and whether a second reading said something else."""
    first = _once(before).with_columns(in_catalog=pl.lit(True), differs=pl.lit(False))
    if after is None:
        return first
    second = _once(after).with_columns(in_after=pl.lit(True))
    both = first.join(second, on="path", how="full", coalesce=True, suffix="_after")
    same = pl.all_horizontal(
        pl.col("in_catalog").fill_null(False),
        pl.col("in_after").fill_null(False),
        *(pl.col(name).eq_missing(pl.col(f"{name}_after")) for name in ("size", "checksum", "lfn")),
    )
    return both.with_columns(in_catalog=pl.lit(True), differs=~same).select(first.columns)


def _side_by_side(catalog: pl.DataFrame, storage: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """One row a path: the catalog as it was when the directory was listed, and storage."""
    found = storage.rename({"size": "found_size", "checksum": "found_checksum"}).with_columns(on_storage=pl.lit(True))
    rows = catalog.join(found, on="path", how="full", coalesce=True)
    changed = changes.with_columns(changed=pl.lit(True))
    rows = rows.join(changed, on="path", how="full", coalesce=True, suffix="_now")
    is_changed = pl.col("changed").fill_null(False)
    return rows.with_columns(
        *(
            pl.when(is_changed).then(pl.col(f"{name}_now")).otherwise(pl.col(name)).alias(name)
            for name in ("size", "checksum", "lfn")
        ),
        in_catalog=pl.when(is_changed).then(pl.col("present")).otherwise(pl.col("in_catalog").fill_null(False)),
        on_storage=pl.col("on_storage").fill_null(False),
        in_flux=pl.col("in_flux").fill_null(False) | pl.col("differs").fill_null(False),
        young=pl.col("young").fill_null(False),
    )


def _kind(young_from: int) -> pl.Expr:
    both, lost = pl.col("in_catalog") & pl.col("on_storage"), pl.col("in_catalog") & ~pl.col("on_storage")
    young_file = (pl.col("mtime") >= young_from).fill_null(False)
    return (
        pl.when(pl.col("excluded"))
        .then(pl.lit("excluded"))
        .when(pl.col("in_flux"))
        .then(pl.lit("in-flux"))
        .when(pl.col("unknown") & ~both)
        .then(pl.lit("unknown"))
        .when(both & ~_differs())
        .then(pl.lit("ok"))
        .when(pl.col("busy"))
        .then(pl.lit("busy"))
        .when((lost & pl.col("young")) | young_file)
        .then(pl.lit("young"))
        .when(lost)
        .then(pl.lit("missing"))
        .when(both)
        .then(pl.lit("damaged"))
        .otherwise(pl.lit("orphan"))
    )


def _differs() -> pl.Expr:
    """Whether catalog and storage contradict each other: null on either side contradicts nothing."""
    sizes = (pl.col("size") != pl.col("found_size")).fill_null(False)
    said, found = pl.col("checksum"), pl.col("found_checksum")
    checksums = ((algorithm_of(said) == algorithm_of(found)) & (said != found)).fill_null(False)
    return sizes | checksums


def nothing(schema: pl.Schema) -> pl.DataFrame:
    """No records, in the columns of a schema."""
    return pl.DataFrame(schema=schema)


NO_STORAGE, NO_CHANGES = nothing(STORAGE), nothing(CHANGES)
