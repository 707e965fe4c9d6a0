"""Complaints about edge nodes that their births do not mend. Pure: time and chance are passed in.

A node that sends a metric which no birth of its declares is asked for its births; it answers,
and sends the metric again. To ask such a node at the usual rate costs its plant all its births
every few seconds and mends nothing, so the pause doubles with every birth that was in vain.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.messages import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparkplug.messages import RebirthRequest

NodeKey = tuple[str, str]

FORGOTTEN_AFTER: Final = 3600.0
"""Seconds without a complaint after which it counts as mended."""

JITTER: Final = 0.2
"""A pause is longer by up to this part of itself, at random."""

_LASTING: Final = frozenset(
    {
        Reason.UNKNOWN_METRIC,
        Reason.UNKNOWN_ALIAS,
        Reason.DEVICE_DATA_BEFORE_BIRTH,
        Reason.BAD_PAYLOAD,
    }
)
"""What is the fault of a node if it is there again after a birth. Messages get lost on the way."""

_MOST_NODES: Final = 10_000
_MOST_SUBJECTS: Final = 50
_MOST_LISTED: Final = 100
_LONGEST_SUBJECT: Final = 200
"""Characters: names may be long, and are in the log."""
_LOOK_EVERY: Final = 60.0
_LOOK_SOON: Final = 10.0


class Unmended(NamedTuple):
    """What is wrong with a node, and so many births did not mend it.

    `subject` is one example: the metric, alias, device or topic that is complained of.
    """

    group_id: str
    edge_node_id: str
    reason: Reason
    subject: str
    births: int


@dataclass(slots=True)
class _Complaint:
    heard: float
    births: int = 0
    answered: bool = False  # by a birth, since it was heard
    pause: float = 0.0


class Complaints:
    """What the nodes behind one MQTT server are asked for again and again.

    Args:
        pause: seconds between two requests to a node that answers.
        max_pause: the longest that the pause becomes, before jitter.
        random: numbers in [0, 1), for the jitter.
    """

    def __init__(self, pause: float, max_pause: float, random: Callable[[], float]) -> None:
        self._pause = pause
        self._max_pause = max_pause
        self._random = random
        # By reason and subject. After so many of them "" stands for all others of a reason, until
        # none of these was complained of for an hour: names may be new each time.
        self._nodes: OrderedDict[NodeKey, dict[tuple[Reason, str], _Complaint]] = OrderedDict()
        self._told: dict[NodeKey, set[Reason]] = {}
        self._news: list[Unmended] = []
        self._look_at = 0.0
        self.unmended: tuple[Unmended, ...] = ()
        """The present ones, one example for each node and reason; renewed by `look`."""

    def raised(self, request: RebirthRequest, now: float) -> float:
        """Take note of a wish for a rebirth.

        Returns:
            For how many seconds since the last request the node is to be left alone; 0 if a birth
            may mend one of the things that are complained of.
        """
        if request.reason not in _LASTING:
            return 0.0
        key = (request.group_id, request.edge_node_id)
        known = self._nodes.setdefault(key, {})
        self._nodes.move_to_end(key)
        if len(self._nodes) > _MOST_NODES:
            self._forget_node(next(iter(self._nodes)))
        subjects = [each[:_LONGEST_SUBJECT] for each in request.subjects] or [""]
        return min(self._heard(key, known, request.reason, each, now) for each in subjects)

    def _heard(
        self,
        key: NodeKey,
        known: dict[tuple[Reason, str], _Complaint],
        reason: Reason,
        subject: str,
        now: float,
    ) -> float:
        is_one_too_many = (reason, "") in known or len(known) >= _MOST_SUBJECTS
        if is_one_too_many and (reason, subject) not in known:
            subject = ""
        complaint = known.get((reason, subject))
        if complaint is None or now - complaint.heard >= FORGOTTEN_AFTER:
            complaint = known[reason, subject] = _Complaint(now)
        complaint.heard = now
        if complaint.answered:
            complaint.answered = False
            complaint.births += 1
            pause = min(self._pause * 2.0 ** min(complaint.births, 60), self._max_pause)
            complaint.pause = pause * (1.0 + JITTER * self._random())
            self._look_at = min(self._look_at, now + _LOOK_SOON)
            if reason not in self._told.setdefault(key, set()):
                self._told[key].add(reason)
                self._news.append(Unmended(*key, reason, subject, complaint.births))
        return complaint.pause

    def born(self, key: NodeKey) -> None:
        """An NBIRTH of a node was read: what it is complained of after that, it did not mend."""
        for complaint in self._nodes.get(key, {}).values():
            complaint.answered = True

    def device_born(self, key: NodeKey, device_id: str) -> None:
        """A DBIRTH was read: its device is complained of no longer."""
        if key in self._nodes:
            self._nodes[key].pop((Reason.DEVICE_DATA_BEFORE_BIRTH, device_id), None)

    def look(self, now: float) -> None:
        """Forget what was not complained of for an hour, now and then."""
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        found: dict[tuple[NodeKey, Reason], Unmended] = {}
        for key, known in list(self._nodes.items()):
            for (reason, subject), complaint in list(known.items()):
                if now - complaint.heard >= FORGOTTEN_AFTER:
                    del known[reason, subject]
                elif complaint.births:
                    unmended = Unmended(*key, reason, subject, complaint.births)
                    found.setdefault((key, reason), unmended)
            if not known:
                self._forget_node(key)
            elif key in self._told:
                told = self._told[key]
                told -= {reason for reason in told if (key, reason) not in found}
        self.unmended = tuple(found.values())[:_MOST_LISTED]

    def take_news(self) -> list[Unmended]:
        """What has turned out not to be mended since the last call; once per node and reason."""
        news, self._news = self._news, []
        return news

    def _forget_node(self, key: NodeKey) -> None:
        del self._nodes[key]
        self._told.pop(key, None)
