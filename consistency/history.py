"""Runs, verdicts and lost files, durable in SQL: what the next run needs of the last one, and what people look up.

runs       one row a run: its site, state, when it began, and its report as JSON
findings   what each run found, by raw bytes of the path
empty      the empty directories that a held run would have removed, for when it is released
verdicts   what is known of a site after its last run that counted, by raw bytes of the path
done       what was acted on, for the weekly limits
lost       files that no site has any more; they stay until a person acknowledges them
deep       the LFN behind which the next deep check of a site goes on
locks      which sites are being checked, so that two runs never work on one
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from consistency.gather import EmptyDirectory
from consistency.holder import is_gone
from consistency.limits import BOUNDED, WEEK_S, Bounded
from consistency.report import Report
from consistency.verdict import VERDICTS
from reploc import sql
from reploc.errors import LossUnknown, RunUnknown, SiteBusy
from reploc.sql import failures

metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")
#: Rows of one insertion.
INSERT_ROWS = 10_000
#: Seconds after which a run on another machine that was not heard of has ended without a word.
LOCK_S = 120.0

runs = Table(
    "consistency_runs",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("site", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("began_at", Double, nullable=False),
    Column("report", Text, nullable=False),
)
Index("consistency_runs_of_site", runs.c.site, runs.c.id)


def _verdict_columns() -> list[Column[Any]]:
    kinds: dict[Any, Any] = {pl.Binary: LargeBinary, pl.Int64: BigInteger, pl.Float64: Double, pl.Boolean: Integer}
    columns = [Column("path", LargeBinary, primary_key=True)]
    columns += [Column(name, kinds.get(kind.base_type(), Text)) for name, kind in VERDICTS.items() if name != "path"]
    return columns


findings = Table(
    "consistency_findings",
    metadata,
    Column("run", _Id, primary_key=True, autoincrement=False),
    *_verdict_columns(),
)
empty = Table(
    "consistency_empty",
    metadata,
    Column("run", _Id, primary_key=True, autoincrement=False),
    Column("path", LargeBinary, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("mtime", BigInteger),
)
verdicts = Table(
    "consistency_verdicts",
    metadata,
    Column("site", Text, primary_key=True),
    *_verdict_columns(),
)
done = Table(
    "consistency_done",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("site", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
)
Index("consistency_done_of_site", done.c.site, done.c.at)
lost = Table(
    "consistency_lost",
    metadata,
    Column("site", Text, primary_key=True),
    Column("path", LargeBinary, primary_key=True),
    Column("lfn", Text, nullable=False),
    Column("size", BigInteger),
    Column("since", Double, nullable=False),
    Column("acknowledged_by", Text),
)
locks = Table(
    "consistency_locks",
    metadata,
    Column("site", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("heard_at", Double, nullable=False),
)

deep = Table(
    "consistency_deep",
    metadata,
    Column("site", Text, primary_key=True),
    Column("behind", Text, nullable=False),
)

#: The second step makes what a database of the first lacks: `empty`.
MIGRATIONS: tuple[sql.Migration, ...] = (metadata.create_all, metadata.create_all)


class Lost(msgspec.Struct, frozen=True):
    """A file that no site has any more."""

    site: str
    lfn: str
    size: int | None
    since: float
    acknowledged_by: str | None


class History:
    """The database of the checker. Every method raises Unavailable or StoreError where it cannot be reached."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine = sql.opened(url, "consistency", MIGRATIONS)

    def close(self) -> None:
        """Ends the connections."""
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with failures(self._url), self._engine.begin() as connection:
            yield connection

    # ---- runs -------------------------------------------------------------------------------------------------------

    def begin(self, site: str, now: float) -> int:
        """A new run's number."""
        with self._begin() as connection:
            made = connection.execute(
                insert(runs).values(site=site, state="running", began_at=now, report="").returning(runs.c.id)
            )
            return int(made.scalar_one())

    def end(self, report: Report, found: pl.DataFrame, *, counts: bool, held: Sequence[EmptyDirectory] = ()) -> None:
        """Keeps a run's report and verdicts; where it counts, they are what is known of the site from now on. `held`
        are empty directories that wait for the run's release."""
        with self._begin() as connection:
            self._write_report(connection, report)
            _insert(connection, findings, found, run=report.run)
            for at in range(0, len(held), INSERT_ROWS):
                rows = enumerate(held[at : at + INSERT_ROWS], at)
                told = [{"run": report.run, "path": each.path, "place": n, "mtime": each.mtime} for n, each in rows]
                connection.execute(insert(empty), told)
            if counts:
                _know(connection, report.site, found)

    def release(self, report: Report) -> None:
        """Makes a run count that was held: its verdicts are what is known of the site from now on."""
        found = self.findings(report.run)
        with self._begin() as connection:
            self._write_report(connection, report)
            _know(connection, report.site, found)

    def rewrite(self, report: Report) -> None:
        """Another report of the same run."""
        with self._begin() as connection:
            self._write_report(connection, report)

    def _write_report(self, connection: Connection, report: Report) -> None:
        body = msgspec.json.encode(report).decode()
        connection.execute(update(runs).where(runs.c.id == report.run).values(state=report.state, report=body))

    def report(self, run: int) -> Report:
        """A run that has ended. Raises RunUnknown."""
        with self._begin() as connection:
            body = connection.scalar(select(runs.c.report).where(runs.c.id == run))
        if not body:
            raise RunUnknown(f"run {run} is not known, or has not ended")
        return msgspec.json.decode(body, type=Report)

    def reports(self, site: str | None, limit: int) -> list[Report]:
        """The newest runs that have ended, the newest first."""
        asked = select(runs.c.report).where(runs.c.report != "").order_by(runs.c.id.desc()).limit(limit)
        with self._begin() as connection:
            bodies = connection.scalars(asked if site is None else asked.where(runs.c.site == site)).all()
        return [msgspec.json.decode(body, type=Report) for body in bodies]

    def findings(self, run: int) -> pl.DataFrame:
        """What was known after a run, by path, in the columns of VERDICTS."""
        with self._begin() as connection:
            asked = select(*(findings.c[name] for name in VERDICTS.names())).where(findings.c.run == run)
            return _frame(connection.execute(asked.order_by(findings.c.path)).all())

    def held_directories(self, run: int) -> list[EmptyDirectory]:
        """The empty directories that wait for a run's release, the deepest first."""
        asked = select(empty.c.path, empty.c.mtime).where(empty.c.run == run).order_by(empty.c.place)
        with self._begin() as connection:
            return [EmptyDirectory(*row) for row in connection.execute(asked).all()]

    # ---- what is known of a site ------------------------------------------------------------------------------------

    def verdicts(self, site: str) -> pl.DataFrame:
        """What is known after the last run that counted, by path, in the columns of VERDICTS."""
        with self._begin() as connection:
            asked = select(*(verdicts.c[name] for name in VERDICTS.names())).where(verdicts.c.site == site)
            return _frame(connection.execute(asked.order_by(verdicts.c.path)).all())

    def note_done(self, site: str, kind: Bounded, paths: Sequence[bytes], now: float) -> None:
        """Counts what was acted on."""
        rows = [{"site": site, "kind": kind, "path": path, "at": now} for path in paths]
        with self._begin() as connection:
            for at in range(0, len(rows), INSERT_ROWS):
                connection.execute(insert(done), rows[at : at + INSERT_ROWS])

    def done_this_week(self, site: str, now: float) -> dict[Bounded, int]:
        """How much of each kind was acted on in the week before."""
        asked = select(done.c.kind, func.count()).where(done.c.site == site, done.c.at > now - WEEK_S)
        with self._begin() as connection:
            rows = connection.execute(asked.group_by(done.c.kind)).all()
        counts = {row[0]: int(row[1]) for row in rows}
        return {kind: counts.get(kind, 0) for kind in BOUNDED}

    # ---- lost files -------------------------------------------------------------------------------------------------

    def note_lost(self, site: str, path: bytes, lfn: str, size: int | None, now: float) -> None:
        """Puts a file on the list, where it stays as it was if it is there already."""
        with self._begin() as connection:
            known = connection.scalar(select(lost.c.lfn).where(lost.c.site == site, lost.c.path == path))
            if known is None:
                connection.execute(insert(lost).values(site=site, path=path, lfn=lfn, size=size, since=now))

    def lost(self, site: str | None) -> list[Lost]:
        """The lost files, by site and LFN."""
        asked = select(lost.c.site, lost.c.lfn, lost.c.size, lost.c.since, lost.c.acknowledged_by)
        with self._begin() as connection:
            rows = connection.execute(asked if site is None else asked.where(lost.c.site == site)).all()
        return sorted((Lost(*row) for row in rows), key=lambda each: (each.site, each.lfn))

    def acknowledge(self, site: str, lfn: str, who: str) -> list[bytes]:
        """Takes note that a person knows of a loss; the paths of the file. Raises LossUnknown."""
        same = (lost.c.site == site, lost.c.lfn == lfn)
        with self._begin() as connection:
            paths = connection.scalars(select(lost.c.path).where(*same)).all()
            if not paths:
                raise LossUnknown(f"{lfn!r} is not on the list of lost files of {site}")
            connection.execute(update(lost).where(*same).values(acknowledged_by=who))
        return list(paths)

    # ---- deep checks -------------------------------------------------------------------------------------------------

    def deep_place(self, site: str) -> str:
        """The LFN behind which the next deep check goes on; empty for the first."""
        with self._begin() as connection:
            return connection.scalar(select(deep.c.behind).where(deep.c.site == site)) or ""

    def keep_deep_place(self, site: str, behind: str) -> None:
        """Takes note of where a deep check stopped."""
        with self._begin() as connection:
            connection.execute(delete(deep).where(deep.c.site == site))
            connection.execute(insert(deep).values(site=site, behind=behind))

    # ---- one run at a time ------------------------------------------------------------------------------------------

    def lock(self, site: str, holder: str, now: float) -> None:
        """Takes a site for a run, or says again that it is at work. Raises SiteBusy."""
        with self._begin() as connection:
            row = connection.execute(select(locks.c.holder, locks.c.heard_at).where(locks.c.site == site)).first()
            if row is None:
                taken = self._take(connection, site, holder, now)
            elif row.holder == holder or now - row.heard_at > LOCK_S or is_gone(row.holder):
                # Only what was seen is taken: of two that see one run dead, the second finds another row.
                seen = (locks.c.site == site, locks.c.holder == row.holder, locks.c.heard_at == row.heard_at)
                taken = connection.execute(update(locks).where(*seen).values(holder=holder, heard_at=now)).rowcount > 0
            else:
                taken = False
            if not taken:
                raise SiteBusy(f"{site} is being checked by {row.holder if row else 'a run that has just begun'}")

    def _take(self, connection: Connection, site: str, holder: str, now: float) -> bool:
        """Whether a site that nobody had is taken: of two at once the second one's row is not written."""
        try:
            with connection.begin_nested():
                connection.execute(insert(locks).values(site=site, holder=holder, heard_at=now))
        except IntegrityError:
            return False
        return True

    def unlock(self, site: str, holder: str) -> None:
        """Gives a site back."""
        with self._begin() as connection:
            connection.execute(delete(locks).where(locks.c.site == site, locks.c.holder == holder))


def _know(connection: Connection, site: str, known: pl.DataFrame) -> None:
    connection.execute(delete(verdicts).where(verdicts.c.site == site))
    _insert(connection, verdicts, known, site=site)


def _insert(connection: Connection, table: Table, frame: pl.DataFrame, **more: object) -> None:
    for part in frame.iter_slices(INSERT_ROWS):
        connection.execute(insert(table), [row | more for row in part.to_dicts()])


def _frame(rows: Sequence[Any]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [[] for _ in VERDICTS]
    made = {name: list(values) for name, values in zip(VERDICTS.names(), columns, strict=True)}
    return pl.DataFrame(
        {
            name: pl.Series(name, [None if each is None else bool(each) for each in values], dtype=pl.Boolean)
            if VERDICTS[name] == pl.Boolean
            else pl.Series(name, values, dtype=VERDICTS[name])
            for name, values in made.items()
        }
    )
