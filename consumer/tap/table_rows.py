"""Reads what one server brings as rows of tag_events, as the consumer makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from consumer.config import fleet_options, source_names
from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows import COLUMNS, TagColumns, normalize
from consumer.tap.items import Row
from consumer.tap.reading import MOST_ROW_BYTES, limits_of
from sparkplug import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.config import Configuration, Server
    from consumer.tap.filters import Filters
    from consumer.tap.items import Item
    from consumer.tap.listening import HeardBatch
    from sparkplug import Decoded


class RowReader:
    """Rows of tag_events of one server, as the consumer makes them. Single-threaded.

    What no birth explains yet is held and gives rows when the birth comes.

    Args:
        server: its configuration, with the topic filters that are listened with.
        configuration: how rows are made, and bounds of what is read.
        filters: what is shown.

    Attributes:
        unnamed: 0; see `waiting`.
    """

    def __init__(self, server: Server, configuration: Configuration, filters: Filters) -> None:
        self._filters = filters
        naming = configuration.normalize
        options = fleet_options(
            server,
            naming,
            configuration.host,
            held_bytes=MOST_ROW_BYTES,
            describe_tags=False,
        )
        self._fleet = Fleet(
            limits_of(configuration),
            replace(options, wanted=_both(options.wanted, filters.places), passive=True),
        )
        self._tags = TagColumns(self._fleet.catalogue, source_names(server, naming))
        self.unnamed = 0

    @property
    def waiting(self) -> int:
        """Messages that wait for a birth."""
        return self._fleet.gauges.held_whole

    def read(self, batch: HeardBatch, now: float) -> Iterator[Item]:
        """The rows of a batch, in the order of reading. `now`: monotonic seconds."""
        if batch.certificates:
            yield from self._rows(self._fleet.memory.warm_start(batch.certificates, now))
        for portion in self._fleet.portions(batch.messages):
            yield from self._rows(self._fleet.feed(portion.messages, now))
        if batch.lost_us is not None:
            yield from self._rows(self._fleet.connection_lost(now, batch.lost_us))

    def let_pass(self, now: float) -> Iterator[Item]:
        """The rows that come because time has passed."""
        return self._rows(self._fleet.tick(now))

    def _rows(self, decoded: Decoded) -> Iterator[Item]:
        for observations in decoded.observations:
            events = normalize(observations, self._tags, 1)
            kept = self._filters.rows(events.observations)
            start, chosen = 0, np.zeros(len(events), dtype=np.bool_)
            chosen[kept] = True
            for piece in events.encode():
                for index in np.flatnonzero(chosen[start : start + len(piece)]).tolist():
                    yield _row(piece[index].as_py())
                start += len(piece)


def _both(one: Callable[[str], bool] | None, other: Callable[[str], bool]) -> Callable[[str], bool]:
    return other if one is None else lambda place: one(place) and other(place)


def _row(record: bytes) -> Row:
    event = TagEvent.FromString(record)
    return Row(
        {
            column.name: getattr(event, column.name)
            for column in COLUMNS
            if column.name != "arrival_number" and event.HasField(column.name)
        }
    )
