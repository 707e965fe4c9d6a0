"""Leaf metrics put in the place of their templates, among the columns of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.columns import decode
from sparkplug.messages import Reason
from sparkplug.structured_rows import Flattened

if TYPE_CHECKING:
    from sparkplug.batch import Batch


def spliced(batch: Batch) -> Flattened:
    """The batch's metrics with leaves in the place of templates, and without what is dropped."""
    state, count = batch.structured, len(batch.tag)
    rows = sorted(state.leaves)
    more, bad = decode([state.leaves[row].payload for row in rows])
    if bad:
        state.counts[Reason.BAD_TEMPLATE] += len(bad)
        rows = [row for index, row in enumerate(rows) if index not in set(bad)]
    found = [state.leaves[row] for row in rows]
    copies = np.ones(count, dtype=np.int64)
    copies[list(state.dropped)] = 0
    copies[rows] = np.diff(more.offsets)
    ends = np.concatenate([[0], np.cumsum(copies)])
    source = np.repeat(np.arange(count), copies)
    texts = {int(ends[row]): text for row, text in state.texts.items()}
    for row, leaves, first in zip(rows, found, more.offsets.tolist(), strict=False):
        start = int(ends[row])
        source[start : start + len(leaves.tags)] = count + first + np.arange(len(leaves.tags))
        texts |= {start + index: text for index, text in leaves.texts.items()}
    tags = np.concatenate([batch.tag, *(leaves.tags for leaves in found)])
    returned = np.concatenate([batch.returned, *(leaves.returned for leaves in found)])
    return Flattened(
        batch.columns.spliced(more, source, ends[batch.columns.offsets]),
        tags[source].astype(np.int32),
        returned[source],
        texts,
        np.repeat(np.arange(count), copies),
    )
