"""When values were measured, by the clock of their edge node alone.

A clock is only ever compared with itself (docs/decoding.md, "Present and historical"): a value
that was read late is older than the last one of its tag, or is not; and a row that says STALE
has a time behind all values of the session that it ends. What is ahead of our own clock by
more than a day is no time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.host.observations import Began

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from sparkplug.decoded import Observations
    from sparkplug.host.catalogue import TagCatalogue
    from sparkplug.host.observations import Observed, SessionTags, StaleRows
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.watch.presence import Presence

MOST_AHEAD_US: Final = 86_400_000_000
"""A value that claims to be more than a day ahead of its arrival dates no death."""


class ReadTimes:
    """The times of what was read last, in columns of the catalogue, kept batch by batch."""

    def __init__(self, catalogue: TagCatalogue, presence: Presence) -> None:
        self._states = catalogue.states
        self._presence = presence

    def look(
        self,
        found: Observed | None,
        began: Sequence[Began],
        stale: Sequence[StaleRows],
    ) -> Observations | None:
        """Take in the rows of a batch, and date the rows of its deaths.

        Args:
            found: with turns, if there are births or deaths.
            began: the births.
            stale: what the deaths gave.

        Returns:
            The rows, with `historical` for those too that others have overtaken.
        """
        # What a birth leaves out is of the session before it, and has the turn of the birth.
        ends: list[StaleRows | Began] = [*stale, *began]
        start = 0
        for end in sorted(ends, key=lambda each: each.turn):
            if found is not None:
                stop = int(np.searchsorted(found.turns, end.turn))
                self._note(found.rows, slice(start, stop))
                start = stop
            if isinstance(end, Began):
                self._states.greatest_us[end.tags] = 0
            else:
                self.date(end.rows, end.by_owner)
        if found is None:
            return None
        self._note(found.rows, slice(start, None))
        historical = self._historical(found)
        return found.rows if historical is None else replace(found.rows, historical=historical)

    # ------------------------------------------------------------------ sessions

    def date(self, rows: Observations, by_owner: Iterable[SessionTags]) -> None:
        """Give the rows of a death times behind those of all values of their node or device.

        `by_owner` are their tags in order, those of each node or device for themselves.
        """
        start = 0
        for due, of_session in by_owner:
            part = slice(start, start + len(due))
            start = part.stop
            greatest = self._states.greatest_us[of_session].max(initial=0)
            behind = np.where(greatest > rows.received_us[part] + MOST_AHEAD_US, 0, greatest + 1)
            rows.event_time_us[part] = np.maximum(rows.event_time_us[part], behind)

    def restore(self, owners: Iterable[MetricOwner], sent_us: int) -> None:
        """Nodes and devices of which an earlier run read values, the last of them sent then."""
        for owner in owners:
            self._states.greatest_us[owner.declared] = sent_us

    def _note(self, rows: Observations, part: slice) -> None:
        """Note the greatest time of each tag."""
        tags, times = rows.tag[part], rows.event_time_us[part]
        ahead = times > rows.received_us[part] + MOST_AHEAD_US
        if count_nonzero(ahead):
            tags, times = tags[~ahead], times[~ahead]
        np.maximum.at(self._states.greatest_us, tags, times)

    # ------------------------------------------------------------------ history

    def _historical(self, found: Observed) -> NDArray[np.bool_] | None:
        """Which rows are history, None if none is but those that say so; note the others."""
        rows, late = found.rows, found.late
        present = ~rows.historical
        older: NDArray[np.bool_] | None = None
        if late is not None:
            older = self._overtaken(rows, late & present)
            present &= ~older
        if self._presence.peers:
            behind = self._behind(rows, present, late)
            older = behind if older is None else older | behind
        # Where a tag is there more than once, its last value stays.
        if count_nonzero(present) == len(present):
            self._states.read_us[rows.tag] = rows.event_time_us
        else:
            self._states.read_us[rows.tag[present]] = rows.event_time_us[present]
        return None if older is None else rows.historical | older

    def _overtaken(self, rows: Observations, late: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the late rows are not newer than what was read before them of their tag.

        A value in order is the last one whatever its time; a late one if it is newer.
        """
        concerned = np.flatnonzero(np.isin(rows.tag, rows.tag[late]) & ~rows.historical)
        order = concerned[np.argsort(rows.tag[concerned], kind="stable")]
        tags = rows.tag[order]
        first = np.flatnonzero(np.diff(tags, prepend=-1))
        # Before the rows of each tag: what was read of it in earlier batches.
        times = np.insert(rows.event_time_us[order], first, self._states.read_us[tags[first]])
        in_order = np.insert(~late[order], first, values=True)
        since = np.cumsum(in_order)
        _, rank = np.unique(times, return_inverse=True)
        place = since * len(rank) + rank  # what is in order is behind all that was before
        overtaken = np.zeros(len(place), dtype=np.bool_)
        overtaken[1:] = np.maximum.accumulate(place)[:-1] >= place[1:]
        older = np.zeros(len(rows), dtype=np.bool_)
        older[order] = np.delete(overtaken, first + np.arange(len(first)))
        return older

    def _behind(
        self, rows: Observations, present: NDArray[np.bool_], late: NDArray[np.bool_] | None
    ) -> NDArray[np.bool_]:
        """Which present rows are older than what another server of the site has of their tag.

        A value in order that is older than the one before it on the same server is none of
        these: its node's clock was set back.
        """
        behind = present & (rows.event_time_us < self._presence.read_elsewhere(rows.tag))
        if not count_nonzero(behind):
            return behind
        order = np.flatnonzero(present)
        order = order[np.argsort(rows.tag[order], kind="stable")]
        tags, times = rows.tag[order], rows.event_time_us[order]
        before = self._states.read_us[tags]
        again = np.flatnonzero(tags[1:] == tags[:-1]) + 1
        before[again] = times[again - 1]
        set_back = np.zeros(len(rows), dtype=np.bool_)
        set_back[order] = times < before
        if late is not None:
            set_back &= ~late
        return behind & ~set_back
