"""What sender and node both compute about soft state: a hash over all slot sequences, and whether a summary is whole.

The hash is a sum, mod 2⁶⁴, of a mixed value per (slot, sequence), so that its order does not matter and either end can
keep it up to date slot by slot. Sequence 0 means that nothing is held, and adds nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reploc import bloom
from reploc.digest import mix
from reploc.errors import SummaryInvalid
from reploc.wire import Summary

_SLOT_STEP = np.uint64(0x9E3779B97F4A7C15)


def vector_hash(sequences: NDArray[np.uint64]) -> int:
    """The hash of a vector of sequences, one per slot of the index, shape (slots,)."""
    held = np.flatnonzero(sequences).astype(np.uint64)
    return int(mix(mix((held + np.uint64(1)) * _SLOT_STEP) ^ sequences[held]).sum(dtype=np.uint64))


def verified_bits(summary: Summary, error_rate: float) -> bloom.Bits:
    """The bits of a whole filter, fit for geometry(size_class). Raises SummaryInvalid: class, length or checksum."""
    bits = np.frombuffer(summary.bits, dtype=np.uint8)
    bloom.check_fit(bits, bloom.geometry(summary.size_class, error_rate))
    if (found := bloom.checksum(bits)) != summary.checksum:
        raise SummaryInvalid(
            f"checksum of slot {summary.slot} is {found:016x}; its header says {summary.checksum:016x}"
        )
    return bits
