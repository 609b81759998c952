"""What sender and node both compute about soft state: a hash over all slot sequences, and whether a summary is whole.

The hash is a sum, mod 2⁶⁴, of a mixed value per (slot, sequence), so that its order does not matter and either end can
keep it up to date slot by slot: a multiset hash by addition (Clarke et al., "Incremental Multiset Hash Functions",
2003), here against mistakes and not against enemies. Sequence 0 means that nothing is held, and adds nothing.
"""

from __future__ import annotations

from typing import NamedTuple

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


class WholeFilter(NamedTuple):
    """A filter fit for geometry(size_class): packed bits, and how many names it holds."""

    size_class: int
    names: int
    bits: bloom.Bits


def whole_filter(summary: Summary, error_rate: float) -> WholeFilter:
    """The filter of a whole summary. Raises SummaryInvalid: header, class, error rate, length or checksum."""
    bits, shape, names = bloom.from_container(summary.body)
    size_class = bloom.class_of(shape)
    if shape.error_rate != error_rate:
        raise SummaryInvalid(f"filter of slot {summary.slot} has error rate {shape.error_rate}; expected {error_rate}")
    if (found := bloom.checksum(bits)) != summary.checksum:
        raise SummaryInvalid(
            f"checksum of slot {summary.slot} is {found:016x}; its header says {summary.checksum:016x}"
        )
    return WholeFilter(size_class, names, bits)
