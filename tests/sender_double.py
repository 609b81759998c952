"""A sender made by hand: its names, its sequences, and any message that one could send, right or wrong."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace

from reploc import bloom, digest
from reploc.difference import Difference
from reploc.members import IndexSettings
from reploc.softstate import vector_hash
from reploc.wire import SOFT_STATE_VERSION, SoftState, Summary


@dataclass
class SenderDouble:
    """A catalog's sender that tells one node of the slots in `owned`, all of them unless told otherwise."""

    index: IndexSettings
    site: str = "A"
    url: str = "http://a:1"
    sender: str = "sender-a"
    epoch: int = 1
    incarnation: int = 1
    message: int = 0
    names: list[str] = field(default_factory=list)
    sequences: dict[int, int] = field(default_factory=dict)

    def summary(self, slot: int, built_for: int = 4, **changes: Any) -> Summary:
        """The summary of one slot, with whatever is to be wrong about it."""
        digests = digest.of(self.names)
        inside = digests[digest.slots_of(digests, self.index.slots) == slot]
        shape = bloom.geometry(built_for, self.index.error_rate)
        bits = bloom.build(inside, shape)
        sequence = self.sequences.setdefault(slot, 1)
        body = bloom.to_container(bits, shape, len(inside))
        whole = Summary(slot, "bloom", 0, sequence, bloom.checksum(bits), body)
        return replace(whole, **changes)

    def increment(self, slot: int, before: Summary, **changes: Any) -> Summary:
        """What leads from an earlier whole summary of a slot to its present one."""
        now = self.summary(slot)
        bits = [
            np.unpackbits(bloom.from_container(one.body)[0], bitorder="little").astype(bool) for one in (before, now)
        ]
        came, went = np.flatnonzero(bits[1] & ~bits[0]), np.flatnonzero(bits[0] & ~bits[1])
        body = Difference(came.astype(np.uint32), went.astype(np.uint32)).to_bytes(len(self.names))
        return replace(now, from_seq=before.to_seq, body=body, **changes)

    def changed(self) -> None:
        """All slots have new contents."""
        self.sequences = {slot: self.sequences.get(slot, 0) + 1 for slot in range(self.index.slots)}

    def news(self, summaries: list[Summary] | None = None, **changes: Any) -> SoftState:
        """The next message, with all slots unless told otherwise, and with whatever is to be wrong about it."""
        if summaries is None:
            summaries = [self.summary(slot) for slot in range(self.index.slots)]
        self.message += 1
        vector = np.array([self.sequences.get(slot, 1) for slot in range(self.index.slots)], dtype=np.uint64)
        message = SoftState(
            version=SOFT_STATE_VERSION,
            site=self.site,
            sender=self.sender,
            url=self.url,
            slots=self.index.slots,
            error_rate=self.index.error_rate,
            epoch=self.epoch,
            incarnation=self.incarnation,
            message=self.message,
            position=self.message,
            news_age_s=0.0,
            vector=vector_hash(vector),
            summaries=summaries,
        )
        return replace(message, **changes)
