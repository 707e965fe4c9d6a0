"""What is shown of the wire: by place, by type of message, by quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from consumer.tap.globs import Places
from consumer.tap.reading import kind_of, place_of
from sparkplug import CERTIFICATE_PREFIX, ROW_TYPES, Topic, parse_topic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug import Observations


@dataclass(frozen=True)
class Filters:
    """Says what is shown; everything by default.

    Args:
        places: which metrics.
        types: types of messages (NDATA, ..., STATE); all if there are none.
        qualities: classes of `QUALITY_NAMES`; all if there are none.
    """

    places: Places = field(default_factory=Places)
    types: frozenset[str] = frozenset()
    qualities: frozenset[int] = frozenset()

    def rows(self, observations: Observations) -> NDArray[np.int64]:
        """Positions of the rows that are shown; their places were asked for before."""
        shown = np.ones(len(observations), dtype=np.bool_)
        if self.types:
            codes = [code for code, name in enumerate(ROW_TYPES) if name in self.types]
            shown &= np.isin(observations.message_type, codes)
        if self.qualities:
            shown &= np.isin(observations.quality, list(self.qualities))
        return np.flatnonzero(shown)

    def may_show(self, topic: Topic) -> bool:
        """Whether metrics of a message on this topic may be shown."""
        return self._shows_type(topic.message_type) and self._may_have(topic)

    def shows_metric(self, owner: str, name: str | None, quality: int) -> bool:
        """Whether a metric of `group/node[/device]` is shown; None: its name is not known."""
        if self.qualities and quality not in self.qualities:
            return False
        return self.places.has_all(owner) if name is None else self.places(f"{owner}/{name}")

    def shows_problem(self, topic: str) -> bool:
        """Whether it is shown that a message cannot be read: not to who asks for some values."""
        return not self.qualities and self.shows_message(topic)

    def shows_message(self, topic: str) -> bool:
        """Whether a message on this topic is shown as a whole, whatever its metrics are."""
        if not self._shows_type(kind_of(topic)):
            return False
        if self.places.is_everything:
            return True
        read = parse_topic(topic.removeprefix(CERTIFICATE_PREFIX))
        return isinstance(read, Topic) and self._may_have(read)

    def _may_have(self, topic: Topic) -> bool:
        return self.places.may_have(place_of(topic.group_id, topic.edge_node_id, topic.device_id))

    def _shows_type(self, kind: str) -> bool:
        return not self.types or kind in self.types
