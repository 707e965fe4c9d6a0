"""event_id in columns: XXH3-128 over 48 bytes per row, computed by numpy for a whole batch.

The algorithm is docs/event_id.md. A record has a fixed length, so the standard hash
becomes a few dozen array operations; the result is bit for bit what the xxhash library
gives, which the tests compare.
"""

from __future__ import annotations

import struct
from binascii import hexlify
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from sparkplug import ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from sparkplug import Observations

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
_37: Final = np.uint64(37)
_CHUNK: Final = 2048
"""Rows at a time: what fits into the cache is twice as fast."""

_FEW: Final = 256
"""Texts that are hashed as they are; among more it pays to find the distinct ones first."""
_FEW_RECORDS: Final = 400
"""Up to so many rows are hashed one by one."""


def identity(
    site: str, group_id: str, edge_node_id: str, device_id: str | None, metric: str
) -> bytes:
    """The 16 bytes that stand for a tag in the records of its observations."""
    return next(identities_of([metric], place(site, group_id, edge_node_id, device_id)))


def place(
    site: str, group_id: str | None, edge_node_id: str | None, device_id: str | None
) -> bytes:
    """The bytes that are hashed first for the identity of each metric of a node or device.

    A tag that came over HTTP is of neither: it has its source in the place of the site.
    """
    return b"".join(map(counted, (site, group_id, edge_node_id, device_id)))


def identities_of(metrics: Iterable[str], begins_with: bytes) -> Iterator[bytes]:
    """The identity of each metric of one `place`."""
    digest, length = xxhash.xxh3_128_digest, _LENGTH.pack
    return (digest(begins_with + length(len(raw)) + raw) for raw in map(str.encode, metrics))


def counted(text: str | None) -> bytes:
    """A text as it is hashed: its length before its bytes, so that texts cannot run together."""
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
    return pa.StringArray.from_buffers(rows, _ends(rows), pa.py_buffer(hexlify(digests.data)))


@lru_cache(maxsize=64)
def _ends(rows: int) -> pa.Buffer:
    """Offsets of so many texts of 32 characters. Batches of a busy server are all alike."""
    return pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * 32)


def event_digests(identity_of_row: U64, observations: Observations) -> NDArray[np.uint64]:
    """The digest behind each event_id as two big-endian words, shape (n, 2)."""
    values = observations.values
    first, second = _value_words(observations)
    tail = values.kind.astype(np.uint64)
    tail <<= _32
    tail |= observations.quality_code.view(np.uint32)
    time = observations.event_time_us.view(np.uint64)
    return record_digests(identity_of_row, time, first, second, tail)


def event_id_of(
    identity: bytes, event_time_us: int, kind: int, value: float | str | None, quality_code: int
) -> str:
    """The event_id of one row.

    Args:
        identity: one of `identities_of`.
        event_time_us: of the row, µs since 1970 UTC.
        kind: of ValueKind.
        value: of that kind.
        quality_code: of the row.
    """
    words = np.zeros(2, dtype=np.uint64)
    if isinstance(value, str):
        words = digest_words([xxhash.xxh3_128_digest(value.encode())])[0]
    elif kind == ValueKind.NUMERIC:
        words[0] = np.float64(value or 0.0).view(np.uint64)
    elif value is not None:
        words[0] = np.int64(value).view(np.uint64)
    tail = (kind << 32) | (quality_code & 0xFFFF_FFFF)
    time = np.int64(event_time_us).view(np.uint64)
    columns = [np.array([each], dtype=np.uint64) for each in (time, words[0], words[1], tail)]
    text: str = as_text(record_digests(identities([identity]), *columns))[0].as_py()
    return text


def record_digests(identity_of_row: U64, w2: U64, w3: U64, w4: U64, w5: U64) -> NDArray[np.uint64]:
    """XXH3-128 of records of 48 bytes, one per row, as big-endian words: shape (n, 2).

    A record is an identity (columns of `identities`) and the four words that follow it.
    """
    rows = len(w2)
    if rows <= _FEW_RECORDS:
        return _few_record_digests(identity_of_row, w2, w3, w4, w5)
    digests = np.empty((rows, 2), dtype=">u8")
    for start in range(0, rows, _CHUNK):
        part = slice(start, start + _CHUNK)
        digests[part].T[:] = _xxh3_128(
            identity_of_row[:, part], w2[part], w3[part], w4[part], w5[part]
        )
    return digests


