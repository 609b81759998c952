"""Two names with one digest: MurmurHash3 is no cryptographic hash, so anyone can make them.

Each 16-byte block is mixed into the state by steps that can be undone. Two different first blocks leave different
states; the second block that brings one state to where the other one went is computed, half by half, and other second
blocks are tried until it is printable.
"""

import random
import string

import mmh3

_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
_WORD = (1 << 64) - 1
_PRINTABLE = frozenset((string.ascii_letters + string.digits + string.punctuation).encode())
_LETTERS = string.ascii_letters.encode()


def _rotl(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _WORD


def _first(half: int) -> int:
    return _rotl(half * _C1 & _WORD, 31) * _C2 & _WORD


def _second(half: int) -> int:
    return _rotl(half * _C2 & _WORD, 33) * _C1 & _WORD


def _first_undone(mixed: int) -> int:
    return _rotl(mixed * pow(_C2, -1, 1 << 64) & _WORD, 33) * pow(_C1, -1, 1 << 64) & _WORD


def _second_undone(mixed: int) -> int:
    return _rotl(mixed * pow(_C1, -1, 1 << 64) & _WORD, 31) * pow(_C2, -1, 1 << 64) & _WORD


def _state(raw: bytes) -> tuple[int, int]:
    h1 = h2 = 0
    for at in range(0, len(raw), 16):
        h1 ^= _first(int.from_bytes(raw[at : at + 8], "little"))
        h1 = (_rotl(h1, 27) + h2) * 5 + 0x52DCE729 & _WORD
        h2 ^= _second(int.from_bytes(raw[at + 8 : at + 16], "little"))
        h2 = (_rotl(h2, 31) + h1) * 5 + 0x38495AB5 & _WORD
    return h1, h2


def pair(prefix: str, seed: int = 1) -> tuple[str, str]:
    """Two names that begin with the prefix, whose bytes are a multiple of 16, and have the same digest."""
    start = prefix.encode()
    assert len(start) % 16 == 0
    rng = random.Random(seed)
    ours, theirs = (start + bytes(rng.choices(_LETTERS, k=16)) for _ in range(2))
    (h1, h2), (g1, g2) = _state(ours), _state(theirs)
    while True:
        half = bytes(rng.choices(_LETTERS, k=8))
        after = _rotl(h1 ^ _first(int.from_bytes(half, "little")), 27) + h2 & _WORD
        other = _first_undone(_rotl(after - g2 & _WORD, 37) ^ g1).to_bytes(8, "little")
        if _PRINTABLE.issuperset(other):
            break
    ours, theirs = ours + half, theirs + other
    while True:
        half = bytes(rng.choices(_LETTERS, k=8))
        other = _second_undone(h2 ^ _second(int.from_bytes(half, "little")) ^ g2).to_bytes(8, "little")
        if _PRINTABLE.issuperset(other):
            break
    names = (ours + half).decode(), (theirs + other).decode()
    assert names[0] != names[1] and mmh3.mmh3_x64_128_digest(names[0].encode()) == mmh3.mmh3_x64_128_digest(
        names[1].encode()
    )
    return names
