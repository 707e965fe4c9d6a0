"""Tags whose values come over HTTP: their constant columns, and observations of events.

Nothing declares these tags, and anybody who may post can invent them. They are kept in a
dictionary that is bounded in number and in characters, and begins anew when it is full: that
costs the description of each tag once more, and changes nothing in the rows.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from consumer.rows.event_id import identities, identities_of, place
from consumer.rows.layouts import DEFAULT_LAYOUT
from consumer.rows.tag_columns import CONSTANT, DATATYPE_NAMES, ConstantColumns
from consumer.rows.tag_events import HTTP, MESSAGE_TYPES
from consumer.rows.templates import PathTemplate
from sparkplug import Observations, read_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumer.rows.event_streams import Events
    from consumer.rows.layouts import TagLayout

_MOST_TAGS: Final = 30_000
_MOST_CHARACTERS: Final = 4 << 20
_MESSAGE_TYPE: Final = MESSAGE_TYPES.index(HTTP)


class StreamTags(ConstantColumns):
    """The constant columns of tags whose values came over HTTP.

    Args:
        most_tags: with more it begins anew, between batches.
        most_characters: the same, of all paths together.
        layout: columns of the rows.
    """

    def __init__(
        self,
        most_tags: int = _MOST_TAGS,
        most_characters: int = _MOST_CHARACTERS,
        *,
        layout: TagLayout = DEFAULT_LAYOUT,
    ) -> None:
        super().__init__(layout)
        self._most_tags = most_tags
        self._most_characters = most_characters
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._forget_all()
        self._ids: dict[str, dict[tuple[str, int], int]] = {}
        self._sources: list[str] = []
        self._paths: list[str] = []
        self._datatypes: list[int] = []
        self._characters = 0

    def __len__(self) -> int:
        return len(self._paths)

    def make_room(self) -> None:
        """Begin anew if there are too many tags. Rows that are not encoded yet lose theirs."""
        if len(self) > self._most_tags or self._characters > self._most_characters:
            self._begin_anew()

    def observations(self, posts: Sequence[tuple[str, Events]]) -> Observations:
        """The events of some posts as observations of these tags, in their order.

        Args:
            posts: of each the source_system_id, and its events.
        """
        events = [each for _, each in posts]
        values: list[Any] = list(chain.from_iterable(each.values for each in events))
        quality_code = _joined([each.quality_codes for each in events], np.int32)
        received = [np.full(len(each), each.received_us) for each in events]
        read = read_members(
            np.frombuffer(b"".join(each.members for each in events), dtype=np.uint8),
            values,
            np.frombuffer(b"".join(each.datatypes for each in events), dtype=np.uint8),
            quality_code,
        )
        rows = len(values)
        nothing = np.zeros(rows, dtype=np.bool_)
        absent = np.full(rows, -1)
        return Observations(
            tag=np.concatenate([self._tags_of(*each) for each in posts]),
            event_time_us=_joined([each.times_us for each in events], np.int64),
            values=read.values,
            quality_code=read.quality_code,
            quality=read.quality,
            historical=nothing,
            returned=nothing,
            message_type=np.full(rows, _MESSAGE_TYPE, dtype=np.uint8),
            seq=absent,
            payload_time_us=absent,
            received_us=np.concatenate(received),
        )

    def _tags_of(self, source: str, events: Events) -> NDArray[np.int32]:
        """The id of the tag of each event; what was not known gets the next ones."""
        ids = self._ids.setdefault(source, {})
        keys = list(zip(events.paths, events.datatypes, strict=True))
        for key in keys:
            if key not in ids:
                path, datatype = key
                ids[key] = len(self._paths)
                self._sources.append(source)
                self._paths.append(path)
                self._datatypes.append(datatype)
                self._characters += len(path) + len(source)
        return np.fromiter(map(ids.__getitem__, keys), np.int32, len(keys))

    def extend(self) -> None:
        """Take in tags of events that were observed since the last call."""
        self._extend_to(len(self))

    def _describe(self, tags: Sequence[int]) -> tuple[pa.RecordBatch, NDArray[np.uint64]]:
        paths = [self._paths[tag] for tag in tags]
        sources = [self._sources[tag] for tag in tags]
        columns: dict[str, list[str | None]] = {name: [None] * len(tags) for name in CONSTANT}
        columns |= {
            "tag_path": list(paths),
            "tag_provider": [PathTemplate.provider_of(path) for path in paths],
            "source_system_id": list(sources),
            "metric_name": [PathTemplate.name_in(path) for path in paths],
            "data_type": [DATATYPE_NAMES[self._datatypes[tag]] for tag in tags],
        }
        digests = (
            next(identities_of([path], place(source, None, None, None)))
            for path, source in zip(paths, sources, strict=True)
        )
        batch = pa.record_batch({k: pa.array(v, pa.string()) for k, v in columns.items()})
        return batch, identities(digests)


def _joined(columns: list[list[int]], dtype: Any) -> NDArray[Any]:
    return np.array(list(chain.from_iterable(columns)), dtype=dtype)
