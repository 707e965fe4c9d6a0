# Generated from proto/tag_event.proto by `make proto`. Do not edit.
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TagEvent(_message.Message):
    __slots__ = ("event_id", "event_time", "tag_path", "tag_provider", "numeric_value", "integer_value", "string_value", "boolean_value", "quality", "quality_code", "data_type", "source_system_id", "group_id", "edge_node_id", "device_id", "metric_name", "message_type", "is_historical", "seq", "payload_timestamp", "ingestion_timestamp", "arrival_number")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    TAG_PATH_FIELD_NUMBER: _ClassVar[int]
    TAG_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NUMERIC_VALUE_FIELD_NUMBER: _ClassVar[int]
    INTEGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_VALUE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    QUALITY_CODE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SYSTEM_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    EDGE_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    IS_HISTORICAL_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    INGESTION_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_NUMBER_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    event_time: int
    tag_path: str
    tag_provider: str
    numeric_value: float
    integer_value: int
    string_value: str
    boolean_value: bool
    quality: str
    quality_code: int
    data_type: str
    source_system_id: str
    group_id: str
    edge_node_id: str
    device_id: str
    metric_name: str
    message_type: str
    is_historical: bool
    seq: int
    payload_timestamp: int
    ingestion_timestamp: int
    arrival_number: int
    def __init__(self, event_id: _Optional[str] = ..., event_time: _Optional[int] = ..., tag_path: _Optional[str] = ..., tag_provider: _Optional[str] = ..., numeric_value: _Optional[float] = ..., integer_value: _Optional[int] = ..., string_value: _Optional[str] = ..., boolean_value: _Optional[bool] = ..., quality: _Optional[str] = ..., quality_code: _Optional[int] = ..., data_type: _Optional[str] = ..., source_system_id: _Optional[str] = ..., group_id: _Optional[str] = ..., edge_node_id: _Optional[str] = ..., device_id: _Optional[str] = ..., metric_name: _Optional[str] = ..., message_type: _Optional[str] = ..., is_historical: _Optional[bool] = ..., seq: _Optional[int] = ..., payload_timestamp: _Optional[int] = ..., ingestion_timestamp: _Optional[int] = ..., arrival_number: _Optional[int] = ...) -> None: ...
