"""When edge nodes are really asked for a rebirth. Pure: time and randomness are passed in.

Every wish for a rebirth comes here. One request per node is pending at a time; a node
that does not answer is asked ever more rarely; the whole fleet shares a budget, so that
a host that starts beside thousands of running nodes does not set off a storm of births
(specification 5.10, note on Rebirth requests).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug.host.complaints import JITTER, Complaints
from sparkplug.messages import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparkplug.host.complaints import Unmended
    from sparkplug.messages import RebirthRequest

LONGEST_PAUSE: Final = 300.0
"""Seconds between two requests to a node that never answers, before jitter."""

_WORDS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.SEQUENCE_GAP: "sequence gap",
        Reason.UNKNOWN_ALIAS: "unknown alias",
        Reason.UNKNOWN_METRIC: "unknown metric",
        Reason.DATA_BEFORE_BIRTH: "data before birth",
        Reason.DEVICE_DATA_BEFORE_BIRTH: "device data before birth",
        Reason.LATE_BIRTH: "late birth",
        Reason.EMPTY_DEATH: "death without payload",
        Reason.BAD_PAYLOAD: "unparsable payload",
        Reason.CONNECTION_LOST: "connection lost",
        Reason.UNHEARD: "not heard since an absence",
        Reason.SPOOL_FULL: "values lost while the spool was full",
        Reason.ASKED_BY_USER: "asked by user",
    }
)
_MOST_NODES: Final = 100_000


def reason_in_words(reason: Reason) -> str:
    """Why a node is asked, in operators' words."""
    return _WORDS.get(reason, reason.replace("_", " "))


@dataclass(slots=True)
class _Asked:
    """How often a node was asked without an answer, and when it may be asked again."""

    times: int = 0
    at: float = 0.0
    not_before: float = 0.0


class _Wish(NamedTuple):
    """Why a node is to be asked, and for how long since the last request it is left alone."""

    reason: Reason
    pause: float


class DueRequest(NamedTuple):
    """A node that is to be asked for its births now, and why."""

    group_id: str
    edge_node_id: str
    reason: Reason


class RebirthGovernor:
    """Turns wishes into requests at a bearable rate.

    Args:
        per_node: seconds between the first and the second request to one node; the pause
            doubles with each further one, up to LONGEST_PAUSE.
        fleet_per_second: requests per second to all nodes together, with a burst of one
            second's worth.
        random: numbers in [0, 1), for the jitter.
        max_pause: the longest pause, in seconds before jitter, between requests to a node for
            something that its births do not mend.
    """

    def __init__(
        self,
        per_node: float,
        fleet_per_second: float,
        random: Callable[[], float],
        max_pause: float = 3600.0,
    ) -> None:
        self._per_node = per_node
        self._rate = fleet_per_second
        self._random = random
        # Who is to be asked, longest wait first: nobody is served twice before all were once.
        self._waiting: OrderedDict[tuple[str, str], _Wish] = OrderedDict()
        self._asked: OrderedDict[tuple[str, str], _Asked] = OrderedDict()
        self._suspended: set[tuple[str, str]] = set()
        self._budget = max(1.0, fleet_per_second)
        self._refilled_at: float | None = None
        self._complaints = Complaints(per_node, max_pause, random)
        self._now = 0.0

    @property
    def pending(self) -> int:
        """Nodes whose request has not been sent yet."""
        return len(self._waiting)

    @property
    def unmended(self) -> tuple[Unmended, ...]:
        """What is wrong with nodes, and their births do not mend. May be read by any thread."""
        return self._complaints.unmended

    def take_unmended(self) -> list[Unmended]:
        """What births turned out not to mend since the last call; once for each node and reason."""
        return self._complaints.take_news()

    def want(self, request: RebirthRequest) -> None:
        """Note that a node should be asked. Repeating it costs nothing.

        One that births did not mend before waits ever longer, but makes no other wish wait. A
        wish of the user goes before all others, to a suspended node, too, and waits for
        nothing but the shortest pause of its node and the budget.
        """
        key = (request.group_id, request.edge_node_id)
        by_user = request.reason is Reason.ASKED_BY_USER
        if not by_user and key in self._suspended:
            return
        pause = self._complaints.raised(request, self._now)
        waiting = self._waiting.get(key)
        if waiting is not None and not by_user:
            if pause < waiting.pause:
                self._waiting[key] = _Wish(request.reason, pause)
            return
        if len(self._waiting) >= _MOST_NODES:  # forged ids must not grow this without bound
            self._waiting.popitem(last=False)
        self._waiting[key] = _Wish(request.reason, pause)
        if by_user:
            self._waiting.move_to_end(key, last=False)

    def suspend(self, group_id: str, edge_node_id: str) -> None:
        """Do not ask a node any more, until it is resumed, except for the user."""
        key = (group_id, edge_node_id)
        self._suspended.add(key)
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.reason is not Reason.ASKED_BY_USER:
            del self._waiting[key]

    def resume(self, group_id: str, edge_node_id: str) -> None:
        """Ask a suspended node again when there is a reason."""
        self._suspended.discard((group_id, edge_node_id))

    def born(self, group_id: str, edge_node_id: str) -> None:
        """A node's birth arrived: nothing is pending, the back-off starts anew.

        The pause before the next request stays, so that a node whose births are
        broken is not asked at the rate of its own births.
        """
        key = (group_id, edge_node_id)
        self._waiting.pop(key, None)
        self._complaints.born(key)
        asked = self._asked.get(key)
        if asked is not None:
            asked.times = min(asked.times, 1)

    def device_born(self, group_id: str, edge_node_id: str, device_id: str) -> None:
        """A device's birth arrived: its data before that is complained of no longer."""
        self._complaints.device_born((group_id, edge_node_id), device_id)

    def due(
        self, now: float, is_moot: Callable[[str, str, Reason], bool] | None = None
    ) -> list[DueRequest]:
        """Nodes to ask now; they count as asked.

        Args:
            now: monotonic time in seconds.
            is_moot: whether a node is not to be asked for that any more, now that it could be.
        """
        if self._refilled_at is not None:
            earned = (now - self._refilled_at) * self._rate
            self._budget = min(max(1.0, self._rate), self._budget + max(0.0, earned))
        self._refilled_at = self._now = now
        self._complaints.look(now)
        requests: list[DueRequest] = []
        moot: list[tuple[str, str]] = []
        for key, wish in self._waiting.items():
            if self._budget < 1.0:
                break
            if now < self._earliest(key, wish):
                continue
            if is_moot is not None and is_moot(*key, wish.reason):
                moot.append(key)
            else:
                self._budget -= 1.0
                self._note_request(key, now)
                requests.append(DueRequest(*key, wish.reason))
        for key in [*moot, *((each.group_id, each.edge_node_id) for each in requests)]:
            del self._waiting[key]
        return requests

    def _earliest(self, key: tuple[str, str], wish: _Wish) -> float:
        """When a node may be asked for this reason."""
        before = self._asked.get(key)
        if before is None:
            return -math.inf
        if wish.reason is Reason.ASKED_BY_USER:
            return min(before.not_before, before.at + self._per_node)
        return max(before.not_before, before.at + wish.pause)

    def _note_request(self, key: tuple[str, str], now: float) -> None:
        asked = self._asked.pop(key, None) or _Asked()
        pause = min(self._per_node * 2.0**asked.times, LONGEST_PAUSE)
        asked.at = now
        asked.not_before = now + pause * (1.0 + JITTER * self._random())
        asked.times = min(asked.times + 1, 30)
        if len(self._asked) >= _MOST_NODES:
            self._asked.popitem(last=False)
        self._asked[key] = asked
