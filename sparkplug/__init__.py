"""Sparkplug B without I/O, for hosts: bytes in, columns out.

Hand the messages of one MQTT server to a `Fleet`, in batches, with the time; it gives back
what was `Decoded`: observations as columns, events, gaps, wishes for rebirths, and births to
remember. `HostState` says what a host application publishes about itself, and when. Nothing
here opens a socket, reads a clock, starts a thread or writes a log.

    from sparkplug import Fleet, MessageBatch

    fleet = Fleet()
    decoded = fleet.feed(MessageBatch(messages), time.monotonic())

How it reads is in `FleetOptions`, what it is bounded by in `FleetLimits`. Between two runs
`fleet.memory` is what to keep beside what was decoded, and takes it in again; `fleet.gauges` says
how much there is of everything, `fleet.absence` is told that somebody listens.

Publishers find an edge node in `sparkplug.edge`, and the wire format is in `sparkplug.pb`.
Names are loaded when they are used: words such as `Reason` cost nothing, a `Fleet` needs Arrow.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from sparkplug.actions import Publish
    from sparkplug.datatypes import INTEGER_WIDTH, DataType
    from sparkplug.decoded import Decoded, Observations
    from sparkplug.events import Event, EventKind, Healing
    from sparkplug.filters import ANY_ID, NodeSight, is_shared, plain_levels, sight_of
    from sparkplug.gaps import HEALABLE_GAPS, Gap, GapChange, GapReason
    from sparkplug.host import (
        ALARM_OVER,
        CERTIFICATE_PREFIX,
        COMMAND_QOS,
        DeviceView,
        Fleet,
        FleetLimits,
        FleetOptions,
        HeldMessage,
        HoldLimits,
        HostState,
        KeptHistory,
        NodeAfter,
        NodeBefore,
        NodeKey,
        NodeView,
        OwnTimestamps,
        RebirthGovernor,
        SilentNode,
        TagCatalogue,
        TagOwner,
        TagRoom,
        Unmended,
        Verdict,
        reason_in_words,
        rebirth_command,
    )
    from sparkplug.memory import (
        BirthMemory,
        EndMemory,
        Memory,
        RememberedBirth,
        StaleMemory,
        TakenBackMemory,
    )
    from sparkplug.messages import (
        HOST,
        ROW_TYPES,
        Message,
        MessageBatch,
        Quarantined,
        QuarantinedPart,
        Reason,
        RebirthRequest,
    )
    from sparkplug.metadata import TagMetadata
    from sparkplug.names import BD_SEQ, COMPRESSED_UUID
    from sparkplug.payload import (
        MEMBERS,
        PlainHead,
        PlainMetric,
        PlainPayloads,
        ValueKind,
        Values,
        compressed_like,
        open_envelope,
        read_members,
        scalar_member,
    )
    from sparkplug.quality import IMPLICIT, QUALITY_NAMES, quality_of_name
    from sparkplug.topics import (
        MAX_TOPIC_CHARACTERS,
        NAMESPACE,
        MessageType,
        StateTopic,
        Topic,
        TopicProblem,
        check_id,
        parse_topic,
    )
else:
    __getattr__, __dir__, _ = lazy_loader.attach(
        __name__,
        submod_attrs={
            "actions": ["Publish"],
            "datatypes": ["DataType", "INTEGER_WIDTH"],
            "decoded": ["Decoded", "Observations"],
            "events": ["Event", "EventKind", "Healing"],
            "filters": ["ANY_ID", "NodeSight", "is_shared", "plain_levels", "sight_of"],
            "gaps": ["Gap", "GapChange", "GapReason", "HEALABLE_GAPS"],
            "host": [
                "ALARM_OVER",
                "CERTIFICATE_PREFIX",
                "COMMAND_QOS",
                "DeviceView",
                "Fleet",
                "FleetLimits",
                "FleetOptions",
                "HeldMessage",
                "HoldLimits",
                "HostState",
                "KeptHistory",
                "NodeAfter",
                "NodeBefore",
                "NodeKey",
                "NodeView",
                "OwnTimestamps",
                "RebirthGovernor",
                "SilentNode",
                "TagCatalogue",
                "TagOwner",
                "TagRoom",
                "Unmended",
                "Verdict",
                "reason_in_words",
                "rebirth_command",
            ],
            "memory": [
                "BirthMemory",
                "EndMemory",
                "Memory",
                "RememberedBirth",
                "StaleMemory",
                "TakenBackMemory",
            ],
            "messages": [
                "HOST",
                "Message",
                "MessageBatch",
                "Quarantined",
                "QuarantinedPart",
                "ROW_TYPES",
                "Reason",
                "RebirthRequest",
            ],
            "metadata": ["TagMetadata"],
            "names": ["BD_SEQ", "COMPRESSED_UUID"],
            "payload": [
                "MEMBERS",
                "PlainHead",
                "PlainMetric",
                "PlainPayloads",
                "ValueKind",
                "Values",
                "compressed_like",
                "open_envelope",
                "read_members",
                "scalar_member",
            ],
            "quality": ["IMPLICIT", "QUALITY_NAMES", "quality_of_name"],
            "topics": [
                "MAX_TOPIC_CHARACTERS",
                "MessageType",
                "NAMESPACE",
                "StateTopic",
                "Topic",
                "TopicProblem",
                "check_id",
                "parse_topic",
            ],
        },
    )

__all__ = [
    "ALARM_OVER",
    "ANY_ID",
    "BD_SEQ",
    "CERTIFICATE_PREFIX",
    "COMMAND_QOS",
    "COMPRESSED_UUID",
    "HEALABLE_GAPS",
    "HOST",
    "IMPLICIT",
    "INTEGER_WIDTH",
    "MAX_TOPIC_CHARACTERS",
    "MEMBERS",
    "NAMESPACE",
    "QUALITY_NAMES",
    "ROW_TYPES",
    "BirthMemory",
    "DataType",
    "Decoded",
    "DeviceView",
    "EndMemory",
    "Event",
    "EventKind",
    "Fleet",
    "FleetLimits",
    "FleetOptions",
    "Gap",
    "GapChange",
    "GapReason",
    "Healing",
    "HeldMessage",
    "HoldLimits",
    "HostState",
    "KeptHistory",
    "Memory",
    "Message",
    "MessageBatch",
    "MessageType",
    "NodeAfter",
    "NodeBefore",
    "NodeKey",
    "NodeSight",
    "NodeView",
    "Observations",
    "OwnTimestamps",
    "PlainHead",
    "PlainMetric",
    "PlainPayloads",
    "Publish",
    "Quarantined",
    "QuarantinedPart",
    "Reason",
    "RebirthGovernor",
    "RebirthRequest",
    "RememberedBirth",
    "SilentNode",
    "StaleMemory",
    "StateTopic",
    "TagCatalogue",
    "TagMetadata",
    "TagOwner",
    "TagRoom",
    "TakenBackMemory",
    "Topic",
    "TopicProblem",
    "Unmended",
    "ValueKind",
    "Values",
    "Verdict",
    "check_id",
    "compressed_like",
    "is_shared",
    "open_envelope",
    "parse_topic",
    "plain_levels",
    "quality_of_name",
    "read_members",
    "reason_in_words",
    "rebirth_command",
    "scalar_member",
    "sight_of",
]
