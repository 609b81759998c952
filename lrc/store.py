"""A catalog's store: the LMDB environment with its tables, opened by one writer, or by any number of readers.

The one place where LMDB is opened and where its errors become ours:

    not LMDB, or without our format      store-foreign     a bad page or record      store-damaged
    another layout version               store-version     no space on disk or map   store-full
    another process writes               store-locked      too many readers          unavailable
    no permission, or read-only          store-read-only   anything else             store-error

Every commit is synced before it returns; pages never change in place, so that a process may die at any moment.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import lmdb
import msgspec

from lrc import layout
from lrc.layout import State, StoredIndex
from lrc.whole import require_whole
from reploc.errors import (
    NameInvalid,
    ReplocError,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreVersion,
    Unavailable,
)

#: Address space, not disk: the file grows with what is in it. A terabyte holds several billion mappings.
MAP_BYTES = 1 << 40
#: Read transactions at one time, over all processes: a daemon has a few, each reading command one.
READERS_MAX = 126
#: Tables of one store, those that an upgrade meets on its way included.
TABLES_MAX = 32
#: Read transactions that are kept for reuse: the event loop's and a few of long reads.
SPARE_READS = 8

#: Seconds that reads under way may take before a broken environment is opened again, and between two looks at them. A
#: page of a listing takes a tenth of a second, the digests of all slots of ten million LFNs a few.
REOPEN_WAIT_S = 30.0
REOPEN_LOOK_S = 0.001
#: Less room than this, after a write that went in only in part, says that the disk is full: LMDB writes at most 64
#: pages at once.
ROOM_BYTES = 1 << 20

#: A transaction hands out views of the map: they are valid until it ends or, in a writing one, until it writes.
Transaction: TypeAlias = "lmdb.Transaction[memoryview]"
Cursor: TypeAlias = "lmdb.Cursor[memoryview]"

_ERRORS: dict[type[Exception], tuple[type[ReplocError], str]] = {
    lmdb.MapFullError: (StoreFull, "the map of the store is full"),
    lmdb.DiskError: (StoreFull, "the disk of the store is full"),
    lmdb.ReadonlyError: (StoreReadOnly, "the store is open for reading only"),
    lmdb.LockError: (StoreLocked, "the store is locked"),
    lmdb.InvalidError: (StoreForeign, "the file is not an LMDB environment"),
    lmdb.VersionMismatchError: (StoreForeign, "the file is of another LMDB version"),
    lmdb.CorruptedError: (StoreDamaged, "a page of the store is damaged"),
    lmdb.PageNotFoundError: (StoreDamaged, "a page of the store is not there"),
    lmdb.PanicError: (Unavailable, "a write has failed half-way, and the store is opened again"),
    lmdb.ReadersFullError: (Unavailable, f"all {READERS_MAX} places for readers are taken"),
}
#: What reading or writing a row raises. Not OSError: what a caller does with a snapshot may raise that.
ROW_ERRORS = (lmdb.Error, msgspec.MsgspecError, UnicodeError)
_ERRNOS: dict[int, type[ReplocError]] = {
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EFBIG: StoreFull,
    errno.EROFS: StoreReadOnly,
    errno.EACCES: StoreReadOnly,
    errno.EPERM: StoreReadOnly,
}


def translated(error: Exception, path: str) -> ReplocError:
    """The error of ours that a foreign one stands for, with the store's path."""
    if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError):
        return StoreDamaged(f"store {path}: a row cannot be read: {error}")
    if isinstance(error, lmdb.BadValsizeError | UnicodeEncodeError):
        return NameInvalid("a name is empty or holds half a surrogate pair; expected 1 to 4,096 bytes of UTF-8")
    kind, words = _ERRORS.get(type(error), (None, str(error)))
    if kind is None:
        # py-lmdb names the classes of LMDB's own errors only; those of the system keep their number in `code`.
        number = error.errno if isinstance(error, OSError) else getattr(error, "code", 0)
        number = number or _errno_said(words)
        kind = _ERRNOS.get(number, StoreError)
        if number == errno.EIO and _without_room(path):
            kind, words = StoreFull, "the disk of the store is full"
    return kind(f"store {path}: {words}")


def _without_room(path: str) -> bool:
    """Whether a write that failed half-way did so for want of room.

    A disk that fills up in the middle of a write takes a part of it, which LMDB calls an input/output error.
    """
    disk = os.statvfs(path)
    size = (Path(path) / layout.DATA_FILE).stat().st_size
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return disk.f_bavail * disk.f_frsize < ROOM_BYTES or (limit != resource.RLIM_INFINITY and limit - size < ROOM_BYTES)


def _errno_said(words: str) -> int:
    for number in (errno.EIO, *_ERRNOS):
        if os.strerror(number) in words:
            return number
    return 0


