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
    found = [(row, leaves) for row in sorted(state.leaves) for leaves in state.leaves[row]]
    more, bad = decode([leaves.payload for _, leaves in found])
    if bad:
        state.counts[Reason.BAD_TEMPLATE] += len(bad)
        found = [each for index, each in enumerate(found) if index not in set(bad)]
    copies = np.ones(count, dtype=np.int64)
    copies[list(state.dropped)] = 0
    np.add.at(copies, [row for row, _ in found], np.diff(more.offsets))
    ends = np.concatenate([[0], np.cumsum(copies)])
    source = np.repeat(np.arange(count), copies)
    texts = {int(ends[row]): text for row, text in state.texts.items()}
    starts = {row: int(ends[row]) for row, _ in found}
    for (row, leaves), first in zip(found, more.offsets.tolist(), strict=False):
        start, size = starts[row], len(leaves.tags)
        starts[row] += size
        source[start : start + size] = np.arange(count + first, count + first + size)
        texts |= {start + index: text for index, text in leaves.texts.items()}
    tags = np.concatenate([batch.tag, *(leaves.tags for _, leaves in found)])
    returned = np.concatenate([batch.returned, *(leaves.returned for _, leaves in found)])
    return Flattened(
        batch.columns.spliced(more, source, ends[batch.columns.offsets]),
        tags[source].astype(np.int32),
        returned[source],
        texts,
        np.repeat(np.arange(count), copies),
    )
