"""Tags that births left out: they are STALE until a birth declares them again."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.watch.presence import Presence

_MOST_RETIRED: Final = 100_000


class RetiredTags:
    """The tags of one fleet that births left out, as far as rows said so. `len()` is their number.

    Args:
        presence: who is alive here, and on the other servers of the site.

    Attributes:
        peers: those of the other servers of the site.
    """

    def __init__(self, presence: Presence) -> None:
        self.peers: tuple[RetiredTags, ...] = ()
        self._presence = presence
        self._catalogue = presence.catalogue
        self._retired = OrderedDict[int, None]()  # oldest first

    def __len__(self) -> int:
        return len(self._retired)

    def left_out(self, owner: MetricOwner, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        """Which of these tags gave rows, and have a value no more.

        They are of the birth before. That of now, or another server that shows the owner
        alive, may declare a tag of the same name.
        """
        tags = self._catalogue.with_rows(tags)
        elsewhere = (each.tags_of(owner) for each in self._presence.peers if each.shows(owner))
        for showing in (owner.tags, *elsewhere):
            tags = tags[~self._catalogue.named(tags, showing)]
        return tags

    def retire(self, owner: MetricOwner, tags: NDArray[np.int32]) -> None:
        """Rows say that tags which were left out are STALE."""
        for tag in tags.tolist():
            self._retired[_tag_key(owner, self._catalogue.names[tag])] = None
        while len(self._retired) > _MOST_RETIRED:
            self._retired.popitem(last=False)  # of a dict each would be looked for anew

    def bring_back(self, owner: MetricOwner, tags: NDArray[np.int32]) -> NDArray[np.int32]:
        """A birth declares tags that the one before did not.

        Returns:
            Those that were retired, here or on another server of the site. They are not any more.
        """
        fleets = [each for each in (self, *self.peers) if len(each)]
        were: dict[int, int] = {}  # by tag key; a name may be declared twice
        found: list[int] = []
        for tag in tags.tolist() if fleets else ():
            key = _tag_key(owner, self._catalogue.names[tag])
            if key not in were:
                were[key] = sum(each.forget(key) for each in fleets)
            if were[key]:
                found.append(tag)
        return np.array(found, dtype=np.int32)

    def forget(self, key: int) -> bool:
        """Whether a tag was retired here; it is not from now on."""
        return self._retired.pop(key, 0) is None


def _tag_key(owner: MetricOwner, name: str) -> int:
    """Stands for a tag, at every server of its site. Two that share one would do no harm."""
    return hash((owner.group_id, owner.edge_node_id, owner.device_id, name))
