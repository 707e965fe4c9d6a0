"""Rows, memories and messages of one server's part of a batch, on their way to the spool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from consumer.rows import EncodedRows, normalize
from consumer.spool import Participant
from sparkplug import HOST, ROW_TYPES, BirthMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.pipeline.source import Source
    from consumer.rows import TagEvents
    from consumer.spool import KeptNode, StateValue, Transaction
    from sparkplug import Decoded, HeldMessage, Observations

_OF_DEATHS: Final = np.array([each.endswith("DEATH") or each == HOST for each in ROW_TYPES])
_MOST_UNWRITTEN: Final = 20_000
"""Memories that wait for a commit after others failed; beyond it all births are forgotten."""
_MOST_UNWRITTEN_BYTES: Final = 64 << 20


@dataclass(slots=True)
class Made:
    """Rows that were made of observations, encoded when they are asked for.

    `committed` is how many of them, from the first on, are in the spool. `of_deaths`: each says
    STALE.
    """

    events: TagEvents
    of_deaths: bool
    committed: int = 0

    @property
    def left(self) -> int:
        """Rows that are to be committed."""
        return len(self.events) - self.committed

    def number(self, first_arrival: int) -> None:
        """Give the rows that are not committed yet the arrival numbers from this one on."""
        self.events = self.events.numbered(first_arrival - self.committed)

    def encode(self) -> Iterator[EncodedRows]:
        """Encode the rows that are not committed yet, a few MiB at a time."""
        start, arrived_us = self.committed, self.events.observations.received_us
        for part in self.events.encode(start):
            yield EncodedRows(part, arrived_us=int(arrived_us[start]))
            start += len(part)


Piece = list[tuple[Made, EncodedRows]]
"""Rows that are committed together."""


class Taken(Participant):
    """Takes part in the commit of what one server's part of a batch gave.

    `conclude` it before it takes part in a commit.
    """

    def __init__(self, source: Source, decoded: Decoded, released: set[int]) -> None:
        """Take what a batch gave; `released` are ids in the spool of messages held no longer."""
        self.source = source
        self.decoded = decoded
        self.made: list[Made] = []
        self.held: list[HeldMessage] | None = None
        self.sequence = source.written_sequence
        self.conduct = source.written_conduct
        self.births_dropped: list[KeptNode] = []
        self.dead_lost = 0
        self.held_lost = 0
        self.dead = decoded.quarantined + decoded.expired
        self._released = released
        self._dropped = 0

    def conclude(self, *, leaving: bool = False) -> None:
        """Once, before the commit: freeze the state to be committed, and hand over gaps and ids.

        Changes of gaps go to the source's records, ids of messages held no longer to the source.
        `leaving`: the last time.
        """
        source, fleet = self.source, self.source.fleet
        self.sequence, self.conduct = fleet.memory.sequence_state(), fleet.memory.conduct_state()
        source.gaps.record(self.decoded.gaps)
        source.no_longer_held |= self._released
        if not fleet.memory.has_unfinished:  # else it might be of what is not kept yet
            source.gaps.collect(leaving=leaving)

    @property
    def is_worth_a_commit(self) -> bool:
        """Whether a commit would write anything: rows, memories, messages, gaps or state."""
        return bool(
            self.made
            or self.decoded.memories
            or self.dead
            or self.held is not None
            or self.source.gaps.pending
            or self.source.no_longer_held
            or self.state
        )

    @property
    def state(self) -> dict[str, StateValue]:
        """The state of the server's nodes that differs from what the spool has, by key."""
        source, store = self.source, self.source.store
        state: dict[str, StateValue] = {}
        if self.sequence != source.written_sequence:
            state[store.sequence_key()] = self.sequence
        if self.conduct is not source.written_conduct:
            state[store.conduct_key()] = self.conduct
        return state

    def make_rows(self, observations: Observations, first_arrival: int, *, dropping: bool) -> int:
        """Make rows of observations; return how many, made or dropped.

        `dropping`: rows of values are counted alone, and only those of deaths are made.
        """
        events = normalize(observations, self.source.tags, first_arrival)
        stale = len(observations) > 0 and bool(_OF_DEATHS[observations.message_type].all())
        if dropping and not stale:
            self._dropped += len(events)
            return len(events)
        if len(events):
            self.made.append(Made(events, stale))
            self.source.last_values.note(events.observations)
        return len(events)

    def drop_values(self) -> int:
        """Keep only the rows of what died; return how many others there were."""
        dropped = self._dropped + sum(each.left for each in self.made if not each.of_deaths)
        self.made, self._dropped = [each for each in self.made if each.of_deaths], 0
        return dropped

    @property
    def rows_left(self) -> int:
        """Rows that are to be committed."""
        return sum(each.left for each in self.made)

    def write(self, db: Transaction, room: Callable[[], int]) -> None:
        """Write what goes with the rows.

        Births, messages that are kept, and accounts of new nodes are left out where there is no
        room.
        """
        store = self.source.store
        if self.source.births_are_void:
            store.births.forget(db)
        if memories := self.source.unwritten + self.decoded.memories:
            self.births_dropped = store.births.write(db, memories, room())
        if self.source.no_longer_held:
            store.forget_held(db, self.source.no_longer_held)
        if self.dead:
            self.dead_lost = store.write_dead(db, self.dead, room())
        if self.held is not None:
            self.held_lost = store.write_held(db, self.held, room())
        self.source.gaps.write(db, room)

    def committed(self) -> None:
        """Note that the spool has what was written: it is not written again."""
        self.source.written_sequence = self.sequence
        self.source.written_conduct = self.conduct
        self.source.births_are_void = False
        self.source.unwritten = []
        self.source.gaps.committed()
        self.source.no_longer_held.clear()

    def failed(self) -> None:
        """Have the gaps wait for another try, which may be without the rows of values."""
        self.source.gaps.failed()

    def keep_for_later(self) -> None:
        """The transaction failed: write the memories with the next one, unless they are many."""
        unwritten = self.source.unwritten + self.decoded.memories
        size = sum(len(m.message.payload) for m in unwritten if isinstance(m, BirthMemory))
        if (
            self.source.births_are_void
            or len(unwritten) > _MOST_UNWRITTEN
            or size > _MOST_UNWRITTEN_BYTES
        ):
            self.source.births_are_void, unwritten = True, []
        self.source.unwritten = unwritten


class NextPiece(NamedTuple):
    """Rows that are committed together, and whether they are the last ones of a batch."""

    piece: Piece
    is_last: bool


def in_pieces(taken: Sequence[Taken], most_bytes: int) -> Iterator[NextPiece]:
    """The rows of all servers' parts in their order.

    A piece is full when it has `most_bytes`, and is made when it is asked for: what was encoded
    before may have been freed by then. The last one may be empty.
    """
    piece: Piece = []
    size, left = 0, sum(each.rows_left for each in taken)
    for each in taken:
        for made in each.made:
            for rows in made.encode():
                piece.append((made, rows))
                size += rows.nbytes
                left -= len(rows)
                if size >= most_bytes and left:
                    yield NextPiece(piece, is_last=False)
                    piece, size = [], 0
    yield NextPiece(piece, is_last=True)


def rows_in(piece: Piece) -> int:
    """The number of rows of a piece."""
    return sum(len(rows) for _, rows in piece)


def note_committed(piece: Piece) -> None:
    """Note that the rows of a piece are in the spool."""
    for made, rows in piece:
        made.committed += len(rows)