class Store:
    """An open environment. `Store.create` and `Store.open` make one; `close` ends it.

    #: `writable` says that this process is the one writer, which holds the lock file.
    #: `_reads` holds the read transactions that are open, and those about to be.
    """

    def __init__(self, path: Path, environment: lmdb.Environment, map_bytes: int, lock: int | None) -> None:
        self.path = str(path)
        self.environment = environment
        self.writable = lock is not None
        self._map_bytes = map_bytes
        self._lock = lock
        self._reads: set[object] = set()
        self.tables: dict[str, lmdb._Database] = {}

    @classmethod
    def create(cls, path: Path, site: str, map_bytes: int = MAP_BYTES) -> Store:
        """A new store in a directory that is absent or empty; StoreForeign where it holds anything."""
        with _errors(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            if strange := sorted({entry.name for entry in path.iterdir()} - layout.STORE_FILES):
                raise StoreForeign(f"store {path}: the directory holds {strange[0]!r}; expected an empty one")
        store = cls._opened(path, map_bytes, writable=True)
        try:
            store._initialise(site)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open(cls, path: Path, read_only: bool = False, map_bytes: int = MAP_BYTES) -> Store:
        """A store that is there, for its one writer or beside it for reading."""
        store = cls._open_file(path, map_bytes, writable=not read_only)
        try:
            store._require_ours()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open_of_any_version(cls, path: Path, map_bytes: int = MAP_BYTES) -> Store:
        """A store that is to be upgraded, for its one writer; none of its tables is open."""
        return cls._open_file(path, map_bytes, writable=True)

    @classmethod
    def _open_file(cls, path: Path, map_bytes: int, writable: bool) -> Store:
        with _errors(str(path)):
            if not (path / layout.DATA_FILE).exists():
                raise StoreForeign(f"store {path}: there is no {layout.DATA_FILE}; expected a directory with a store")
        return cls._opened(path, map_bytes, writable)

    @classmethod
    def _opened(cls, path: Path, map_bytes: int, writable: bool) -> Store:
        lock = _locked(path) if writable else None
        try:
            environment = _environment(path, map_bytes, writable)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        return cls(path, environment, map_bytes, lock)

    def _initialise(self, site: str) -> None:
        state = State(
            site, secrets.token_hex(16), position=0, epoch=0, lfns=0, mappings=0, collections=0, next_collection=1
        )
        with self.writing() as txn:
            if txn.stat()["entries"]:
                raise StoreForeign(f"store {self.path}: there is a store already; expected an empty directory")
            for table in layout.TABLES:
                self.open_table(table, txn)
            self.put_layout_version(txn, layout.LAYOUT_VERSION)
            self.put_state(txn, state)

    def layout_version(self) -> int:
        """The layout version of the store; StoreForeign where it is not of reploc."""
        version = None
        if self.open_table(layout.META):
            with self.reading() as txn:
                version = layout.format_version(bytes(txn.get(layout.FORMAT_KEY, b"", self.tables["meta"])))
        if version is None:
            raise StoreForeign(f"store {self.path}: an LMDB environment, but not of reploc")
        return version

    def put_layout_version(self, txn: Transaction, version: int) -> None:
        txn.put(layout.FORMAT_KEY, layout.format_value(version), db=self.tables["meta"])

    def _require_ours(self) -> None:
        """Open the tables, or say whose store this is."""
        version = self.layout_version()
        if version != layout.LAYOUT_VERSION:
            raise other_version(self.path, version)
        for table in layout.TABLES[1:]:
            if not self.open_table(table):
                raise StoreDamaged(f"store {self.path}: table {table.name!r} is not there")

    def open_table(self, table: layout.Table, txn: Transaction | None = None) -> bool:
        """Open a table, and create it where a transaction is given; whether it is there.

        Without one py-lmdb uses its own: a handle opened in a read transaction would not outlive it.
        """
        try:
            self.tables[table.name] = self.environment.open_db(
                table.name.encode(), txn, dupsort=table.many, dupfixed=table.fixed, create=txn is not None
            )
        except (lmdb.NotFoundError, lmdb.IncompatibleError):
            return False
        return True

    def close(self) -> None:
        self.environment.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ---- transactions ------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """One snapshot. Keep it short: pages that it sees cannot be used again until it ends."""
        txn = self.begin()
        try:
            with _errors(self.path, ROW_ERRORS):
                yield txn
        finally:
            self.end(txn)

    def begin(self) -> Transaction:
        """One snapshot without the cost of a context manager, which is that of a lookup. `end` it."""
        # Noted before it begins: none begins in a broken environment, so `_reopen` overlooks none.
        note = object()
        self._reads.add(note)
        try:
            txn = self.environment.begin(buffers=True)
            self._reads.add(txn)
        except lmdb.Error as error:
            raise translated(error, self.path) from error
        finally:
            self._reads.discard(note)
        return txn

    def end(self, txn: Transaction) -> None:
        """End a snapshot that was begun."""
        txn.abort()
        self._reads.discard(txn)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """One transaction, durable when the block has ended; an error inside undoes all of it.

        Where the page that makes a commit could not be written, LMDB gives the environment up, for reading too. Then it
        is opened again, and the catalog stands as before that commit, or as after it if the page went out after all.
        """
        if not self.writable:
            raise StoreReadOnly(f"store {self.path}: open for reading only")
        try:
            with _errors(self.path, ROW_ERRORS), self.environment.begin(write=True, buffers=True) as txn:
                yield txn
        except ReplocError:
            if self._is_broken():
                self._reopen()
            raise

    def _is_broken(self) -> bool:
        try:
            self.environment.begin().abort()
        except lmdb.Error:
            return True
        return False

    def _reopen(self) -> None:
        """Open the environment again, once no read is under way: closing it takes the pages from under them.

        Where reads do not end, or it cannot be opened, it stays as it is and the next write tries again.
        """
        until = time.monotonic() + REOPEN_WAIT_S
        while self._reads:
            if time.monotonic() > until:
                return
            time.sleep(REOPEN_LOOK_S)
        self.environment.close()
        fresh = Store(Path(self.path), _environment(Path(self.path), self._map_bytes, True), self._map_bytes, None)
        fresh._require_ours()
        self.tables, self.environment = fresh.tables, fresh.environment

    def forget_dead_readers(self) -> None:
        """Let go of the snapshots of processes that died, which would keep their pages from being used again."""
        with _errors(self.path):
            self.environment.reader_check()

    def used_bytes(self) -> int:
        """Bytes of the file, of which some may be free pages."""
        return (Path(self.path) / layout.DATA_FILE).stat().st_size

    def copy(self, to: Path) -> None:
        """Write a copy of the store as it stands, without its free pages, into a directory that is absent or empty.

        The directory appears whole and on disk, or as it was. The copy is one snapshot, so that a writer beside it
        goes on, and the store may grow for as long as it takes.
        """
        part = to.with_name(f".{to.name}.{os.getpid()}.part")
        with _errors(str(to)):
            if to.exists() and any(to.iterdir()):
                raise StoreForeign(f"{to}: the directory is not empty; expected one that a copy can become")
            part.mkdir(parents=True)
            try:
                self.environment.copy(str(part), compact=True)
                for path in (part / layout.DATA_FILE, part):
                    _sync(path)
                part.replace(to)
                _sync(to.parent)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    # ---- the state row -----------------------------------------------------------------------------------------------

    def state(self, txn: Transaction) -> State:
        value = txn.get(layout.STATE_KEY, db=self.tables["meta"])
        if value is None:
            raise StoreDamaged(f"store {self.path}: the row {layout.STATE_KEY.decode()!r} is not there")
        return layout.decode_state(value)

    def put_state(self, txn: Transaction, state: State) -> None:
        txn.put(layout.STATE_KEY, layout.encode(state), db=self.tables["meta"])

    def rls_indexes(self, txn: Transaction) -> tuple[StoredIndex, ...]:
        """The index servers of the Globus RLS that are sent updates."""
        value = txn.get(layout.RLS_KEY, db=self.tables["meta"])
        return () if value is None else layout.decode_indexes(value)

    def put_rls_indexes(self, txn: Transaction, indexes: Sequence[StoredIndex]) -> None:
        txn.put(layout.RLS_KEY, layout.encode(tuple(indexes)), db=self.tables["meta"])


@contextmanager
def _errors(path: str, foreign: tuple[type[Exception], ...] = (lmdb.Error, OSError)) -> Iterator[None]:
    try:
        yield
    except foreign as error:
        raise translated(error, path) from error


def _environment(path: Path, map_bytes: int, writable: bool) -> lmdb.Environment:
    with _errors(str(path)):
        environment = lmdb.open(
            str(path),
            map_size=map_bytes,
            readonly=not writable,
            readahead=False,
            create=writable,
            max_dbs=TABLES_MAX,
            max_readers=READERS_MAX,
            max_spare_txns=SPARE_READS,
        )
        try:
            environment.reader_check()
            require_whole(path, environment)
        except BaseException:
            environment.close()
            raise
        return environment


def _sync(path: Path) -> None:
    """Make a file, or the names in a directory, durable."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _locked(path: Path) -> int:
    """The descriptor of the lock file, locked. Closing it, or the end of the process, lets go."""
    with _errors(str(path)):
        lock = os.open(path / layout.WRITER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 32).decode(errors="replace").strip()
            os.close(lock)
            raise StoreLocked(f"store {path}: process {holder or 'unknown'} has it open for writing") from error
        with suppress(OSError):  # who holds the lock is a courtesy, and a full disk no reason to stay away
            os.truncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
        return lock


def other_version(path: str, version: int) -> StoreVersion:
    """What is said of a store of a layout version that is not of today."""
    ours = layout.LAYOUT_VERSION
    if version > ours:
        hint = "use a newer reploc"
    elif version < 1:
        hint = "dump it with the reploc that made it, and load the dump here"
    else:
        hint = f"stop its daemon, and say: reploc lrc upgrade --store {path}"
    return StoreVersion(f"store {path}: layout version {version}; this reploc reads {ours}", hint=hint)
