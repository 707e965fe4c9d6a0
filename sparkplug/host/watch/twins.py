"""The same tag on two servers of a site: from the ids of one catalogue to those of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sparkplug.host.catalogue import NO_TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sparkplug.host.catalogue import TagCatalogue, TagOwner
    from sparkplug.host.owner import MetricOwner

_UNKNOWN: Final = -2


class TwinTags(NamedTuple):
    """Tags of another server, and the index there of the topic of each.

    NO_TAG stands for one that the other server does not have; its topic means nothing.
    """

    tags: NDArray[np.int32]
    topics: NDArray[np.int64]


class Twins:
    """Looks each tag up once, by the ids of its node or device and its name.

    Args:
        catalogue: whose tags are asked about.
        find: gives the node or device of the other server that has the same ids.
        other: the other server's tags.
    """

    def __init__(
        self,
        catalogue: TagCatalogue,
        find: Callable[[TagOwner], MetricOwner | None],
        other: TagCatalogue,
    ) -> None:
        self._catalogue = catalogue
        self._find = find
        self._other = other
        self._state: tuple[int, ...] = ()
        self._tag = np.empty(0, dtype=np.int32)
        self._topic = np.empty(0, dtype=np.int64)

    def of(self, tags: NDArray[np.int32]) -> TwinTags:
        """The twin of each tag."""
        state = (self._catalogue.generation, self._other.generation, len(self._other))
        if state != self._state:  # ids mean something else, or there may be twins that were not
            self._state = state
            self._tag, self._topic = self._tag[:0], self._topic[:0]
        more = len(self._catalogue) - len(self._tag)
        if more > 0:
            self._tag = np.pad(self._tag, (0, more), constant_values=_UNKNOWN)
            self._topic = np.pad(self._topic, (0, more))
        for tag in np.unique(tags[self._tag[tags] == _UNKNOWN]).tolist():
            owner = self._find(self._catalogue.owners[tag])
            twin = NO_TAG if owner is None else owner.tags.get(self._catalogue.names[tag], NO_TAG)
            self._tag[tag] = twin
            self._topic[tag] = owner.topic_index if owner is not None else 0
        return TwinTags(self._tag[tags], self._topic[tags])
