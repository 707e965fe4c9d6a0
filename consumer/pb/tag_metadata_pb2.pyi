# Generated from proto/tag_metadata.proto by `make proto`. Do not edit.
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class TagMetadata(_message.Message):
    __slots__ = ("metadata_id", "tag_path", "tag_provider", "source_system_id", "group_id", "edge_node_id", "device_id", "metric_name", "data_type", "unit", "low", "high", "documentation", "tooltip", "read_only", "template", "properties", "first_seen", "last_seen", "valid_from", "valid_to", "ingestion_timestamp")
    METADATA_ID_FIELD_NUMBER: _ClassVar[int]
    TAG_PATH_FIELD_NUMBER: _ClassVar[int]
    TAG_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_SYSTEM_ID_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    EDGE_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTATION_FIELD_NUMBER: _ClassVar[int]
    TOOLTIP_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_FIELD_NUMBER: _ClassVar[int]
    VALID_TO_FIELD_NUMBER: _ClassVar[int]
    INGESTION_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    metadata_id: str
    tag_path: str
    tag_provider: str
    source_system_id: str
    group_id: str
    edge_node_id: str
    device_id: str
    metric_name: str
    data_type: str
    unit: str
    low: float
    high: float
    documentation: str
    tooltip: str
    read_only: bool
    template: str
    properties: str
    first_seen: int
    last_seen: int
    valid_from: int
    valid_to: int
    ingestion_timestamp: int
    def __init__(self, metadata_id: _Optional[str] = ..., tag_path: _Optional[str] = ..., tag_provider: _Optional[str] = ..., source_system_id: _Optional[str] = ..., group_id: _Optional[str] = ..., edge_node_id: _Optional[str] = ..., device_id: _Optional[str] = ..., metric_name: _Optional[str] = ..., data_type: _Optional[str] = ..., unit: _Optional[str] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., documentation: _Optional[str] = ..., tooltip: _Optional[str] = ..., read_only: _Optional[bool] = ..., template: _Optional[str] = ..., properties: _Optional[str] = ..., first_seen: _Optional[int] = ..., last_seen: _Optional[int] = ..., valid_from: _Optional[int] = ..., valid_to: _Optional[int] = ..., ingestion_timestamp: _Optional[int] = ...) -> None: ...
