# Generated from proto/sparkplug_event.proto by `make proto`. Do not edit.
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class SparkplugEvent(_message.Message):
    __slots__ = ("event_id", "event_time", "event_type", "source_system_id", "server", "group_id", "edge_node_id", "device_id", "reason", "bd_seq", "seq", "missing_messages", "missing_is_modulo_256", "healing", "detail", "ingestion_timestamp")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SYSTEM_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    EDGE_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BD_SEQ_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    MISSING_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MISSING_IS_MODULO_256_FIELD_NUMBER: _ClassVar[int]
    HEALING_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    INGESTION_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    event_time: int
    event_type: str
    source_system_id: str
    server: str
    group_id: str
    edge_node_id: str
    device_id: str
    reason: str
    bd_seq: int
    seq: int
    missing_messages: int
    missing_is_modulo_256: bool
    healing: str
    detail: str
    ingestion_timestamp: int
    def __init__(self, event_id: _Optional[str] = ..., event_time: _Optional[int] = ..., event_type: _Optional[str] = ..., source_system_id: _Optional[str] = ..., server: _Optional[str] = ..., group_id: _Optional[str] = ..., edge_node_id: _Optional[str] = ..., device_id: _Optional[str] = ..., reason: _Optional[str] = ..., bd_seq: _Optional[int] = ..., seq: _Optional[int] = ..., missing_messages: _Optional[int] = ..., missing_is_modulo_256: _Optional[bool] = ..., healing: _Optional[str] = ..., detail: _Optional[str] = ..., ingestion_timestamp: _Optional[int] = ...) -> None: ...
