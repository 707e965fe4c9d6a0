"""What `limits.memory` is divided into (docs/decisions/0024-memory.md).

Every bound on what a publisher can make the consumer keep, or take to read it, is a share of
one number. Shares are bounds of parts that are hardly ever full together; the tests that attack
the consumer say whether their sum holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from consumer.config.section import ConflictError
from consumer.config.units import KIB, MIB

PROGRAM: Final = 128 * MIB
"""The program with its libraries, at rest, with a few thousand tags."""
READING: Final = 64 * MIB
"""A portion of a batch, or one message of as many metrics as it may have, while it is read."""
SENDING: Final = 120 * MIB
"""Rows that are committed, handed over, and under way to Zerobus."""
LOOKING: Final = 12 * MIB
"""The last rows, texts and events of all tags and nodes, which are kept for who looks."""
TAG: Final = 600
"""Bytes of one tag, with a name of NAME characters: 440 to read it, 48 for its last value, and what
the page's columns of it take while somebody searches."""
NAME: Final = 32

QUEUED_BESIDE: Final = 300 * KIB
"""No message takes more in the queue beside its payload: its place, and a topic of 64 KiB."""
_QUEUE_SHARE: Final = 12
_HELD_SHARE: Final = 12
_FILES_SHARE: Final = 32
_DEFINITIONS_SHARE: Final = 32
_GROWING: Final = 1 / _QUEUE_SHARE + 1 / _HELD_SHARE + 1 / _FILES_SHARE + 1 / _DEFINITIONS_SHARE
"""The part of the memory, 0 to 1, that is in shares which grow with it."""
MEMBER: Final = 140
"""Bytes of one member of a template definition, beside what it has on the wire."""
_USUAL_PAYLOAD: Final = 16 * MIB
_COPIES: Final = 3
"""A large payload is there as it came, as columns, and as what a dead letter keeps."""
_LEAST_TAGS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds of what the consumer keeps, as shares of `limits.memory`.

    Attributes:
        tags: most tags of all servers.
        name_characters: most characters of all names of tags.
        queue_bytes: most payload bytes between MQTT and the spool.
        held_bytes: most bytes of messages that wait for births, of all servers.
        waiting_bytes: most bytes of messages that wait for a missing one, and of late births, of
            all servers.
        file_bytes: most bytes of unfinished files, of all servers.
        definition_members: most members of template definitions, of all servers.
        definition_bytes: most bytes of template definitions on the wire, of all servers.
    """

    tags: int
    name_characters: int
    queue_bytes: int
    held_bytes: int
    waiting_bytes: int
    file_bytes: int
    definition_members: int
    definition_bytes: int


def budget_of(memory: int, *, max_payload: int, max_tags: int = 0, queue_bytes: int = 0) -> Budget:
    """The shares that a memory of so many bytes is divided into.

    `max_tags` and `queue_bytes` are wishes; 0 stands for none.

    Raises:
        ConflictError: they do not fit into the memory.
    """
    queue = queue_bytes or max(memory // _QUEUE_SHARE, max_payload + QUEUED_BESIDE)
    held = memory // _HELD_SHARE
    files, definitions = memory // _FILES_SHARE, memory // _DEFINITIONS_SHARE
    large = _COPIES * max(0, max_payload - _USUAL_PAYLOAD)
    rest = PROGRAM + READING + SENDING + LOOKING + held + large + files + definitions
    others = rest + queue
    tags = max_tags or max(_LEAST_TAGS, (memory - others) // TAG)
    wanted = others + TAG * tags
    if wanted > memory:
        raise ConflictError(
            "limits.memory",
            f"{memory // MIB}MiB are too few: {tags} tags take {TAG * tags // MIB}MiB, the queue "
            f"{queue // MIB}MiB, all else {rest // MIB}MiB; raise it to {_rounded_up(wanted)}MiB, "
            "or lower limits.max_tags, limits.queue_bytes or limits.max_payload",
        )
    waiting = held // 3
    return Budget(
        tags=tags,
        name_characters=NAME * tags,
        queue_bytes=queue,
        held_bytes=held - waiting,
        waiting_bytes=waiting,
        file_bytes=files,
        definition_members=definitions // 2 // MEMBER,
        definition_bytes=definitions // 2,
    )


def _rounded_up(size: int) -> int:
    """A number of MiB in which that fits, though some shares grow with the whole."""
    return math.ceil(size / (1 - _GROWING) / (64 * MIB)) * 64
