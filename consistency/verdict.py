"""Which findings are confirmed: what several runs agree on, as pure rules over columns.

A finding is confirmed by a run when the last run that counted found the same of the same path, at least
`min_run_spacing_s` before, and what the catalog says of it (of an orphan: the file itself) is as it was. Anything else
begins to count anew. What could not be looked at keeps what was known: it neither confirms nor resets. The first run
thus never acts, and a listing that lied once does no harm.
"""

from __future__ import annotations

from typing import Annotated

import polars as pl
from msgspec import Meta

from consistency.compare import COMPARED, FINDINGS
from reploc.config import Settings

#: What is known of a finding: its record, since when it is seen, how many runs agree, and when the last one counted
#: (seconds since the epoch); `seen` is False where the last run could not look.
VERDICTS = pl.Schema(
    [
        *COMPARED.items(),
        ("first_at", pl.Float64()),
        ("counted_at", pl.Float64()),
        ("confirmations", pl.Int64()),
        ("seen", pl.Boolean()),
    ]
)
#: What must be the same for two runs to agree.
_SAME = ("kind", "size", "checksum", "lfn", "found_size", "found_checksum")


class Confirmation(Settings, frozen=True):
    """How many runs must agree before a finding is acted on."""

    missing_runs: Annotated[int, Meta(description="Runs that agree that a file is missing or damaged.", ge=1)] = 2
    orphan_runs: Annotated[int, Meta(description="Runs that agree that a file is an orphan.", ge=1)] = 3
    min_run_spacing_s: Annotated[float, Meta(description="Runs closer than this count as one.", ge=0)] = 86_400.0

    def needed(self) -> pl.Expr:
        """The runs that a finding of its kind needs."""
        return pl.when(pl.col("kind") == "orphan").then(self.orphan_runs).otherwise(self.missing_runs)


def judged(rows: pl.DataFrame, previous: pl.DataFrame, now: float, rules: Confirmation) -> pl.DataFrame:
    """What is known after a run, in the columns of VERDICTS: its findings, and what it could not look at.

    `rows` are all compared rows of a range of paths, `previous` what was known of the same range; `now` is when the run
    began.
    """
    found = rows.filter(pl.col("kind").is_in(list(FINDINGS)))
    known = previous.select("path", *_SAME, "first_at", "counted_at", "confirmations")
    both = found.join(known, on="path", how="left", suffix="_before")
    agrees = pl.all_horizontal(*(pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in _SAME))
    same = pl.col("confirmations").is_not_null() & agrees
    counts = ~same | (now - pl.col("counted_at") >= rules.min_run_spacing_s)
    fresh = both.with_columns(
        first_at=pl.when(same).then(pl.col("first_at")).otherwise(pl.lit(now)),
        confirmations=pl.when(same).then(pl.col("confirmations")).otherwise(0) + counts.cast(pl.Int64),
        counted_at=pl.when(counts).then(pl.lit(now)).otherwise(pl.col("counted_at")),
        seen=pl.lit(True),
    )
    unseen = rows.filter(pl.col("kind") == "unknown").select("path")
    kept = previous.join(unseen, on="path", how="semi").with_columns(seen=pl.lit(False))
    return pl.concat([fresh.select(VERDICTS.names()), kept.select(VERDICTS.names())]).cast(VERDICTS)


def confirmed(verdicts: pl.DataFrame, rules: Confirmation) -> pl.DataFrame:
    """The verdicts of what the last run saw, on which enough runs agree."""
    return verdicts.filter(pl.col("seen") & (pl.col("confirmations") >= rules.needed()))
