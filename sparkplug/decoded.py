"""What comes out of the decoder: rows as columns, counts, wishes, bad messages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sparkplug.events import Event
    from sparkplug.gaps import GapChange
    from sparkplug.memory import Memory
    from sparkplug.messages import Quarantined, Reason, RebirthRequest
    from sparkplug.metadata import TagMetadata
    from sparkplug.payload import Values


@dataclass(slots=True)
class Observations:
    """Rows of a batch as columns, in the order of reading: one row per metric with a value.

    `tag` indexes the catalogue; times are microseconds since 1970 UTC; `seq` and
    `payload_time_us` are -1 where the payload has none; `message_type` indexes
    ROW_TYPES; `quality` is a class of sparkplug.quality; `returned` is the first birth value
    of a tag after a row, of this server or another of its site, that said STALE.
    """

    tag: NDArray[np.int32]
    event_time_us: NDArray[np.int64]
    values: Values
    quality_code: NDArray[np.int32]
    quality: NDArray[np.uint8]
    historical: NDArray[np.bool_]
    returned: NDArray[np.bool_]
    message_type: NDArray[np.uint8]
    seq: NDArray[np.int64]
    payload_time_us: NDArray[np.int64]
    received_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tag)

    def pick(self, rows: NDArray[np.int64]) -> Observations:
        """The observations at these positions."""
        return Observations(
            tag=self.tag[rows],
            event_time_us=self.event_time_us[rows],
            values=self.values.pick(rows),
            quality_code=self.quality_code[rows],
            quality=self.quality[rows],
            historical=self.historical[rows],
            returned=self.returned[rows],
            message_type=self.message_type[rows],
            seq=self.seq[rows],
            payload_time_us=self.payload_time_us[rows],
            received_us=self.received_us[rows],
        )


@dataclass(slots=True)
class Decoded:
    """What the decoder makes of a batch: rows as they were read, counts, wishes, bad messages.

    `memories` are to be kept on disk, in order, together with the rows. `readers` has the
    index of its node for each message whose metrics were read, deaths not included;
    `taken_back` are tags whose row of quality STALE is taken back by a row of these. `read` counts
    messages that were read, whether or not they gave rows, `discarded` those that were not
    and are not kept either: with the quarantined and the expired ones (those of parts, which
    are no messages, aside) that is what became of every message that does not wait. `examples`
    names an edge node for reasons that neither a wish nor a bad message shows.
    """

    observations: list[Observations] = field(default_factory=list)
    counts: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, str] = field(default_factory=dict)
    rebirths: list[RebirthRequest] = field(default_factory=list)
    births: list[tuple[str, str]] = field(default_factory=list)  # (group id, edge node id)
    quarantined: list[Quarantined] = field(default_factory=list)
    expired: list[Quarantined] = field(default_factory=list)  # held in vain: dead letters
    memories: list[Memory] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    gaps: list[GapChange] = field(default_factory=list)
    metadata: list[TagMetadata] = field(default_factory=list)
    readers: list[NDArray[np.int64]] = field(default_factory=list)
    taken_back: list[NDArray[np.int32]] = field(default_factory=list)
    read: int = 0
    discarded: Counter[Reason] = field(default_factory=Counter)

    def add(self, other: Decoded) -> None:
        """Take in what a later part of the batch gave."""
        self.observations += other.observations
        if other.counts:  # adding nothing to a Counter walks through all of it
            self.counts += other.counts
        self.examples |= other.examples
        self.rebirths += other.rebirths
        self.births += other.births
        self.quarantined += other.quarantined
        self.expired += other.expired
        self.memories += other.memories
        self.events += other.events
        self.gaps += other.gaps
        self.metadata += other.metadata
        self.readers += other.readers
        self.taken_back += other.taken_back
        self.read += other.read
        if other.discarded:
            self.discarded += other.discarded
