"""The section "Forms of a payload" of docs/decoding.md: compressed envelopes and JSON."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from oracle import json_form
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload

if TYPE_CHECKING:
    import random

COMPRESSED = "SPBV1.0_COMPRESSED"
LARGEST_INFLATED = 64 * 1024 * 1024

GZIP, ZLIB, RAW = 31, 15, -15


def parse_payload(payload: bytes) -> Payload | None:
    """None if the bytes are not parseable, which includes strings that are not UTF-8.

    The flat schema is used: what is wrong inside a property set or a template is
    that metric's affair and does not make the payload unreadable.
    """
    try:
        parsed = Payload.FromString(payload)
    except DecodeError:
        return None
    # upb hands out text of proto2 that is not UTF-8 as bytes.
    texts = [parsed.uuid]
    for metric in parsed.metrics:
        texts += [metric.name, metric.string_value]
    return parsed if all(isinstance(text, str) for text in texts) else None


def read_payload(content: bytes) -> tuple[Payload | None, str | None]:
    """The payload that the bytes stand for, and a reason if they are not read.

    Of an envelope that does not open there are both: its own seq still counts.
    """
    payload = parse_payload(content)
    if payload is None and content.lstrip()[:1] == b"{":
        payload = json_form.read(content)
        if payload is None:
            return None, "json_payload"
    if payload is None:
        return None, "bad_payload"
    if payload.uuid == COMPRESSED:
        inner = opened(payload)
        return (payload, inner) if isinstance(inner, str) else (inner, None)
    return payload, None


def opened(envelope: Payload) -> Payload | str:
    """The payload in an envelope, or why it is not read."""
    content = inflated(envelope.body)
    if content is not None and len(content) > LARGEST_INFLATED:
        return "envelope_too_large"
    payload = None if content is None else parse_payload(content)
    if payload is None or payload.uuid == COMPRESSED:
        return "bad_envelope"
    if envelope.HasField("seq"):
        payload.seq = envelope.seq
    if envelope.HasField("timestamp"):
        payload.timestamp = envelope.timestamp
    return payload


def inflated(body: bytes) -> bytes | None:
    """What a body inflates to, a byte more than is allowed at most; None if it is no stream."""
    kind = RAW
    if body.startswith(b"\x1f\x8b"):
        kind = GZIP
    elif len(body) > 1 and body[0] % 16 == 8 and body[0] < 128:
        kind = ZLIB if int.from_bytes(body[:2], "big") % 31 == 0 else RAW
    stream = zlib.decompressobj(kind)
    try:
        inner = stream.decompress(body, LARGEST_INFLATED + 1)
    except zlib.error:
        return None
    return inner if stream.eof or len(inner) > LARGEST_INFLATED else None


def enveloped(content: bytes, rng: random.Random) -> bytes:
    """A payload in a compressed envelope, as one or another publisher makes them."""
    inner = parse_payload(content)
    outer = Payload(uuid=COMPRESSED)
    kind = rng.choice((GZIP, ZLIB, RAW))
    if rng.random() < 0.5:
        name = "GZIP" if (kind == GZIP) == (rng.random() < 0.9) else "DEFLATE"
        outer.metrics.add(name="algorithm", datatype=12, string_value=name)
    if inner is not None:
        if inner.HasField("seq") and rng.random() < 0.95:
            outer.seq = inner.seq
            if rng.random() < 0.3:  # in field order seq comes last, or is all there is
                content += Payload(seq=rng.randrange(256)).SerializeToString()
        if inner.HasField("timestamp") and rng.random() < 0.5:
            outer.timestamp = max(inner.timestamp - rng.randint(0, 5), 0)
    stream = zlib.compressobj(wbits=kind)
    outer.body = stream.compress(content) + stream.flush() + rng.choice((b"", b"", b"trailing"))
    return outer.SerializeToString()


def torn(content: bytes, rng: random.Random) -> bytes:
    """An envelope that does not open."""
    whole = Payload.FromString(enveloped(content, rng))
    whole.body = rng.choice((b"", b"\x1f\x8b", whole.body[:-12], zlib.compress(b"\x12\xff")))
    if rng.random() < 0.3:
        whole.body = zlib.compress(enveloped(content, rng))
    return whole.SerializeToString()
