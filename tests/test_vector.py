"""What sender and node must compute alike: the hash of all sequences, and whether a summary is whole."""

from io import BytesIO

import msgspec
import numpy as np
import pytest
from pybloom_live import BloomFilter

from reploc import bloom, digest, errors
from reploc.softstate import vector_hash, whole_filter
from reploc.wire import Summary

RATE = 1e-3


def vector(*sequences: int) -> np.ndarray:
    return np.array(sequences, dtype=np.uint64)


def whole() -> Summary:
    digests = digest.of([f"lfn{n}" for n in range(9)])
    shape = bloom.geometry(3, RATE)
    bits = bloom.build(digests, shape)
    return Summary(5, "bloom", 0, 1, bloom.checksum(bits), bloom.to_container(bits, shape, len(digests)))


def test_a_vector_that_holds_nothing_hashes_to_nothing() -> None:
    assert vector_hash(vector(0, 0, 0)) == 0


def test_vectors_that_differ_in_one_slot_or_order_differ_in_their_hash() -> None:
    vectors = [(1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1), (1, 1, 0), (0, 1, 1), (1 << 40, 1, 1)]
    assert len({vector_hash(vector(*one)) for one in vectors}) == len(vectors)


def test_the_hash_is_a_sum_over_slots_so_that_it_can_be_kept_up_to_date() -> None:
    parts = vector_hash(vector(3, 0, 0)) + vector_hash(vector(0, 4, 0)) + vector_hash(vector(0, 0, 5))
    assert vector_hash(vector(3, 4, 5)) == parts % (1 << 64)


def test_the_hash_of_a_known_vector_never_changes() -> None:
    """Parties of different versions compare it."""
    assert vector_hash(vector(1, 2, 3, 0, 5)) == 0x94595BCD2F5F54D8


def of_capacity(capacity: int) -> bytes:
    """The container of an empty filter that pybloom-live would make for so many names."""
    theirs = BloomFilter(capacity, RATE)
    out = BytesIO()
    theirs.tofile(out)
    return out.getvalue()


def test_a_whole_summary_gives_its_bits() -> None:
    filter_ = whole_filter(whole(), RATE)
    assert (filter_.size_class, filter_.names) == (3, 9)
    assert whole().body.endswith(filter_.bits.tobytes())


@pytest.mark.parametrize(
    ("fields", "rate", "said"),
    [
        ({"body": whole().body[:-1]}, RATE, "bytes long; its geometry needs"),
        ({"body": b""}, RATE, "bytes long"),
        ({"body": whole().body[:41] + bytes([whole().body[41] ^ 1]) + whole().body[42:]}, RATE, "checksum of slot 5"),
        ({"checksum": whole().checksum + 1}, RATE, "checksum of slot 5"),
        ({"body": of_capacity(1000)}, RATE, "no size class has capacity 1000"),
        ({}, 1e-2, "has error rate 0.001; expected 0.01"),
    ],
    ids=["cut", "empty", "a flipped bit", "another checksum", "an unknown class", "another error rate"],
)
def test_a_summary_that_is_not_whole_is_refused_in_words(fields: dict[str, object], rate: float, said: str) -> None:
    with pytest.raises(errors.SummaryInvalid, match=said):
        whole_filter(msgspec.structs.replace(whole(), **fields), rate)
