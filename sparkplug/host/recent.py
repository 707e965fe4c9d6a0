"""The messages that were read lately, to know one that is delivered twice."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch

_BATCHES: Final = 3
_BYTES: Final = 16 * 1024 * 1024


class _Read(NamedTuple):
    """Messages of one batch, or of a part of it."""

    number: int
    node: NDArray[np.int64]
    seq: NDArray[np.int64]
    read: NDArray[np.bool_]
    topics: list[str]
    payloads: list[bytes]
    size: int


class ReadLately:
    """References to the messages of the present batch and of the two before it.

    Nothing is computed for messages in order; a late one is compared with all others of
    its node and seq. Those of another topic are others: two devices may say the same.
    """

    def __init__(self) -> None:
        self._batches: deque[_Read] = deque()
        self._number = 0
        self._size = 0

    def clear(self) -> None:
        """Forget all."""
        self._batches.clear()
        self._size = 0

    def next_batch(self) -> None:
        """The next messages belong to another batch."""
        self._number += 1
        while self._batches and self._batches[0].number <= self._number - _BATCHES:
            self._drop()

    def note(self, batch: Batch) -> None:
        """Note what was read of a batch."""
        messages = batch.messages
        self._batches.append(
            _Read(
                self._number,
                batch.node,
                batch.columns.seq.copy(),  # all columns of a batch share their memory
                batch.taken,
                messages.topics,
                messages.payloads,
                messages.size,
            )
        )
        self._size += messages.size
        while self._batches and self._size > _BYTES:
            self._drop()

    def has(self, batch: Batch, position: int, seq: int) -> bool:
        """Whether the message at a position of the present batch was read before."""
        node, messages = batch.node[position], batch.messages
        topic, payload = messages.topics[position], messages.payloads[position]
        present = _Read(
            0,
            batch.node[:position],
            batch.columns.seq[:position],
            batch.taken[:position],
            messages.topics,
            messages.payloads,
            0,
        )
        for each in (present, *self._batches):
            same = each.read & (each.node == node) & (np.maximum(each.seq, 0) % 256 == seq)
            for index in np.flatnonzero(same).tolist():
                if each.payloads[index] == payload and each.topics[index] == topic:
                    return True
        return False

    def _drop(self) -> None:
        self._size -= self._batches.popleft().size
