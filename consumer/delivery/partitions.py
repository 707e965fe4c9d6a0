"""A table's batches for several streams: divided by edge node, read once, trimmed when all is done.

All rows of an edge node go over the same stream, so that their order is kept. Which one is
a hash of group id and edge node id, read from the encoded rows in columns (ptars) when a
batch is taken: nothing is stored for it, so batches of an earlier release, or of a run
with another number of streams, are divided like any other. With one stream nothing of
this is done.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from google.protobuf import descriptor_pb2, descriptor_pool
from ptars import HandlerPool

from consumer.delivery.newest import NewestBatches
from consumer.rows import EncodedRows, our_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from consumer.delivery.layouts import PresentLayout
    from consumer.spool import Spool, SpooledBatch

_NODE_COLUMNS: Final = ("group_id", "edge_node_id")
_WITHOUT_NODES: Final = ("source_system_id",)
"""Where a table has no ids of edge nodes: the source names them, unless told otherwise."""
# Batches whose division is remembered: all streams take the same ones at about the same time.
_MOST_DIVIDED: Final = 256
# Batches that some streams have settled and others not; about 100 bytes of memory each.
_MOST_PARTLY_SETTLED: Final = 50_000
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


class NodeColumns:
    """Reads the edge node of encoded rows of one descriptor, in columns.

    Args:
        descriptor: serialized FileDescriptorProto of one message, as the spool keeps it.
    """

    def __init__(self, descriptor: bytes) -> None:
        fields = our_fields(descriptor)
        nodes = _NODE_COLUMNS if _NODE_COLUMNS[0] in fields else _WITHOUT_NODES
        node = descriptor_pb2.FileDescriptorProto(name="node.proto", syntax="proto2")
        found = node.message_type.add(name="Node")
        for name in nodes:
            field = fields.get(name)
            if field is not None and field.type == field.TYPE_STRING:
                found.field.add(
                    name=name,
                    number=field.number,
                    type=field.TYPE_STRING,
                    label=field.LABEL_OPTIONAL,
                )
        self._handler: Any = None
        if found.field:
            pool = descriptor_pool.DescriptorPool()
            pool.Add(node)
            file = pool.FindFileByName(node.name)
            self._handler = HandlerPool([file]).get_for_message(file.message_types_by_name["Node"])

    def hashes(self, rows: EncodedRows) -> NDArray[np.uint64]:
        """One hash per row, the same for all rows of an edge node.

        Rows without a node, and those that are no messages at all, share the hash of no node.
        """
        hashes = np.zeros(len(rows), dtype=np.uint64)
        if self._handler is not None:
            self._read(rows.array, hashes)
        return hashes

    def _read(self, array: Any, hashes: NDArray[np.uint64]) -> None:
        try:
            columns = self._handler.array_to_record_batch(array)
        except ValueError:  # one of them is no message: it may be any
            if len(array) > 1:
                half = len(array) // 2
                self._read(array.slice(0, half), hashes[:half])
                self._read(array.slice(half), hashes[half:])
            return
        for column in columns.columns:
            encoded = pc.dictionary_encode(column.fill_null(""))
            texts = encoded.dictionary.to_pylist()
            distinct = np.array(
                [xxhash.xxh3_64_intdigest(each.encode()) for each in texts], dtype=np.uint64
            )
            hashes *= _ODD
            hashes ^= distinct[encoded.indices.to_numpy()]


class TableBatches:
    """The batches of one table, read once and divided among its streams by edge node.

    Args:
        spool: holds the batches.
        table: `catalog.schema.table`.
        streams: how many streams the rows are divided among.
        newest_bytes: row bytes of the newest batches that are kept in memory, until all streams
            have had them.
        keep_bytes: row bytes of batches that were read from the spool and are kept in memory
            for the streams that come to them later.
        layout: gives batches that are read the columns of the table; None: they stay as they are.

    Attributes:
        newest: is offered what is appended to the spool.
    """

    def __init__(
        self,
        spool: Spool,
        table: str,
        streams: int,
        *,
        newest_bytes: int,
        keep_bytes: int,
        layout: PresentLayout | None = None,
    ) -> None:
        self.newest = NewestBatches(table, newest_bytes, self._read)
        self._spool = spool
        self._table = table
        self._streams = streams
        self._keep_bytes = keep_bytes
        self._layout = layout
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._kept: OrderedDict[int, SpooledBatch] = OrderedDict()
        self._kept_bytes = 0
        self._columns: dict[str, NodeColumns] = {}
        self._divided: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._taken = [0] * streams
        self._left: dict[int, int] = {}
        self._complete: list[int] = []

    def _read(self, batch_id: int, limit_bytes: int) -> list[SpooledBatch]:
        """The batches behind `batch_id` from the spool, or from what another stream has just read.

        Raises:
            SpoolError: the spool cannot be read.
        """
        if self._streams == 1:
            found = self._spool.batches_after(batch_id, limit_bytes, table=self._table)
            return [self._present(batch) for batch in found]
        with self._reading:
            read = self._spool.batches_after(
                batch_id, limit_bytes, table=self._table, known=self._kept
            )
            found = [self._present(batch) for batch in read]
            for batch in found:
                if batch.batch_id not in self._kept:
                    self._kept[batch.batch_id] = batch
                    self._kept_bytes += batch.rows.nbytes
            while self._kept_bytes > self._keep_bytes:
                _, gone = self._kept.popitem(last=False)
                self._kept_bytes -= gone.rows.nbytes
        return found

    def _present(self, batch: SpooledBatch) -> SpooledBatch:
        return batch if self._layout is None else self._layout.of(batch)

    def may_take(self, stream: int) -> bool:
        """Whether a stream may take its next batch: not when it is far ahead of the others."""
        with self._lock:
            return len(self._left) < _MOST_PARTLY_SETTLED or self._taken[stream] <= min(self._taken)

    def is_lagging(self, stream: int) -> bool:
        """Whether what a stream takes next is not in memory."""
        return not self.newest.reach(self._taken[stream])

    def next_parts(self, stream: int, limit_bytes: int) -> list[SpooledBatch]:
        """The rows of a stream in the batches that it takes next, each batch once and in order.

        Args:
            stream: which one, from 0.
            limit_bytes: about so many bytes of rows, before they are divided; at least a batch.

        Returns:
            A part of each batch, perhaps without rows; empty when there are no batches.

        Raises:
            SpoolError: the spool cannot be read, or has not the descriptor of the first batch.
        """
        parts: list[SpooledBatch] = []
        try:
            for batch in self.newest.batches_after(self._taken[stream], limit_bytes):
                parts.append(self.part(batch, stream))
                self._taken[stream] = batch.batch_id
        except Exception:
            if not parts:  # else it is raised next time: these are taken, and must not be skipped
                raise
        self.newest.forget(min(self._taken))
        return parts

    def part(self, batch: SpooledBatch, stream: int) -> SpooledBatch:
        """The rows of a batch that belong to a stream, in their order; perhaps none.

        Raises:
            SpoolError: the batch's descriptor is not in the spool.
        """
        if self._streams == 1:
            return batch
        rows = np.flatnonzero(self._division(batch) == stream).astype(np.int32)
        if len(rows) == len(batch.rows):
            return batch
        part = EncodedRows(batch.rows.array.take(pa.array(rows)))
        return replace(batch, rows=part, positions=rows)

    def _division(self, batch: SpooledBatch) -> NDArray[np.uint8]:
        with self._reading:
            divided = self._divided.get(batch.batch_id)
            if divided is None:
                columns = self._columns.get(batch.schema_id)
                if columns is None:
                    columns = NodeColumns(self._spool.schemas.descriptor(batch.schema_id))
                    self._columns[batch.schema_id] = columns
                high = columns.hashes(batch.rows) >> np.uint64(32)
                divided = (high % np.uint64(self._streams)).astype(np.uint8)
                self._divided[batch.batch_id] = divided
                if len(self._divided) > _MOST_DIVIDED:
                    self._divided.popitem(last=False)
        return divided

    def settled(self, batch_ids: Iterable[int]) -> None:
        """Note that one stream has settled its rows of some batches; each stream says it once."""
        with self._lock:
            for batch_id in batch_ids:
                left = self._left.pop(batch_id, self._streams) - 1
                if left:
                    self._left[batch_id] = left
                else:
                    self._complete.append(batch_id)

    @property
    def are_complete(self) -> bool:
        """Whether there are batches that all streams have settled, and that are not trimmed."""
        return bool(self._complete)

    def trim(self) -> None:
        """Remove the batches from the spool that all streams have settled.

        Raises:
            SpoolError: that cannot be written; they are tried again next time.
        """
        with self._lock:
            complete, self._complete = self._complete, []
        if not complete:
            return
        try:
            self._spool.trim(complete)
        except BaseException:
            with self._lock:
                self._complete += complete
            raise
