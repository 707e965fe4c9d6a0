"""Reads a capture as the consumer reads what comes: the same decoder, the same rows, the same ids.

Time is that of the capture: what waits for a late message or a birth waits for as long as it did.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.config import (
    Host,
    LimitsSection,
    Normalize,
    Server,
    fleet_limits,
    fleet_options,
    source_names,
)
from consumer.errors import CaptureError
from consumer.rows import TAG_EVENTS, TagColumns, normalize
from consumer.tap.capture_format import Kind
from sparkplug import (
    CERTIFICATE_PREFIX,
    Fleet,
    MessageBatch,
    TagRoom,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from consumer.config import Configuration
    from consumer.tap.capture_format import Header, Record
    from sparkplug import Decoded, Message

_NOWHERE: Final = "mqtt://127.0.0.1"
"""Address of servers of which only the names are used."""

_MOST_MESSAGES: Final = 5_000
_MOST_BYTES: Final = 8 << 20
_LONGEST_US: Final = 50_000
_FEW_MESSAGES: Final = 100
_LONGEST_OF_FEW_US: Final = 200_000
"""Bounds of what is read together: those of the consumer's batches, by default."""


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """How a capture is read: what of a configuration has to do with rows.

    Args:
        servers: one for each of the capture, in the same order.
        normalize: how metrics become rows.
        host: for how long is waited.
        limits: bounds of what is read and remembered.
    """

    servers: tuple[Server, ...]
    normalize: Normalize
    host: Host
    limits: LimitsSection

    @classmethod
    def of(
        cls, header: Header, configuration: Configuration | None, site: str | None
    ) -> ReplaySettings:
        """Settings for a capture.

        Args:
            header: of the capture.
            configuration: of the consumer that is to be repeated, which knows the capture's
                servers by their names; None: its defaults, and sites as the capture says.
            site: for all servers, whatever the others say; None: as they say.

        Raises:
            CaptureError: the configuration has no server of a name in the capture.
        """
        known = {} if configuration is None else {s.name: s for s in configuration.servers}
        servers = []
        for name, captured_site in header.servers:
            if configuration is not None and name not in known:
                raise CaptureError(
                    f"the configuration has no server {name}, which the capture is of; it has "
                    f"{', '.join(known)}"
                )
            server = known.get(name)
            if server is None:  # what a header says is not checked as a configuration is
                server = Server(name=name, url=_NOWHERE)
                server = server.model_copy(update={"site": captured_site})
            servers.append(server if site is None else server.model_copy(update={"site": site}))
        if configuration is None:
            return cls(tuple(servers), Normalize(), Host(), LimitsSection())
        return cls(
            tuple(servers), configuration.normalize, configuration.host, configuration.limits
        )


class Replayed(NamedTuple):
    """What a replay came to.

    Attributes:
        messages: that were read from the capture.
        rows: that they gave.
        remarks: reasons why messages or metrics were not read, or only with a remark.
        waiting: messages that still wait for a birth.
        unreadable: messages that would be kept as dead letters.
    """

    messages: int
    rows: int
    remarks: Counter[str]
    waiting: int
    unreadable: int


