"""Files that come in several metrics: which are parts, and what the whole file is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from sparkplug.messages import MESSAGE_TYPES, Reason
from sparkplug.payload import PartAssembler, booleans, metadata_of
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from collections import Counter

    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.pb.sparkplug_b_pb2 import Metric

PART: Final = ""
"""Stands for the text of a value that is a part, and no row."""

_BIRTHS: Final = [MESSAGE_TYPES.index(t) for t in (MessageType.NBIRTH, MessageType.DBIRTH)]


class FileParts:
    """The unfinished files of one MQTT server, by node, device and metric."""

    def __init__(
        self, catalogue: TagCatalogue, max_bytes: int, *, emit_births: bool, emit_transient: bool
    ) -> None:
        """What is not emitted is not put together; what is has `max_bytes` in all."""
        self._catalogue = catalogue
        self._emit_births = emit_births
        self._emit_transient = emit_transient
        self._assembler = PartAssembler(max_bytes)

    def read_rows(self, batch: Batch, rows: NDArray[np.int64]) -> None:
        """Read these metrics of Bytes and File tags; what they are goes to the batch."""
        if len(rows):
            rows = rows[self._may_give_row(batch, rows)]
        if len(rows) == 0:
            return
        selection = pa.array(rows)
        metadata = batch.columns.metric("metadata").take(selection)
        if metadata.null_count == len(rows) and not len(self._assembler):
            return
        values = batch.columns.metric("bytes_value").take(selection)
        is_null = booleans(batch.columns.metric("is_null").take(selection))
        for row, about, raw, null in zip(
            rows.tolist(),
            metadata.to_pylist(),
            values.to_pylist(),
            is_null.tolist(),
            strict=True,
        ):
            if raw is None or null:
                continue
            text = self._take(batch, int(batch.tag[row]), about, raw)
            if text == PART:
                batch.structured.dropped.add(row)
            elif text is not None:
                batch.structured.texts[row] = text

    def read_member(self, batch: Batch, position: int, tag: int, member: Metric) -> str | None:
        """Read the member of a template whose tag is of Bytes or File.

        Returns the text of the file that it completes; PART if it does not complete one; None
        if it has nothing to do with parts.
        """
        from_birth = batch.message_type[position] in _BIRTHS
        if (
            not member.HasField("bytes_value")
            or member.is_null
            or (member.is_transient and not self._emit_transient)
            or (from_birth and not self._emit_births)
            or not self._catalogue.emitted[tag]
        ):
            return None
        metadata = member.metadata.SerializeToString() if member.HasField("metadata") else None
        return self._take(batch, tag, metadata, member.bytes_value)

    def end_batch(self, batch: Batch) -> None:
        """Forget files that have waited too long, and count what came to nothing."""
        if len(self._assembler):
            self._assembler.expire(_passed_us(batch))
        if self._assembler.problems:
            self._report(batch.structured.counts)

    def _report(self, counts: Counter[Reason]) -> None:
        for problem, count in self._assembler.problems.items():
            counts[Reason(problem.value)] += count
        self._assembler.problems.clear()

    def _may_give_row(self, batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        wanted = self._catalogue.gives_rows(batch.tag[rows])
        if not self._emit_births:
            wanted &= ~np.isin(batch.message_type[batch.message_of(rows)], _BIRTHS)
        if not self._emit_transient:
            wanted &= ~booleans(batch.columns.metric("is_transient").take(pa.array(rows)))
        return wanted

    def _take(self, batch: Batch, tag: int, metadata: bytes | None, raw: bytes) -> str | None:
        owner, metric = self._catalogue.owners[tag], self._catalogue.names[tag]
        key = (owner.group_id, owner.edge_node_id, owner.device_id)
        about = metadata_of(metadata)
        if not about.is_multi_part and not self._assembler.awaits(key, metric):
            return None
        file = self._assembler.add(key, metric, metadata, raw, _passed_us(batch))
        if file is None:
            batch.structured.counts[Reason.FILE_PART] += 1
            return PART
        return None if file.parts == 1 and not about.is_multi_part else file.text


def _passed_us(batch: Batch) -> int:
    """Time that only passes: what a clock says may jump, and would end all files at once."""
    return int(batch.now * 1e6)
