"""What comes over HTTP, on the decoding thread: posts that wait become rows in one commit."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolDamaged, SpoolError, SpoolFileGone, SpoolFull
from consumer.pipeline.posts import Busy, Outcome, Posts
from consumer.rows import StreamTags, normalize
from consumer.spool import HTTP_SOURCE, entry_of_posts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.pipeline.commits import Commits
    from consumer.pipeline.posts import Post
    from consumer.pipeline.telemetry import Telemetry
    from consumer.rows import TagLayout

_LOG = logging.getLogger(__name__)

_DOES_NOT_FIT: Final = "value_does_not_fit"


class Ingest:
    """Commits posts. Used by the decoding thread, between the batches of MQTT.

    Args:
        table: the rows' table.
        posts: where they wait.
        commits: commits to the spool.
        telemetry: where it is counted.
        no_room: why posts may not use the spool now; None while they may.
        layout: columns of the rows.
    """

    def __init__(
        self,
        table: str,
        posts: Posts,
        commits: Commits,
        telemetry: Telemetry,
        no_room: Callable[[], Busy | None],
        *,
        layout: TagLayout,
    ) -> None:
        self._table = table
        self._posts = posts
        self._commits = commits
        self._telemetry = telemetry
        self._no_room = no_room
        self._layout = layout
        self._tags = StreamTags(layout=layout)

    def take_in(self) -> bool:
        """Commit posts that wait, and answer them. False if none waits.

        Raises:
            SpoolDamaged: nothing can be relied on any more.
            SpoolFileGone: nothing is written any more.
        """
        posts = self._posts.take()
        if posts:
            self._commit_or_halve(posts)
        return bool(posts)

    def take_leave(self) -> None:
        """Commit all posts that wait; no more are let in."""
        self._posts.close()
        while self.take_in():
            pass

    def close(self) -> None:
        """Answer those that wait: nothing is committed any more."""
        self._posts.close()
        while posts := self._posts.take():
            self._posts.answer(posts, Outcome.STOPPED)

    def _commit_or_halve(self, posts: Sequence[Post]) -> None:
        """Commit posts; let one that cannot be committed cost no other."""
        outcome = Outcome.FAILED
        try:
            no_room = self._no_room()
            if no_room is None:
                self._commit(posts)
                outcome = Outcome.COMMITTED
            elif no_room is Busy.GATE_CLOSED:
                outcome = Outcome.GATE_CLOSED
            else:
                outcome = Outcome.NO_ROOM
        except SpoolFull:
            outcome = Outcome.NO_ROOM
        except (SpoolDamaged, SpoolFileGone):
            self._posts.answer(posts, Outcome.FAILED)
            raise
        except SpoolError as error:
            if self._telemetry.log_budget.allows("ingest_failed", ours=True):
                _LOG.error("posts were not committed: %s", error)
        except Exception:  # noqa: BLE001 - said in the log and in the answer
            self._tags = StreamTags(
                layout=self._layout
            )  # what is described in part is not to be used
            if len(posts) > 1:
                self._halve(posts)
                return
            if self._telemetry.log_budget.allows("ingest_failed", ours=True):
                _LOG.exception("a post was not committed: reading it failed")
        self._posts.answer(posts, outcome)

    def _halve(self, posts: Sequence[Post]) -> None:
        half = len(posts) // 2
        try:
            self._commit_or_halve(posts[:half])
        except (SpoolDamaged, SpoolFileGone):
            self._posts.answer(posts[half:], Outcome.FAILED)
            raise
        self._commit_or_halve(posts[half:])

    def _commit(self, posts: Sequence[Post]) -> None:
        started = time.perf_counter()
        self._tags.make_room()
        observations = self._tags.observations([(post.source, post.body.events) for post in posts])
        events = normalize(observations, self._tags, self._commits.next_arrival)
        seconds = time.perf_counter() - started
        dropped: Counter[str] = Counter()
        for post in posts:
            for refusal, count in post.body.dropped.items():
                dropped[str(refusal)] += count
        self._commits.commit_posts(events, entry_of_posts(self._table, len(events), dropped))
        self._telemetry.add_decoded(HTTP_SOURCE, len(events), seconds)
        remarks = dropped + sum((Counter(post.body.notes) for post in posts), Counter())
        remarks[_DOES_NOT_FIT] += int(observations.values.misfit.sum())
        for reason, count in remarks.items():
            if count:
                self._telemetry.remarks.note(str(reason), count, HTTP_SOURCE)