class Replay:
    """Makes rows of tag_events of the records of a capture. Used once.

    Attributes:
        made: rows until now.

    Args:
        settings: how they are read.
    """

    def __init__(self, settings: ReplaySettings) -> None:
        room = TagRoom()
        self._sources = [_Source(each, settings, room) for each in settings.servers]
        for source in self._sources:
            source.fleet.liveness.join(
                other.fleet.liveness
                for other in self._sources
                if other is not source and source.site and other.site == source.site
            )
        self._now = 0.0
        self._messages = self.made = 0

    def rows(self, records: Iterable[Record]) -> Iterator[pa.RecordBatch]:
        """Rows as they land in the table, in the order of reading, a few thousand at a time.

        What waits for a missing message when the records end, or break off, is read as it is.

        Raises:
            CaptureError: of the records; all that can be read was given before.
        """
        ended: CaptureError | None = None
        batches = _batches(records)
        while ended is None:
            try:
                batch = next(batches, None)
            except CaptureError as error:
                batch, ended = None, error
            if batch is None:
                break
            yield from self._take(batch)
        for source in self._sources:
            yield from self._made(source, source.fleet.flush(self._now))
        if ended is not None:
            raise ended

    @property
    def result(self) -> Replayed:
        """What came of it until now."""
        remarks: Counter[str] = Counter()
        for source in self._sources:
            remarks += source.remarks
        return Replayed(
            self._messages,
            self.made,
            remarks,
            sum(each.fleet.gauges.held_whole for each in self._sources),
            sum(each.unreadable for each in self._sources),
        )

    def _take(self, batch: _Batch) -> Iterator[pa.RecordBatch]:
        """Read what came together, and let time pass for the others."""
        # A clock that was set back must not make what waits wait for ever.
        self._now = max(self._now, batch.at_us / 1e6)
        for index, source in enumerate(self._sources):
            fleet = source.fleet
            if index != batch.server:
                yield from self._made(source, fleet.tick(self._now))
                continue
            self._messages += len(batch.messages) + len(batch.certificates)
            # As the consumer does it: births that the server keeps first.
            if batch.certificates:
                known = fleet.memory.warm_start(batch.certificates, self._now)
                yield from self._made(source, known)
            for portion in fleet.portions(MessageBatch(batch.messages)):
                yield from self._made(source, fleet.feed(portion.messages, self._now))
            if batch.lost_us is not None:
                yield from self._made(source, fleet.connection_lost(self._now, batch.lost_us))

    def _made(self, source: _Source, decoded: Decoded) -> Iterator[pa.RecordBatch]:
        source.remarks.update({str(each): count for each, count in decoded.counts.items()})
        source.unreadable += len(decoded.quarantined) + len(decoded.expired)
        for observations in decoded.observations:
            events = normalize(observations, source.tags, self.made + 1)
            self.made += len(events)
            for piece in events.encode():
                yield TAG_EVENTS.decode(piece)


class _Source:
    """What the messages of one server need."""

    def __init__(self, server: Server, settings: ReplaySettings, room: TagRoom) -> None:
        count = len(settings.servers)
        self.site = server.site
        self.fleet = Fleet(
            fleet_limits(settings.limits, count),
            fleet_options(
                server,
                settings.normalize,
                settings.host,
                held_bytes=settings.limits.budget.held_bytes // count,
                describe_tags=False,
            ),
            room=room,
        )
        self.tags = TagColumns(self.fleet.catalogue, source_names(server, settings.normalize))
        self.remarks: Counter[str] = Counter()
        self.unreadable = 0


class _Batch(NamedTuple):
    """Records of one server that are read together; a lost connection comes behind them."""

    server: int
    at_us: int
    messages: Sequence[Message]
    certificates: Sequence[Message]
    lost_us: int | None


def _batches(records: Iterable[Record]) -> Iterator[_Batch]:
    """Records in batches of one server each: of 5,000 messages, 8 MiB, 50 ms, or of few 200 ms.

    Raises:
        CaptureError: of the records, behind the batch of those before.
    """
    messages: list[Message] = []
    certificates: list[Message] = []
    server = begun_us = at_us = size = 0
    ended: CaptureError | None = None
    iterator = iter(records)
    while True:
        try:
            record = next(iterator, None)
        except CaptureError as error:
            record, ended = None, error
        waits = bool(messages or certificates)
        if record is None:
            if waits:
                yield _Batch(server, at_us, messages, certificates, None)
            if ended is not None:
                raise ended
            return
        message = record.message
        full = len(messages) >= _MOST_MESSAGES or size >= _MOST_BYTES
        longest = _LONGEST_OF_FEW_US if len(messages) < _FEW_MESSAGES else _LONGEST_US
        late = not 0 <= message.received_us - begun_us <= longest
        if waits and (record.server != server or full or late):
            yield _Batch(server, at_us, messages, certificates, None)
            messages, certificates, size, waits = [], [], 0, False
        if not waits:
            begun_us = message.received_us
        server, at_us = record.server, message.received_us
        if record.kind is Kind.LOST:
            yield _Batch(server, at_us, messages, certificates, at_us)
            messages, certificates, size = [], [], 0
        elif message.topic.startswith(CERTIFICATE_PREFIX):
            certificates.append(message)
        else:
            messages.append(message)
            size += len(message.payload)
