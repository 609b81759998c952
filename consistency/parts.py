"""Lists of records of any length, dealt to parts on disk by a hash of their paths, so that memory does not grow.

What several lists say of one path lies in parts of the same number, so that they are compared part by part, each in
memory, and no list need be sorted as a whole. Within a part records stand by the raw bytes of their paths, and what is
found is put in that order at the end: one comparator for every list, and never one for composed lines.

A merge of sorted lists does the same with as much work, but holds a batch of every run of every list at a time: with
ten million paths in two lists that took twice the memory (`loadtests/consistency.py` prints what this takes).
"""

from __future__ import annotations

from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
import pyarrow as pa

#: Records of one part that are read into memory at a time, about: fifteen megabytes of usual paths.
PART_ROWS = 1 << 15
#: Parts of one list, at most: each holds a file open while the list is written.
PARTS_MAX = 512
#: Records that wait for the disk.
WAITING_ROWS = 1 << 16

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


def compact(frame: pl.DataFrame) -> pl.DataFrame:
    """The same records in memory of their own: a few rows that were filtered out keep all that they came from alive."""
    own = pl.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(own, pl.DataFrame)
    return own.cast(frame.schema)


def parts_for(rows: int) -> int:
    """How many parts suit so many records."""
    return min(max(-(-rows // PART_ROWS), 1), PARTS_MAX)


class Parts:
    """One list on disk. `add` frames inside the context, then read each `part`; the folder is the caller's."""

    def __init__(self, folder: Path, schema: pl.Schema, parts: int) -> None:
        self.schema = schema
        self.rows = 0
        self._folder = folder
        self._parts = parts
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._opened = ExitStack()
        self._files: dict[int, FileIO] = {}

    def __enter__(self) -> Parts:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        with self._opened:
            if kind is None:
                self._write()
        self._files.clear()

    def add(self, frame: pl.DataFrame) -> None:
        """Takes records, in columns of the schema."""
        self._waiting.append(frame)
        self._waiting_rows += len(frame)
        self.rows += len(frame)
        if self._waiting_rows >= WAITING_ROWS:
            self._write()

    def part(self, number: int) -> pl.DataFrame:
        """The records of a part by ascending path; those of one path in the order in which they were added."""
        path = self._path(number)
        if not path.exists():
            return pl.DataFrame(schema=self.schema)
        with pa.OSFile(str(path)) as file:
            batches: list[pa.RecordBatch] = []
            while file.tell() < file.size():
                with pa.ipc.open_stream(file) as stream:
                    batches += stream
        frame = pl.from_arrow(pa.Table.from_batches(batches))
        assert isinstance(frame, pl.DataFrame)
        return frame.sort("path", maintain_order=True)

    def _write(self) -> None:
        """Deals what waits: one batch in the order of the parts, of which each part gets its run."""
        if not self._waiting_rows:
            return
        frame = pl.concat(self._waiting, rechunk=True).select(self.schema.names())
        self._waiting, self._waiting_rows = [], 0
        part = (frame["path"].hash(seed=0) % self._parts).to_numpy()
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(self._parts + 1))
        table = frame[order].to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
        (batch,) = table.to_batches()
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            self._append(number, batch.slice(bounds[number], bounds[number + 1] - bounds[number]))

    def _append(self, number: int, rows: pa.RecordBatch) -> None:
        """Writes a stream of one batch behind those that are there: a writer that stays open keeps buffers for each."""
        if (file := self._files.get(number)) is None:
            file = self._files[number] = self._opened.enter_context(self._path(number).open("wb", buffering=0))
        with pa.BufferOutputStream() as buffer:
            with pa.ipc.new_stream(buffer, rows.schema, options=_COMPRESSED) as stream:
                stream.write_batch(rows)
            file.write(buffer.getvalue())

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:04d}.arrow"
