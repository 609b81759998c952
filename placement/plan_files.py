"""Plans as files, and what is said when they become orders.

A plan's file is a ZIP archive of `header.json` and a Parquet file for each frame, the same bytes for the same plan.
Rows stand in the order that the planner gave them, and the archive tells no time of its own.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import polars as pl
from msgspec import Struct

from placement.messages import Written
from placement.schemas import Schema
from reploc.errors import InputInvalid

H = TypeVar("H", bound=Struct)
#: Blocks that do not hold any more and are told of in an error.
FAILURES_TOLD_MAX = 5


@dataclass(frozen=True)
class Ordered:
    """What came of a plan: the number of its cycle, the orders, and what did not hold and was left."""

    cycle: int
    written: Written
    left: pl.DataFrame


def packed(header: Struct, frames: Mapping[str, pl.DataFrame]) -> bytes:
    """The bytes of a plan's file."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("header.json"), msgspec.json.format(msgspec.json.encode(header)))
        for name, frame in frames.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.parquet"), _parquet(frame))
    return held.getvalue()


def unpacked(
    content: bytes, where: str, kind: type[H], schemas: Mapping[str, Schema], what: str
) -> tuple[H, list[pl.DataFrame]]:
    """The header and the frames in a file's bytes. Raises InputInvalid: it is no plan of `what`, or of another
    version."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            header = msgspec.json.decode(archive.read("header.json"), type=kind)
            frames = [pl.read_parquet(archive.read(f"{name}.parquet")) for name in schemas]
    except (zipfile.BadZipFile, KeyError, msgspec.MsgspecError, pl.exceptions.PolarsError, OSError) as wrong:
        raise InputInvalid(f"{where}: is no plan of {what}: {wrong}") from wrong
    for frame, schema in zip(frames, schemas.values(), strict=True):
        if dict(frame.schema) != schema:
            raise InputInvalid(f"{where}: is a plan of another version")
    return header, frames


def content(path: Path) -> bytes:
    """The bytes of a file. Raises InputInvalid: it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as wrong:
        raise InputInvalid(f"{path}: {wrong.strerror or wrong}") from wrong


def _parquet(frame: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    frame.write_parquet(held, compression="zstd", statistics=False)
    return held.getvalue()


def moved(failed: pl.DataFrame) -> str:
    """What an error says of blocks that do not hold: block, site, reason."""
    first = [
        f"{row['block']} at {row['site']}: {row['reason']}"
        for row in failed.head(FAILURES_TOLD_MAX).iter_rows(named=True)
    ]
    more = f" · and {failed.height - FAILURES_TOLD_MAX:,} more" if failed.height > FAILURES_TOLD_MAX else ""
    return f"{failed.height:,} blocks are not as the plan has them: {' · '.join(first)}{more}"
