"""event_id in columns: XXH3-128 over 48 bytes per row, computed by numpy for a whole batch.

The algorithm is docs/event_id.md. A record has a fixed length, so the standard hash
becomes a few dozen array operations; the result is bit for bit what the xxhash library
gives, which the tests compare.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from sparkplug.values import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sparkplug.messages import Observations

    U64 = NDArray[np.uint64]

_LENGTH: Final = struct.Struct("<I")
_ABSENT_LENGTH: Final = 0xFFFF_FFFF

# Constants of XXH3 (public domain specification, https://xxhash.com): the parts of its
# default secret that an input of 48 bytes meets, and its primes.
_SECRET: Final = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    ),
    dtype="<u8",
)
_PRIME64_1: Final = np.uint64(0x9E3779B185EBCA87)
_PRIME64_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME64_4: Final = np.uint64(0x85EBCA77C2B2AE63)
_AVALANCHE: Final = np.uint64(0x165667919E3779F9)
_RECORD_BYTES: Final = 48
_SEED_LOW: Final = np.uint64(_RECORD_BYTES * int(_PRIME64_1) % 2**64)
_SEED_HIGH: Final = np.uint64(_RECORD_BYTES * int(_PRIME64_2) % 2**64)
_LOW_32: Final = np.uint64(0xFFFF_FFFF)
_32: Final = np.uint64(32)
_HEX: Final = np.array(
    [tuple(f"{pair & 0xFF:02x}{pair >> 8:02x}".encode()) for pair in range(65_536)], dtype=np.uint8
).view(np.uint32)[:, 0]
"""Four hexadecimal digits for every pair of bytes, which is an index of 16 bits."""

_CHUNK: Final = 8192
"""Rows at a time: what fits into the cache is twice as fast."""


def identity(
    site: str, group_id: str, edge_node_id: str, device_id: str | None, metric: str
) -> bytes:
    """The 16 bytes that stand for a tag in the records of its observations."""
    return next(identities_of([metric], place(site, group_id, edge_node_id, device_id)))


def place(site: str, group_id: str, edge_node_id: str, device_id: str | None) -> bytes:
    """What the identities of all metrics of a node or device begin with."""
    return b"".join(map(_counted, (site, group_id, edge_node_id, device_id)))


def identities_of(metrics: Iterable[str], begins_with: bytes) -> Iterator[bytes]:
    """The identity of each metric of one `place`."""
    digest, length = xxhash.xxh3_128_digest, _LENGTH.pack
    return (digest(begins_with + length(len(raw)) + raw) for raw in map(str.encode, metrics))


def _counted(text: str | None) -> bytes:
    if text is None:
        return _LENGTH.pack(_ABSENT_LENGTH)
    raw = text.encode()
    return _LENGTH.pack(len(raw)) + raw


def identities(digests: Iterable[bytes]) -> U64:
    """Identity digests as columns, shape (3, n): two words and their mixture."""
    words = digest_words(digests)
    return np.vstack([words[:, 0], words[:, 1], _mix(words[:, :1], words[:, 1:], 0)[:, 0]])


def digest_words(digests: Iterable[bytes]) -> U64:
    """Digests of 16 bytes as little-endian words, shape (n, 2)."""
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2)


def event_ids(identity_of_row: U64, observations: Observations) -> pa.StringArray:
    """The event_id of each observation; `identity_of_row` is of `identities`, shape (3, n)."""
    return as_text(event_digests(identity_of_row, observations))


def as_text(digests: NDArray[np.uint64]) -> pa.StringArray:
    """Digests of `event_digests` as 32 hexadecimal digits each."""
    rows = len(digests)
    text = _HEX.take(digests.view("<u2"))
    offsets = np.arange(rows + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def event_digests(identity_of_row: U64, observations: Observations) -> NDArray[np.uint64]:
    """The digest behind each event_id as two big-endian words, shape (n, 2)."""
    values = observations.values
    value = _value_words(observations)
    tail = (values.kind.astype(np.uint64) << _32) | (
        observations.quality_code.astype(np.int64).view(np.uint64) & _LOW_32
    )
    time = observations.event_time_us.view(np.uint64)
    rows = len(time)
    digests = np.empty((rows, 2), dtype=">u8")
    for start in range(0, rows, _CHUNK):
        part = slice(start, start + _CHUNK)
        digests[part, 0], digests[part, 1] = _xxh3_128(
            identity_of_row[:, part], time[part], value[part, 0], value[part, 1], tail[part]
        )
    return digests


def _value_words(observations: Observations) -> U64:
    """Bytes 24 to 39 of each record as two words; those of a null are zero as they come."""
    values = observations.values
    kind = values.kind
    words = np.zeros((len(kind), 2), dtype=np.uint64)
    words[:, 0] = np.where(
        kind == Kind.NUMERIC, values.number.view(np.uint64), values.integer.view(np.uint64)
    )
    texts = kind == Kind.TEXT
    if texts.any():
        only = values.text.drop_null()  # unless other kinds have a text too
        if len(only) != np.count_nonzero(texts):
            only = values.text.filter(pa.array(texts))
        encoded = pc.dictionary_encode(only)
        distinct = digest_words(
            map(xxhash.xxh3_128_digest, map(str.encode, encoded.dictionary.to_pylist()))
        )
        words[texts] = distinct[encoded.indices.to_numpy()]
    return words


def _fold(left: U64, right: U64) -> U64:
    """High and low half of the 128-bit product, combined by exclusive or."""
    left_low, left_high = left & _LOW_32, left >> _32
    right_low, right_high = right & _LOW_32, right >> _32
    low = left_low * right_low
    middle = left_high * right_low
    left_low *= right_high
    left_low += low >> _32
    left_low += middle & _LOW_32  # what carries into the high half
    left_high *= right_high
    left_high += middle >> _32
    left_high += left_low >> _32
    low &= _LOW_32
    left_low <<= _32
    left_high ^= low
    left_high ^= left_low
    return left_high


def _mix(first: U64, second: U64, *secrets: int) -> U64:
    """One row of the result per secret, for words in rows of the same number, or of one."""
    secret = np.array(secrets)[:, np.newaxis]
    return _fold(first ^ _SECRET[secret], second ^ _SECRET[secret + 1])


def _avalanche(word: U64) -> U64:
    word = (word ^ (word >> np.uint64(37))) * _AVALANCHE
    return word ^ (word >> _32)


def _xxh3_128(identity_words: U64, w2: U64, w3: U64, w4: U64, w5: U64) -> tuple[U64, U64]:
    """XXH3-128 with seed 0 of records of six little-endian words: (high, low).

    The first two words and their mixture, which are constant for a tag, come ready-made.
    """
    w0, w1, mixed = identity_words
    mixed_low, mixed_high, mixed_end = _mix(np.stack((w2, w2, w4)), np.stack((w3, w3, w5)), 4, 6, 2)
    middle = w2 + w3
    low = (((_SEED_LOW + mixed_low) ^ middle) + mixed) ^ (w4 + w5)
    high = ((mixed_high ^ middle) + mixed_end) ^ (w0 + w1)
    result_low = low + high
    result_high = low * _PRIME64_1 + high * _PRIME64_4 + _SEED_HIGH
    return ~_avalanche(result_high) + np.uint64(1), _avalanche(result_low)
