"""Payloads of any form into columns, and columns into values.

`read_payloads` takes bytes as they come: protobuf, compressed, JSON. `read_values` reads
values by the datatypes of the births; what is no scalar is read one by one in `complex`.
"""

from sparkplug.payload.columns import (
    ABSENT,
    BEYOND_SEQ,
    PayloadColumns,
    booleans,
    decode,
    numbers,
    timestamps,
    validity,
)
from sparkplug.payload.complex.definitions import (
    MAX_DEPTH,
    MAX_TEMPLATE_BYTES,
    TemplateDefinitions,
    definition_name,
)
from sparkplug.payload.complex.expansion import (
    MAX_MEMBERS,
    MAX_PATH_CHARACTERS,
    Expansion,
    ExpansionLimits,
    TemplateValue,
    Within,
)
from sparkplug.payload.complex.files import metadata_of
from sparkplug.payload.complex.json_values import JsonValue, json_text, text_of
from sparkplug.payload.complex.library import DefinitionLibrary
from sparkplug.payload.complex.parts import PartAssembler
from sparkplug.payload.complex.templates import expand, quality_of
from sparkplug.payload.envelope import MAX_INFLATED_BYTES, compressed_like, open_envelope
from sparkplug.payload.forms import read_payloads
from sparkplug.payload.json_members import scalar_member
from sparkplug.payload.members import MEMBERS, read_members
from sparkplug.payload.plain import PlainHead, PlainMetric, PlainPayloads
from sparkplug.payload.property_columns import PropertyColumns, read_properties
from sparkplug.payload.values import ValueKind, Values, read_values
from sparkplug.payload.weight import (
    METRIC_MEMORY,
    NAMES_PER_ROW,
    json_memory,
    metrics_in,
    metrics_in_envelope,
    metrics_together,
    weight_opened,
)

__all__ = [
    "ABSENT",
    "BEYOND_SEQ",
    "MAX_DEPTH",
    "MAX_INFLATED_BYTES",
    "MAX_MEMBERS",
    "MAX_PATH_CHARACTERS",
    "MAX_TEMPLATE_BYTES",
    "MEMBERS",
    "METRIC_MEMORY",
    "NAMES_PER_ROW",
    "DefinitionLibrary",
    "Expansion",
    "ExpansionLimits",
    "JsonValue",
    "PartAssembler",
    "PayloadColumns",
    "PlainHead",
    "PlainMetric",
    "PlainPayloads",
    "PropertyColumns",
    "TemplateDefinitions",
    "TemplateValue",
    "ValueKind",
    "Values",
    "Within",
    "booleans",
    "compressed_like",
    "decode",
    "definition_name",
    "expand",
    "json_memory",
    "json_text",
    "metadata_of",
    "metrics_in",
    "metrics_in_envelope",
    "metrics_together",
    "numbers",
    "open_envelope",
    "quality_of",
    "read_members",
    "read_payloads",
    "read_properties",
    "read_values",
    "scalar_member",
    "text_of",
    "timestamps",
    "validity",
    "weight_opened",
]
