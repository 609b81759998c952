"""An inventory as a folder of Parquet files: one for each frame, and its version.

Written beside the folder and moved into its place, so that a folder is whole or is not there. Every frame is stored
as it is held, derived columns too, so that reading computes nothing; what is read is checked for columns and types
alone, for the files are ours.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl

from placement import schemas
from placement.inventory import Inventory
from reploc.errors import InputInvalid

MANIFEST = "inventory.json"
#: The version of the layout; another is refused.
FORMAT = 1


class Manifest(msgspec.Struct, frozen=True):
    """What a folder holds: `rows` counts each frame's."""

    format: int
    version: str
    rows: dict[str, int]


def export(inventory: Inventory, folder: Path) -> None:
    """Writes an inventory into a folder, which must not be there yet. Raises InputInvalid."""
    if folder.exists():
        raise InputInvalid(f"{folder}: is there already; expected a folder that is not")
    with _refusals(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, frame in inventory.frames.items():
                frame.write_parquet(made / f"{name}.parquet", compression="lz4", statistics=False)
            rows = {name: frame.height for name, frame in inventory.frames.items()}
            (made / MANIFEST).write_bytes(msgspec.json.encode(Manifest(FORMAT, inventory.version, rows)))
            made.rename(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise


def read(folder: Path) -> Inventory:
    """The inventory in a folder. Raises InputInvalid: it is none, of another format, or damaged."""
    with _refusals(folder):
        manifest = _manifest(folder)
        frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in schemas.FRAMES}
    for name, frame in frames.items():
        if dict(frame.schema) != schemas.FRAMES[name]:
            raise InputInvalid(f"{folder / name}.parquet: columns are {frame.schema}; expected {schemas.FRAMES[name]}")
        if frame.height != manifest.rows.get(name):
            raise InputInvalid(
                f"{folder / name}.parquet: {frame.height:,} rows; {MANIFEST} says {manifest.rows.get(name)}"
            )
    return Inventory(version=manifest.version, **frames)


def _manifest(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except msgspec.DecodeError as wrong:
        raise InputInvalid(f"{folder / MANIFEST}: {wrong}") from wrong
    if manifest.format != FORMAT:
        raise InputInvalid(f"{folder / MANIFEST}: format {manifest.format}; this program reads {FORMAT}")
    return manifest


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    """What the system or Polars says against a folder, as an error of the tree."""
    try:
        yield
    except OSError as wrong:
        raise InputInvalid(f"{wrong.filename or folder}: {wrong.strerror or wrong}") from wrong
    except pl.exceptions.PolarsError as wrong:
        raise InputInvalid(f"{folder}: {str(wrong).splitlines()[0]}") from wrong
