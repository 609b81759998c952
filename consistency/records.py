"""The record of one file, as catalogs and storage tell it, in columns; and the one spelling of checksums.

    path      Binary  raw bytes, absolute below the root of the site's storage; the key, ordered as bytes everywhere
    size      Int64   bytes, null where nobody says
    checksum  String  `algorithm:digits` in the one spelling of `normal_checksums`, null where nobody says
    mtime     Int64   seconds since the epoch, null where nobody says (storage only)
    lfn       Binary  UTF-8 of the LFN (catalogs only; null where a dump says paths alone)

Names may hold any byte that a file system allows; nothing here decodes a path.
"""

from __future__ import annotations

import polars as pl

#: What a storage listing says of files.
STORAGE = pl.Schema({"path": pl.Binary, "size": pl.Int64, "checksum": pl.String, "mtime": pl.Int64})
#: What a catalog says of files.
CATALOG = pl.Schema({"path": pl.Binary, "size": pl.Int64, "checksum": pl.String, "lfn": pl.Binary})

_FORM = r"^([a-z][a-z0-9-]*)\s*[:= ]\s*(?:0x)?([0-9a-f]+)$"
#: The algorithms that are known, and their hexadecimal digits: some tools leave leading zeros out.
_DIGITS = {"adler32": 8, "crc32": 8, "crc32c": 8, "md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_ZEROS = "0" * max(_DIGITS.values())


def normal_checksums(checksums: pl.Series) -> pl.Series:
    """Checksums in one spelling: lower case, `algorithm:digits`, leading zeros as many as the algorithm has.

    Takes Binary or String and gives String, shape (n,). `ADLER32 0x1A`, `adler32=1a` and `Adler32:0000001a` are one.
    What is no checksum of a known form (no algorithm, other digits, more than the algorithm has) becomes null: it
    compares with nothing.
    """
    text = _as_text(checksums).str.strip_chars().str.to_lowercase().to_frame("text")
    parts = text.select(pl.col("text").str.extract_groups(_FORM).alias("parts"))
    algorithm = pl.col("parts").struct.field("1").str.replace_all("-", "", literal=True)
    digits = pl.col("parts").struct.field("2").str.strip_chars_start("0")
    width = algorithm.replace_strict(_DIGITS, default=None, return_dtype=pl.Int64)
    filled = pl.when(digits.str.len_bytes() <= width).then(pl.concat_str(pl.lit(_ZEROS), digits).str.tail(width))
    return parts.select(pl.concat_str(algorithm, pl.lit(":"), filled)).to_series().alias(checksums.name)


def algorithm_of(checksum: pl.Expr) -> pl.Expr:
    """The algorithm in front of a normal checksum."""
    return checksum.str.split(":").list.first()


def _as_text(checksums: pl.Series) -> pl.Series:
    """The same as String, with null for what is no UTF-8."""
    if checksums.dtype == pl.String:
        return checksums
    try:
        return checksums.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series(checksums.name, [_decoded(each) for each in checksums], dtype=pl.String)


def _decoded(checksum: bytes | None) -> str | None:
    try:
        return None if checksum is None else checksum.decode()
    except UnicodeDecodeError:
        return None
