"""Filled stores that programs share: filled once, kept under a name that says what they hold, and never written to.

A program that writes takes a copy, so that the store is the same for whoever comes next. A store's name carries a hash
of what decides its content, so that a change of the layout or of the names fills a new one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from loadtests import filled_store, world
from loadtests.program import Scale, said
from lrc import layout

SITE = "site-a"
READ_BYTES = 1 << 24


def filled(scale: Scale, folder: Path, *, names: int | None = None, site: str = SITE) -> Path:
    """A store of files 0 to `names` (those of the scale) that is only read; it goes with the folder, or is kept."""
    count = scale.names if names is None else names
    store = (scale.stores or folder) / f"{site}-{count}-{_content()}"
    if not store.exists():
        said(f"filling a store with {count:,} mappings")
        store.parent.mkdir(parents=True, exist_ok=True)
        part = store.with_name(store.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        filled_store.fill(part, site, count)
        part.rename(store)
    else:
        _read(store)
    return store


def copied(scale: Scale, folder: Path, *, names: int | None = None, site: str = SITE) -> Path:
    """The same, as a copy in the folder that may be written to; all of it is on disk when this returns."""
    store = filled(scale, folder, names=names, site=site)
    copy = folder / f"{store.name}-copy"
    said(f"copying {store.name}")
    subprocess.run(["cp", "--recursive", "--sparse=always", "--reflink=auto", store, copy], check=True)
    subprocess.run(["sync", "--file-system", copy], check=True)
    return copy


def _read(store: Path) -> None:
    """Has the system hold a kept store in memory, as it holds one that was just filled, and one that is served."""
    for path in store.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.read(READ_BYTES):
                pass


@cache
def _content() -> str:
    """Eight digits that change with the layout and with the names."""
    sources = (Path(module.__file__ or "").read_bytes() for module in (world, filled_store, layout))
    return hashlib.blake2b(b"\0".join(sources), digest_size=4).hexdigest()
