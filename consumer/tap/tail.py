"""Shows what comes over the wire, as it comes: one thread takes, reads and hands over."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from consumer.tap.changes import NO_BIRTH, ChangeReader
from consumer.tap.filters import Filters
from consumer.tap.items import Change
from consumer.tap.messages import MessageReader
from consumer.tap.table_rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consumer.config import Configuration, Server
    from consumer.tap.items import Item
    from consumer.tap.listening import Listening
    from consumer.tap.reading import Reader

_TURN: Final = 0.25
"""Seconds after which whoever shows has its turn, though nothing came."""


class Mode(Enum):
    """What one line is."""

    CHANGES = "changes"
    """A value of a metric."""
    MESSAGES = "messages"
    """A message, with seq and number of metrics."""
    ROWS = "rows"
    """A row of tag_events."""
    RAW = "raw"
    """A message, with its payload as it came."""


@dataclass(frozen=True)
class TailOptions:
    """What is shown, and how long.

    Args:
        mode: what one line is.
        filters: which of them.
        count: how many; None: without end.
        seconds: for how long; None: without end.
    """

    mode: Mode = Mode.CHANGES
    filters: Filters = field(default_factory=Filters)
    count: int | None = None
    seconds: float | None = None


class Tail:
    """What is heard, as what is to be shown. Single-threaded.

    Args:
        heard: what brings it.
        configuration: bounds of what is read, and how rows are made.
        options: what is shown.
        clock: monotonic seconds.

    Attributes:
        seen: messages that were taken in, by server.
        shown: items that were handed over.
        unresolved: those of them whose metric no birth explains yet.
        defects: batches of which not all was shown, for reading them failed, by server.
        defect: what went wrong last; empty if nothing did.
    """

    def __init__(
        self,
        heard: Listening,
        configuration: Configuration,
        options: TailOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seen: Counter[str] = Counter()
        self.shown = self.unresolved = 0
        self.defects: Counter[str] = Counter()
        self.defect = ""
        self._heard = heard
        self._options = options
        self._clock = clock
        self._make = {
            server.name: partial(_reader, server, configuration, options)
            for server in heard.servers
        }
        self._readers = {name: make() for name, make in self._make.items()}

    def turns(self) -> Iterator[Iterator[Item]]:
        """What each turn has to show, none of it twice; take all of one before the next.

        A turn comes with every batch, and four times a second when there is none. Ends with the
        count or the seconds that were asked for.
        """
        seconds, count = self._options.seconds, self._options.count
        ends_at = None if seconds is None else self._clock() + seconds
        while True:
            now = self._clock()
            left = _TURN if ends_at is None else min(_TURN, ends_at - now)
            if left <= 0:
                return
            for item in self._turn(left):
                yield self._counted(item)
                if count is not None and self.shown >= count:
                    return
                if ends_at is not None and self._clock() >= ends_at:
                    return

    def _turn(self, seconds: float) -> Iterator[Iterator[Item]]:
        for batch in self._heard.batches(seconds):
            self.seen[batch.server] += len(batch.messages) + len(batch.certificates)
            yield self._read(
                batch.server, partial(self._readers[batch.server].read, batch, self._clock())
            )
        for name, reader in list(self._readers.items()):
            yield self._read(name, partial(reader.let_pass, self._clock()))

    def _read(self, server: str, read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
        """What a reader makes; one that fails is replaced by one that has heard no birth yet."""
        try:
            yield from read()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of ours: what comes next is wanted
            self.defects[server] += 1
            self.defect = f"{type(error).__name__}: {error}"
            self._readers[server] = self._make[server]()

    def _counted(self, items: Iterator[Item]) -> Iterator[Item]:
        count = self._options.count
        left = None if count is None else count - self.shown
        for item in itertools.islice(items, left):
            self.shown += 1
            self.unresolved += isinstance(item, Change) and item.note == NO_BIRTH
            yield item

    @property
    def waiting(self) -> int:
        """Messages that wait for a birth."""
        return sum(each.waiting for each in self._readers.values())

    @property
    def unnamed(self) -> int:
        """Metrics that a glob kept from being shown because their names are not known."""
        return sum(each.unnamed for each in self._readers.values())


def _reader(server: Server, configuration: Configuration, options: TailOptions) -> Reader:
    if options.mode is Mode.CHANGES:
        return ChangeReader(server, configuration, options.filters)
    if options.mode is Mode.ROWS:
        return RowReader(server, configuration, options.filters)
    with_heads = options.mode is Mode.MESSAGES
    return MessageReader(server, configuration, options.filters, with_heads=with_heads)
