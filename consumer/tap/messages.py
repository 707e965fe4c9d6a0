"""Reads what one server brings as whole messages, as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.tap.reading import heard
from sparkplug import MessageType, PlainPayloads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumer.config import Configuration, Server
    from consumer.tap.filters import Filters
    from consumer.tap.items import Heard, Item
    from consumer.tap.listening import HeardBatch
    from sparkplug import Message

_WITH_PAYLOAD: Final = frozenset(map(str, MessageType))


class MessageReader:
    """Messages of one server. Single-threaded.

    Args:
        server: its configuration.
        configuration: bounds of what is read.
        filters: what is shown.
        with_heads: whether seq, timestamp and number of metrics are read.

    Attributes:
        unnamed: 0; messages are chosen as a whole.
    """

    def __init__(
        self,
        server: Server,
        configuration: Configuration,
        filters: Filters,
        *,
        with_heads: bool = True,
    ) -> None:
        self._server = server.name
        self._filters = filters
        self._most_bytes = configuration.limits.max_payload
        self._with_heads = with_heads
        self.unnamed = 0

    @property
    def waiting(self) -> int:
        """Messages that wait for a birth: none."""
        return 0

    def read(self, batch: HeardBatch, now: float) -> Iterator[Item]:
        """The messages of a batch; births that the server keeps come first."""
        del now
        for messages in (batch.certificates, batch.messages):
            chosen = [each for each in messages if self._filters.shows_message(each.topic)]
            if self._with_heads:
                yield from self._with_head(chosen)
            else:
                yield from (heard(self._server, each) for each in chosen)

    def let_pass(self, now: float) -> Iterator[Item]:
        """Nothing."""
        del now
        return iter(())

    def _with_head(self, messages: Sequence[Message]) -> Iterator[Heard]:
        found = [heard(self._server, each) for each in messages]
        payloads = [each.payload for each in found if each.kind in _WITH_PAYLOAD]
        heads = iter(PlainPayloads(payloads, self._most_bytes).heads)
        for each in found:
            if each.kind not in _WITH_PAYLOAD:
                yield each
                continue
            head = next(heads)
            yield each._replace(
                seq=head.seq,
                metrics=None if head.problem else head.metrics,
                sent_us=None if head.timestamp_ms is None else head.timestamp_ms * 1_000,
                problem=str(head.problem or ""),
            )
