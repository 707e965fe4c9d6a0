"""What the search for refused records is given of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer.delivery.blame import TableBlame
    from consumer.delivery.dead_letters import LettersOfStream
    from consumer.delivery.health import StreamHealth
    from consumer.delivery.progress import StreamProgress
    from consumer.delivery.shared import SharedOfTable


@dataclass(frozen=True, slots=True)
class BisectionParts:
    """What a stream and its search for refused records have in common.

    Owned by the thread of the stream.

    Attributes:
        shared: what all streams of the table are given.
        health: state and failures of the stream.
        progress: counts what is sent and settled.
        letters: keeps rows that cannot be sent.
        blame: says whether the table is to blame for what is refused.
    """

    shared: SharedOfTable
    health: StreamHealth
    progress: StreamProgress
    letters: LettersOfStream
    blame: TableBlame
