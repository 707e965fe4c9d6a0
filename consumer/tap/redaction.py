"""Replaces names and texts in messages, and keeps what a decoder makes something of.

What stays and what is replaced is the table in docs/on-the-wire.md. Replaced is what is not known
to be harmless: fields that the schema does not know are left out, payloads that cannot be read
become random bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from consumer.tap.json_redaction import JsonRedaction, looks_like_json
from consumer.tap.known_types import KnownTypes, redacted_bytes
from consumer.tap.property_rules import KEPT_KEYS, kept_text
from consumer.tap.pseudonyms import Pseudonyms
from sparkplug import (
    CERTIFICATE_PREFIX,
    COMPRESSED_UUID,
    NAMESPACE,
    Message,
    MessageType,
    Topic,
    compressed_like,
    open_envelope,
    parse_topic,
)
from sparkplug.pb import sparkplug_b_columns_pb2 as flat
from sparkplug.pb import sparkplug_b_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message as Part

    from consumer.tap.known_types import TypesOfOwner

_VERBS: Final = frozenset(MessageType)
_STATE: Final = "STATE"
_STATES: Final = frozenset({b"ONLINE", b"OFFLINE"})
"""What hosts said of themselves before version 3 of the specification."""

_ALGORITHMS: Final = frozenset({"GZIP", "DEFLATE"})
_FILLER: Final = 0x7A
"""Field 15, bytes: no payload of the schema has it."""


class Redaction:
    """Redacts the messages of one capture, in their order.

    What is equal stays equal within the capture. Births tell the datatypes by which later values
    are judged.

    Attributes:
        unread: payloads that were replaced as a whole, because they could not be read.

    Args:
        key: 32 random bytes, to be kept nowhere.
    """

    def __init__(self, key: bytes) -> None:
        self.unread = 0
        self._words = Pseudonyms(key)
        self._types = KnownTypes()
        self._json = JsonRedaction(self._words)

    def site(self, site: str) -> str:
        """A site in the place of another; empty stays empty."""
        return self._words.part(site)

    def message(self, server: int, message: Message) -> Message:
        """The message without names and texts.

        Args:
            server: position of the server: edge nodes of equal names on two of them differ.
            message: as it came.
        """
        topic, payload = message.topic, message.payload
        return message._replace(
            topic=self._topic(topic), payload=self._payload(server, topic, payload)
        )

    # ------------------------------------------------------------------ topics

    def _topic(self, topic: str) -> str:
        if topic.startswith(CERTIFICATE_PREFIX):
            return CERTIFICATE_PREFIX + self._topic(topic.removeprefix(CERTIFICATE_PREFIX))
        levels = topic.split("/")
        kept = {0} if levels[0] in {NAMESPACE, _STATE} else set()
        if levels[0] == NAMESPACE:
            kept |= {1} if levels[1:2] == [_STATE] and len(levels) == 3 else set()
            kept |= {2} if len(levels) > 2 and levels[2] in _VERBS else set()
        return "/".join(
            level if at in kept else self._words.part(level) for at, level in enumerate(levels)
        )

    # ------------------------------------------------------------------ payloads

    def _payload(self, server: int, text: str, payload: bytes) -> bytes:
        if not payload:
            return payload
        try:
            redacted = self._known(server, text, payload)
        except Exception:  # noqa: BLE001 - a defect of ours: it must not end a capture, nor leak
            redacted = None
        if redacted is None:
            self.unread += 1
            redacted = self._unreadable(payload)
            if looks_like_json(payload):  # and is none: so it stays
                redacted = b"{" + redacted[1:]
        return redacted

    def _known(self, server: int, text: str, payload: bytes) -> bytes | None:
        """The payload of a topic redacted; None if it is of no kind that can be read."""
        topic = parse_topic(text.removeprefix(CERTIFICATE_PREFIX))
        if isinstance(topic, Topic):
            return self._read(self._types.of(server, topic), payload)
        if _STATE in text.split("/")[:2]:
            return payload if payload in _STATES else self._json.state(payload)
        return None

    def _read(self, types: TypesOfOwner, payload: bytes) -> bytes | None:
        """The payload redacted; None if it cannot be read."""
        try:
            # The flat schema: damage inside properties or a template concerns its metric only.
            read = flat.Payload.FromString(payload)
        except DecodeError:
            return self._json.payload(types, payload) if looks_like_json(payload) else None
        try:
            if read.uuid == COMPRESSED_UUID:
                return self._enveloped(types, payload, read)
            return self._plain(types, read) or _filler(self._words.raw(payload))
        except (TypeError, UnicodeError):  # text that is no UTF-8
            return None

    def _enveloped(self, types: TypesOfOwner, payload: bytes, outer: flat.Payload) -> bytes:
        """A compressed payload: opened, redacted, and compressed the same way."""
        inner = open_envelope(payload)
        if isinstance(inner, bytes):
            redacted = self._read(types, inner) or self._unreadable(inner)
            body = compressed_like(outer.body, redacted)
        else:
            body = self._unreadable(outer.body)
        envelope = flat.Payload(uuid=COMPRESSED_UUID, body=body)
        if outer.HasField("timestamp"):
            envelope.timestamp = outer.timestamp
        if outer.HasField("seq"):
            envelope.seq = outer.seq
        for metric in outer.metrics:
            if metric.name == "algorithm" and metric.string_value in _ALGORITHMS:
                envelope.metrics.add(
                    name=metric.name, datatype=metric.datatype, string_value=metric.string_value
                )
        return envelope.SerializeToString()

    def _plain(self, types: TypesOfOwner, payload: flat.Payload) -> bytes:
        payload.DiscardUnknownFields()
        if payload.HasField("uuid"):
            payload.uuid = self._words.text(payload.uuid)
        if payload.HasField("body"):
            payload.body = self._words.raw(payload.body)
        for metric in payload.metrics:
            alias = metric.alias if metric.HasField("alias") else None
            types.learn(metric.name, alias, metric.datatype)
            self._flat_metric(types, metric)
        return payload.SerializeToString()

    def _flat_metric(self, types: TypesOfOwner, metric: flat.Metric) -> None:
        """A metric whose parts are still encoded."""
        self._scalars(types, metric)
        parts: tuple[tuple[str, type[Part], Callable[[Any], None]], ...] = (
            ("metadata", pb.MetaData, self._metadata),
            ("properties", pb.PropertySet, self._properties),
            ("dataset_value", pb.DataSet, self._data_set),
            ("template_value", pb.Template, lambda each: self._template(types, each)),
            ("extension_value", pb.Metric.ValueExtension, lambda _: None),
        )
        for field, kind, redact in parts:
            if metric.HasField(field):
                setattr(metric, field, self._part(getattr(metric, field), kind, redact))

    def _part(self, raw: bytes, kind: type[Part], redact: Callable[[Any], None]) -> bytes:
        try:
            part = kind.FromString(raw)
            part.DiscardUnknownFields()
            redact(part)
        except (DecodeError, TypeError, UnicodeError):
            return self._unreadable(raw)
        return part.SerializeToString()

    def _unreadable(self, raw: bytes) -> bytes:
        """As many bytes that cannot be read either: 0xFF begins no field."""
        return b"\xff" + self._words.raw(raw)[1:] if raw else raw

    def _metric(self, types: TypesOfOwner, metric: pb.Metric) -> None:
        """A metric of a template, whose parts are decoded."""
        self._scalars(types, metric)
        if metric.HasField("metadata"):
            self._metadata(metric.metadata)
        if metric.HasField("properties"):
            self._properties(metric.properties)
        if metric.HasField("dataset_value"):
            self._data_set(metric.dataset_value)
        if metric.HasField("template_value"):
            self._template(types, metric.template_value)

    def _scalars(self, types: TypesOfOwner, metric: flat.Metric | pb.Metric) -> None:
        """Name, text and bytes of a metric."""
        data_type = types.known(
            metric.name,
            metric.alias if metric.HasField("alias") else None,
            metric.datatype if metric.HasField("datatype") else None,
        )
        if metric.HasField("name"):
            metric.name = self._words.name(metric.name)
        if metric.HasField("string_value"):
            metric.string_value = self._words.text(metric.string_value)
        if metric.HasField("bytes_value"):
            metric.bytes_value = redacted_bytes(self._words, data_type, metric.bytes_value)

    def _metadata(self, metadata: pb.MetaData) -> None:
        for field in ("content_type", "file_name", "file_type", "md5", "description"):
            if metadata.HasField(field):
                setattr(metadata, field, self._words.text(getattr(metadata, field)))

    def _properties(self, properties: pb.PropertySet) -> None:
        keys = list(properties.keys)
        properties.keys[:] = [
            each if each in KEPT_KEYS else self._words.name(each) for each in keys
        ]
        for at, value in enumerate(properties.values):
            key = keys[at] if at < len(keys) else ""
            match value.WhichOneof("value"):
                case "string_value":
                    if not kept_text(key, value.string_value):
                        value.string_value = self._words.text(value.string_value)
                case "propertyset_value":
                    self._properties(value.propertyset_value)
                case "propertysets_value":
                    for each in value.propertysets_value.propertyset:
                        self._properties(each)

    def _data_set(self, data_set: pb.DataSet) -> None:
        data_set.columns[:] = [self._words.name(each) for each in data_set.columns]
        for row in data_set.rows:
            for element in row.elements:
                if element.HasField("string_value"):
                    element.string_value = self._words.text(element.string_value)

    def _template(self, types: TypesOfOwner, template: pb.Template) -> None:
        if template.HasField("version"):
            template.version = self._words.text(template.version)
        if template.HasField("template_ref"):
            template.template_ref = self._words.name(template.template_ref)
        for metric in template.metrics:
            self._metric(types, metric)
        for parameter in template.parameters:
            if parameter.HasField("name"):
                parameter.name = self._words.name(parameter.name)
            if parameter.HasField("string_value"):
                parameter.string_value = self._words.text(parameter.string_value)


def _filler(raw: bytes) -> bytes:
    """A payload that holds nothing of the schema, as one that held nothing of it."""
    size, varint = len(raw), bytearray()
    while size > 0x7F:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([_FILLER, *varint, size]) + raw
