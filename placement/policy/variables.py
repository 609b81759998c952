"""Every variable of the policy language: its type, what it is about, a sentence, and who supplies it.

`INVENTORY` supplies what follows from the snapshot alone; the others come from attribute producers
(`placement/attributes`). A *volatile* variable can change when a replica goes, so that what depends on it is decided
anew; an *in view* one is about the blocks of a replica that earlier block actions have left to later lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

INVENTORY = "inventory"

SITE_STATUSES = ("READY", "WAITROOM", "MORGUE", "UNKNOWN")
STORAGE_TYPES = ("DISK", "MSS", "BUFFER", "UNKNOWN")
DATASET_STATUSES = ("UNKNOWN", "DELETED", "DEPRECATED", "INVALID", "PRODUCTION", "VALID", "IGNORED")
ON_TAPE = ("NONE", "PARTIAL", "FULL")


class Kind(Enum):
    """The type of a variable, as messages name it."""

    BOOLEAN = "boolean"
    COUNT = "number"
    BYTES = "size"
    FRACTION = "fraction"
    TEXT = "text"
    TIME = "time"
    WORD = "word"

    @property
    def is_number(self) -> bool:
        return self in (Kind.COUNT, Kind.BYTES, Kind.FRACTION)


class Level(Enum):
    """What a variable is about; its value is the part of the name before the point."""

    SITE = "site"
    DATASET = "dataset"
    REPLICA = "replica"
    BLOCK = "blockreplica"


@dataclass(frozen=True)
class Variable:
    """One variable; `words` are the values of an enumeration."""

    name: str
    kind: Kind
    level: Level
    sentence: str
    producer: str = INVENTORY
    words: tuple[str, ...] = ()
    volatile: bool = False
    in_view: bool = False

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)


def _variable(
    name: str,
    kind: Kind,
    sentence: str,
    producer: str = INVENTORY,
    *,
    volatile: bool = False,
    in_view: bool = False,
) -> Variable:
    level = Level(name.partition(".")[0]) if "." in name else Level.SITE
    return Variable(name, kind, level, sentence, producer, (), volatile, in_view)


def _word(name: str, words: tuple[str, ...], sentence: str, *, volatile: bool = False) -> Variable:
    return Variable(name, Kind.WORD, Level(name.partition(".")[0]), sentence, INVENTORY, words, volatile)


_B, _N, _S, _F, _T, _X = Kind.BOOLEAN, Kind.COUNT, Kind.BYTES, Kind.FRACTION, Kind.TIME, Kind.TEXT

_TABLE = (
    _variable("dataset.name", _X, "The dataset's name."),
    _word("dataset.status", DATASET_STATUSES, "The dataset's status."),
    _variable("dataset.data_type", _X, "The dataset's data type, a word of the collaboration."),
    _word("dataset.on_tape", ON_TAPE, "FULL: a full copy is on tape; PARTIAL: some of it; NONE.", volatile=True),
    _variable("dataset.size", _S, "Bytes of all blocks of the dataset."),
    _variable("dataset.num_files", _N, "Files of all blocks of the dataset."),
    _variable("dataset.num_blocks", _N, "Blocks of the dataset."),
    _variable("dataset.is_open", _B, "Blocks may still be added."),
    _variable("dataset.last_update", _T, "When the dataset last changed."),
    _variable("dataset.last_access", _T, "Last use, or last change where that is later.", "popularity"),
    _variable(
        "dataset.usage_rank", _N, "Days since the last use or change, less accesses per GB: high is idle.", "popularity"
    ),
    _variable("dataset.demand_rank", _N, "Accesses, each halved every 4 days since: high is wanted.", "popularity"),
    _variable("dataset.release", _X, "The software version, its fields joined by underscores."),
    _variable("dataset.num_full_copy", _N, "Full copies at READY sites of any kind.", volatile=True),
    _variable("dataset.num_full_disk_copy", _N, "Full copies at READY disk sites.", volatile=True),
    _variable("dataset.tape_copy_requested", _B, "A copy to tape awaits approval.", "tape_requests"),
    _variable("dataset.is_latest_production_release", _B, "Made with the latest release of its kind.", "releases"),
    _variable("dataset.on_protected_site", _B, "A copy is at a protected site.", "protected_sites"),
    _variable("dataset.unhandled_copy_exists", _B, "A copy of it is asked for or ordered.", "unhandled_copies"),
    _variable("dataset.unknown_in_all_dbs", _B, "No bookkeeping knows the dataset.", "bookkeeping"),
    _variable("replica.size", _S, "Bytes present, of the blocks in view.", volatile=True, in_view=True),
    _variable("replica.incomplete", _B, "A block in view is not whole.", volatile=True, in_view=True),
    _variable("replica.partial", _B, "All blocks present are whole, others are absent.", volatile=True),
    _variable("replica.full", _B, "All blocks of the dataset are there and whole.", volatile=True),
    _variable("replica.growing", _B, "New blocks of the dataset are to come here too."),
    _variable("replica.owner", _X, "The group that owns the dataset replica as a whole, `None` for nobody."),
    _variable("replica.custodial", _B, "The site is to keep it for ever."),
    _variable("replica.is_locked", _B, "A block in view is locked.", "locks", volatile=True, in_view=True),
    _variable("replica.is_last_copy", _B, "A block of it has no other survivor.", volatile=True),
    _variable("replica.last_block_created", _T, "The newest block in view.", volatile=True, in_view=True),
    _variable("replica.first_block_created", _T, "The oldest block in view.", volatile=True, in_view=True),
    _variable("replica.num_access", _N, "Accesses to the dataset, all together.", "popularity"),
    _variable(
        "replica.num_full_disk_copy_common_owner",
        _N,
        "Full copies at READY disk sites that share an owner with this one, itself included.",
        volatile=True,
    ),
    _variable(
        "replica.num_full_other_copy_common_owner",
        _N,
        "Full copies at other READY sites of any kind that share an owner with this one.",
        volatile=True,
    ),
    _variable("replica.enforcer_protected", _B, "A rule of the enforcer needs this copy.", "enforcer"),
    _variable("blockreplica.name", _X, "The block's whole name, `dataset#block`."),
    _variable("blockreplica.size", _S, "Bytes present of the block."),
    _variable("blockreplica.complete", _B, "All files and bytes of the block are there."),
    _variable("blockreplica.owner", _X, "The group that owns the block replica, `None` for nobody."),
    _variable("blockreplica.is_locked", _B, "A lock holds it.", "locks"),
    _variable("blockreplica.is_custodial", _B, "The site is to keep it for ever."),
    _variable("blockreplica.last_update", _T, "When the block replica last changed."),
    _variable("blockreplica.age_relative_to_newest", _N, "Seconds older than the newest block replica of all."),
    _variable("blockreplica.num_full_disk_copy", _N, "Whole copies of the block at READY disk sites.", volatile=True),
    _variable(
        "blockreplica.num_full_other_copy", _N, "Whole copies of the block at other READY sites of any kind.",
        volatile=True,
    ),
    _variable("blockreplica.on_tape", _B, "It is whole, and a whole copy is on tape.", volatile=True),
    _variable(
        "blockreplica.is_last_transfer_source",
        _B,
        "It is whole, another copy is not, and no other whole one is at a READY disk site.",
        volatile=True,
    ),
    _variable("site.name", _X, "The site's name."),
    _word("site.status", SITE_STATUSES, "The site's status."),
    _word("site.storage_type", STORAGE_TYPES, "What the site stores on."),
    _variable("site.occupancy", _F, "Bytes of the partition there, less what goes, over the quota.", volatile=True),
    _variable("site.projected_occupancy", _F, "The same with ordered copies counted as finished.", volatile=True),
    _variable("site.quota", _S, "The site's quota for the partition."),
    _variable("site.free", _S, "The quota less the bytes of the partition there.", volatile=True),
    _variable("never", _B, "Holds nowhere."),
    _variable("always", _B, "Holds everywhere."),
)  # fmt: skip

VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _TABLE}

#: What policies of old called some of them, to say so.
FORMER_NAMES = {
    "site.active": "site.status == READY",
    "replica.has_locked_block": "blockreplica.is_locked",
    "replica.group_name": "blockreplica.owner",
}


def producers_of(variables: Iterable[Variable]) -> dict[str, list[str]]:
    """The producers that these variables need beside the inventory, each with the names of its variables."""
    needed: dict[str, set[str]] = {}
    for variable in variables:
        if variable.producer != INVENTORY:
            needed.setdefault(variable.producer, set()).add(variable.name)
    return {producer: sorted(needed[producer]) for producer in sorted(needed)}
