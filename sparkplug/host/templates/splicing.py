"""Leaf metrics put in the place of their templates, among the columns of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparkplug.host.structured_rows import Block, Flattened
from sparkplug.messages import Reason
from sparkplug.payload import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch
    from sparkplug.host.structured_rows import Structured


def spliced(batch: Batch) -> Flattened:
    """The batch's metrics with leaves in the place of templates, and without what is dropped."""
    state, count = batch.structured, len(batch.tag)
    single, returned, texts = _one_by_one(state)
    blocks = [block for block in (single, *state.blocks) if len(block.row)]
    copies = np.ones(count, dtype=np.int64)
    copies[list(state.dropped)] = 0
    for block in blocks:
        np.add.at(copies, block.row, 1)
    ends = np.concatenate([[0], np.cumsum(copies)])
    source = np.repeat(np.arange(count), copies)
    places: list[NDArray[np.int64]] = []
    start = count
    for block in blocks:
        size = len(block.row)
        # A row is in one block only, its leaves one after another.
        among = np.arange(size) - np.searchsorted(block.row, block.row)
        places.append(ends[block.row] + among)
        source[places[-1]] = np.arange(start, start + size)
        start += size
    written = {int(ends[row]): text for row, text in state.texts.items()}
    written |= {int(places[0][index]): text for index, text in texts.items()}
    flags = np.zeros(start, dtype=np.bool_)
    flags[:count] = batch.returned
    flags[count : count + len(returned)] = returned
    return Flattened(
        batch.columns.spliced(
            [block.metrics for block in blocks], source, ends[batch.columns.offsets]
        ),
        np.concatenate([batch.tag, *(block.tag for block in blocks)])[source].astype(np.int32),
        flags[source],
        written,
        np.repeat(np.arange(count), copies),
    )


def _one_by_one(state: Structured) -> tuple[Block, NDArray[np.bool_], dict[int, str]]:
    """The leaves of templates that were taken apart one by one; `returned` and texts by leaf."""
    found = [(row, leaves) for row in sorted(state.leaves) for leaves in state.leaves[row]]
    columns, bad = decode([leaves.payload for _, leaves in found])
    if bad:
        state.counts[Reason.BAD_TEMPLATE] += len(bad)
        found = [each for index, each in enumerate(found) if index not in set(bad)]
    texts: dict[int, str] = {}
    for (_, leaves), first in zip(found, columns.offsets.tolist(), strict=False):
        texts |= {first + index: text for index, text in leaves.texts.items()}
    rows = np.array([row for row, _ in found], dtype=np.int64)
    nothing = np.empty(0, dtype=np.int32)
    block = Block(
        np.repeat(rows, np.diff(columns.offsets)),
        columns.metrics(),
        np.concatenate([nothing, *(leaves.tags for _, leaves in found)]),
    )
    returned = [np.empty(0, dtype=np.bool_), *(leaves.returned for _, leaves in found)]
    return block, np.concatenate(returned), texts
