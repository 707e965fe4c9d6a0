"""How old rows are when they are acknowledged, by this machine's clock alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from consumer.rows import message_class, our_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from consumer.spool import Spool, SpooledBatch

_ARRIVAL: Final = "ingestion_timestamp"


class AcknowledgementAges:
    """Tells for each acknowledged batch how long ago its first row had arrived. Thread-safe.

    The time of arrival is read from the row itself where the rows do not know it, so that of
    batches that an earlier run left in the spool is known as well. The first row of a batch is
    its oldest, unless messages were held back for a missing one or for a birth.

    Args:
        spool: knows the descriptors of the rows.
        observe: is given the age in seconds, one batch after the other.
        wall_clock: seconds since 1970, as the times of arrival.
    """

    def __init__(
        self, spool: Spool, observe: Callable[[float], object], wall_clock: Callable[[], float]
    ) -> None:
        self._spool = spool
        self._observe = observe
        self._wall_clock = wall_clock
        self._classes: dict[str, Any] = {}

    def acknowledged(self, batches: Iterable[SpooledBatch]) -> None:
        """The last rows of these batches were just acknowledged."""
        now = self._wall_clock()
        for batch in batches:
            arrival_us = self._arrival_us(batch)
            if arrival_us:
                self._observe(max(0.0, now - arrival_us / 1e6))  # clocks are set back

    def _arrival_us(self, batch: SpooledBatch) -> int:
        if batch.rows.arrived_us is not None:
            return batch.rows.arrived_us
        message = self._classes.get(batch.schema_id)
        if message is None:
            descriptor = self._spool.schemas.descriptor(batch.schema_id)
            field = our_fields(descriptor).get(_ARRIVAL)
            message = message_class(descriptor), field.name if field else _ARRIVAL
            self._classes[batch.schema_id] = message
        found, name = message
        (record,) = batch.rows.slice(0, 1)
        try:
            return int(getattr(found.FromString(record), name, 0))
        except DecodeError:  # Zerobus has refused it, and taken others of the batch
            return 0
