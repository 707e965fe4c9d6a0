"""The tags that present births declare: how many there are, and ids without those of before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.nodes.aliases import AliasPool
    from sparkplug.host.owner import MetricOwner, OwnedTags
    from sparkplug.host.screening import TagRoom

_SLACK: Final = 10_000
"""Dead tags that are not worth a new generation of tag ids."""

_SLACK_CHARACTERS: Final = 1_000_000
"""Characters of the names of dead tags that are not worth a new generation of tag ids."""


class DeclaredTags:
    """Counts the tags of one fleet that are not dead, and drops those that are.

    Args:
        catalogue: of the fleet.
        owners: nodes and devices of the fleet.
        pool: the aliases of the fleet.
        room: what is taken of the limits of tags, by this fleet and others.

    Attributes:
        count: how many tags present births declare.
        characters: of their names together.
    """

    def __init__(
        self,
        catalogue: TagCatalogue,
        owners: Sequence[MetricOwner],
        pool: AliasPool,
        room: TagRoom,
    ) -> None:
        self._catalogue = catalogue
        self._owners = owners
        self._pool = pool
        self._room = room
        self.count = self.characters = 0

    def change(self, before: OwnedTags, after: OwnedTags) -> None:
        """A birth changes what is remembered of its owner."""
        tags, characters = after.tags - before.tags, after.characters - before.characters
        self.count += tags
        self.characters += characters
        self._room.tags += tags
        self._room.characters += characters

    def drop_dead(self) -> None:
        """Hand out tag ids anew, without those that no birth declares, if these are many."""
        few = len(self._catalogue) <= 2 * self.count + _SLACK
        if few and self._catalogue.characters <= 2 * self.characters + _SLACK_CHARACTERS:
            return
        nothing = np.empty(0, dtype=np.int32)
        known = (
            tags for owner in self._owners for tags in (owner.declared, owner.left_out, owner.kept)
        )
        live = np.concatenate([nothing, *known])
        renamed = self._catalogue.keep(np.unique(live))
        for owner in self._owners:
            owner.rename(renamed)
        self._pool.rename(renamed)
