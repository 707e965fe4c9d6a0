"""Batches that were spooled under another layout of the table are encoded for the present one."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consumer.rows import Conversion

if TYPE_CHECKING:
    from consumer.rows import TagLayout
    from consumer.spool import Spool, SpooledBatch

_LOG: Final = logging.getLogger("consumer.delivery")


class PresentLayout:
    """Gives batches the layout that their table has now. Thread-safe.

    Args:
        spool: knows what batches were encoded for.
        schema_id: the descriptor of the layout.
        layout: of the table.
    """

    def __init__(self, spool: Spool, schema_id: str, layout: TagLayout) -> None:
        self._spool = spool
        self._schema_id = schema_id
        self._layout = layout
        self._lock = threading.Lock()
        self._conversions: dict[str, Conversion | None] = {}

    def of(self, batch: SpooledBatch) -> SpooledBatch:
        """The batch, its rows encoded for the table as it is now; itself if they are.

        Raises:
            SpoolError: the batch's descriptor is not in the spool.
        """
        if batch.schema_id == self._schema_id:
            return batch
        conversion = self._conversion(batch)
        if conversion is None:
            return batch
        rows = conversion.convert(batch.rows, int(batch.appended_at * 1e6))
        return replace(batch, schema_id=self._schema_id, rows=rows)

    def _conversion(self, batch: SpooledBatch) -> Conversion | None:
        with self._lock:
            if batch.schema_id not in self._conversions:
                descriptor = self._spool.schemas.descriptor(batch.schema_id)
                found = Conversion.between(descriptor, self._layout)
                self._conversions[batch.schema_id] = found
                if found is not None:
                    self._tell(batch, found)
            return self._conversions[batch.schema_id]

    def _tell(self, batch: SpooledBatch, conversion: Conversion) -> None:
        lacking = ", ".join(conversion.missing) or "nothing"
        _LOG.warning(
            "%s: rows that were spooled under other columns are sent under those of now; not "
            "stored were: %s",
            batch.table,
            lacking,
            extra={"table": batch.table, "missing": list(conversion.missing)},
        )
