"""Dump files that a site made of its storage, or of a catalog: read as records, as fast as a disk gives them.

A dump is text of one line a file, compressed or not (gzip, bzip2, zstandard, lz4, brotli or xz by the ending of its
name), with the fields path, size, checksum, mtime in this order or as its settings say. Fields are parted by tabs
(`.tsv`, `.txt`), or by commas with quotes as in CSV (`.csv`); a field that is empty is one that nobody says. Names stay
bytes. A line with fewer fields than expected, or with a size that is no number, ends the reading with an error that
says where: a dump that is wrong in one place is not believed in others. So does a last line that does not end.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeAlias

import polars as pl
import pyarrow as pa
from pyarrow import csv

from consistency.records import normal_checksums
from reploc.errors import InputInvalid

#: What a field of a line may be; `-` is one that is passed over.
Field: TypeAlias = Literal["path", "size", "checksum", "mtime", "lfn", "-"]
FIELDS: tuple[Field, ...] = ("path", "size", "checksum", "mtime")
#: Bytes that are read at a time.
BLOCK_BYTES = 1 << 20

_TYPES = {
    "path": pa.large_binary(),
    "lfn": pa.large_binary(),
    "checksum": pa.large_binary(),
    "size": pa.int64(),
    "mtime": pa.int64(),
}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4", ".br": "brotli"}


def read(
    path: Path, schema: pl.Schema, fields: Sequence[Field] = FIELDS, prefix: bytes = b""
) -> Iterator[pl.DataFrame]:
    """The records of a dump in the columns of a schema; `prefix` is cut off from the front of every path.

    Raises InputInvalid: the file cannot be read, a line is not what is expected, or a path does not begin so.
    """
    try:
        with ExitStack() as opened:
            for batch in _lines(opened, path, fields):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                yield _records(frame, schema, prefix, path)
    except (pa.ArrowException, OSError, EOFError, lzma.LZMAError) as wrong:
        raise InputInvalid(f"{path}: {' '.join(str(wrong).split())[:300]}") from wrong


def _lines(opened: ExitStack, path: Path, fields: Sequence[Field]) -> csv.CSVStreamingReader:
    names = [name if name != "-" else f"-{number}" for number, name in enumerate(fields)]
    wanted = [name for name in names if name[0] != "-"]
    commas = ".csv" in path.suffixes
    return opened.enter_context(
        csv.open_csv(
            opened.enter_context(_opened(path)),
            read_options=csv.ReadOptions(column_names=names, block_size=BLOCK_BYTES, use_threads=False),
            parse_options=csv.ParseOptions(
                delimiter="," if commas else "\t", quote_char='"' if commas else False, newlines_in_values=commas
            ),
            convert_options=csv.ConvertOptions(
                column_types={name: _TYPES[name] for name in wanted}, include_columns=wanted, null_values=[""]
            ),
        )
    )


class _Whole(io.RawIOBase):
    """A text as it is, that ends with a line: one that was cut in the middle of its last field looks like any other."""

    def __init__(self, text: pa.NativeFile | lzma.LZMAFile) -> None:
        self._text = text
        self._last = b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises EOFError: the text ended, and its last line did not."""
        found = self._text.read(size)
        if found:
            self._last = found[-1:]
        elif size and self._last != b"\n":
            raise EOFError("its last line does not end: it was cut short")
        return bytes(found)

    def close(self) -> None:
        self._text.close()
        super().close()


def _opened(path: Path) -> pa.NativeFile:
    return pa.PythonFile(_Whole(_text(path)), mode="r")


def _text(path: Path) -> pa.NativeFile | lzma.LZMAFile:
    if path.suffix == ".xz":
        return lzma.open(path)
    return pa.input_stream(str(path), compression=_COMPRESSIONS.get(path.suffix))


def _records(frame: pl.DataFrame, schema: pl.Schema, prefix: bytes, path: Path) -> pl.DataFrame:
    paths = frame["path"]
    if prefix:
        inside = paths.bin.starts_with(prefix)
        if not inside.all():
            strange = paths.filter(~inside)[0]
            raise InputInvalid(f"{path}: the path {strange!r} does not begin with {prefix!r}")
        frame = frame.with_columns(paths.bin.slice(len(prefix)).alias("path"))
    if "checksum" in frame.columns:
        frame = frame.with_columns(normal_checksums(frame["checksum"]))
    lacking = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns]
    return frame.with_columns(lacking).select(schema.names())
