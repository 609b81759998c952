"""Sites whose storage is behind a real server, or as small as a test wants it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import xrootd
from carried import Storage
from needed import needed
from xrootd import XrootdServer

from reploc.sites import Door, Protocol


def behind(server: XrootdServer, name: str, path: Path, protocol: Protocol, **changes: Any) -> Storage:
    """A site whose files are an XRootD server's, in a folder of the test's own."""
    folder = f"{path.name}/{name}"
    address = {"xrootd": server.root, "webdav": server.http, "gfal": server.http.replace("http:", "dav:")}[protocol]
    made = Storage(name, path, [Door(protocol=protocol, url=f"{address}/{folder}")], **changes)
    made.root = server.data / folder
    made.root.mkdir(parents=True)
    if xrootd.user():
        for each in (made.root.parent, made.root):
            shutil.chown(each, xrootd.user())
    return made


class Bucket(Storage):
    """A site whose files are objects in a bucket of S3."""

    def __init__(self, name: str, path: Path, bucket: str) -> None:
        self.url = f"{bucket}/{path.name}-{name}"
        super().__init__(name, path, [Door(protocol="fsspec", url=self.url)])

    def read(self, lfn: str) -> bytes:
        with fsspec.open(self.url + lfn, "rb") as file:
            data: bytes = file.read()
        return data

    def write(self, lfn: str, data: bytes) -> None:
        with fsspec.open(self.url + lfn, "wb") as file:
            file.write(data)

    def names(self) -> list[str]:
        files = fsspec.filesystem("s3")
        files.invalidate_cache()
        return sorted(name.removeprefix(self.url.removeprefix("s3://")) for name in files.find(self.url))


class Small:
    """A file system of few bytes, mounted where a site has its files."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def resize(self, size: int) -> None:
        _mount("-o", f"remount,size={size}", self._path)


@contextmanager
def small(path: Path, size: int) -> Iterator[Small]:
    """Mounts it; whoever owned the folder owns it still."""
    needed(os.geteuid() == 0, "a file system of its own: run the tests as root")
    owner = path.stat()
    _mount("-t", "tmpfs", "-o", f"size={size},uid={owner.st_uid},gid={owner.st_gid},mode=755", "tmpfs", path)
    try:
        yield Small(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)