def _few_record_digests(identity_words: U64, *words: U64) -> NDArray[np.uint64]:
    """XXH3-128 of few records of 48 bytes, as big-endian words: shape (n, 2).

    One by one, by the library: in columns it would be some fifty operations on little.
    """
    records = np.empty((len(words[0]), 6), dtype="<u8")
    records[:, :2] = identity_words[:2].T
    for number, word in enumerate(words, start=2):
        records[:, number] = word
    each = records.view("V48").ravel().tolist()
    digests = b"".join(map(xxhash.xxh3_128_digest, each))
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2)


def _value_words(observations: Observations) -> U64:
    """Bytes 24 to 39 of each record as two rows of words; those of a null are zero as they come."""
    values = observations.values
    kind = values.kind
    words = np.zeros((2, len(kind)), dtype=np.uint64)
    words[0] = values.integer.view(np.uint64)
    np.copyto(words[0], values.number.view(np.uint64), where=kind == ValueKind.NUMERIC)
    texts = (kind == ValueKind.TEXT).nonzero()[0]
    if len(texts):
        digests = _few_text_words if len(texts) <= _FEW else _text_words
        words[:, texts] = digests(values.text, texts).T
    return words


def _few_text_words(text: pa.StringArray, rows: NDArray[np.int64]) -> U64:
    """Digests of the texts of some rows, shape (n, 2), one by one."""
    _, bounds, data = text.buffers()
    ends = np.frombuffer(bounds, dtype=np.int32)[text.offset :]
    raw = memoryview(data if data is not None else b"")
    places = zip(ends[rows].tolist(), ends[rows + 1].tolist(), strict=True)
    return digest_words([xxhash.xxh3_128_digest(raw[start:end]) for start, end in places])


def _text_words(text: pa.StringArray, rows: NDArray[np.int64]) -> U64:
    """Digests of the texts of many rows, shape (n, 2): each distinct text is looked at once."""
    only = text.drop_null()  # unless other rows have a text too
    if len(only) != len(rows):
        only = text.take(pa.array(rows))
    encoded = pc.dictionary_encode(only)
    distinct = digest_words(
        map(xxhash.xxh3_128_digest, map(str.encode, encoded.dictionary.to_pylist()))
    )
    words: U64 = distinct[encoded.indices.to_numpy()]
    return words


def _fold(left: U64, right: U64) -> U64:
    """High and low half of the 128-bit product, combined by exclusive or.

    Memory is used again where that is possible: what is fresh is not in the cache.
    """
    left_low, left_high = left & _LOW_32, left >> _32
    right_low, right_high = right & _LOW_32, right >> _32
    low = left_low * right_low
    low >>= _32
    middle = left_high * right_low
    left_low *= right_high
    left_low += low
    left_low += np.bitwise_and(middle, _LOW_32, out=low)  # what carries into the high half
    left_high *= right_high
    middle >>= _32
    left_high += middle
    left_low >>= _32
    left_high += left_low
    left_high ^= np.multiply(left, right, out=low)
    return left_high


def _mix(first: U64, second: U64, *secrets: int) -> U64:
    """Mix two words with each secret (XXH3's `mix16B`): a row of the result per secret.

    The words have a row per secret, or one row for all of them.
    """
    secret = np.array(secrets)[:, np.newaxis]
    return _fold(first ^ _SECRET[secret], second ^ _SECRET[secret + 1])


def _avalanche(word: U64) -> None:
    """Spread the bits, in place."""
    word ^= word >> _37
    word *= _AVALANCHE
    word ^= word >> _32


def _xxh3_128(identity_words: U64, w2: U64, w3: U64, w4: U64, w5: U64) -> U64:
    """XXH3-128 with seed 0 of records of six little-endian words: rows (high, low).

    The first two words and their mixture, which are constant for a tag, come ready-made.
    """
    w0, w1, mixed = identity_words
    first, second = np.empty((2, 3, len(w2)), dtype=np.uint64)
    for row, (left, right, secret) in enumerate(((w2, w3, 4), (w2, w3, 6), (w4, w5, 2))):
        np.bitwise_xor(left, _SECRET[secret], out=first[row])
        np.bitwise_xor(right, _SECRET[secret + 1], out=second[row])
    low, high, mixed_end = _fold(first, second)
    middle = w2 + w3
    low += _SEED_LOW
    low ^= middle
    low += mixed
    low ^= w4 + w5
    high ^= middle
    high += mixed_end
    high ^= w0 + w1
    result = first[:2]
    np.add(low, high, out=result[1])
    low *= _PRIME64_1
    high *= _PRIME64_4
    low += high
    np.add(low, _SEED_HIGH, out=result[0])
    _avalanche(result)
    np.negative(result[0], out=result[0])
    return result
