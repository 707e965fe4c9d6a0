"""A drill: the host goes offline on purpose, for a short time, to see which edge nodes keep data.

It is asked for over HTTP, and carried out by the decoding thread: listen, leave, be offline, come
back, wait for history, judge. That STATE is online again in time does not depend on that thread:
each connection's switch opens by itself. Over a restart the spool remembers it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from consumer.broker import DRILL
from consumer.errors import SpoolError
from consumer.pipeline import drill_results
from consumer.pipeline.drill_words import (
    MOST_SECONDS,
    MOST_WAIT,
    DrillEnded,
    DrillRefused,
    DrillWanted,
    Phase,
    RunningDrill,
)
from consumer.spool import DrillResult, DrillStore
from sparkplug import Event, EventKind, NodeBefore, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.config import Configuration
    from consumer.pipeline.back_pressure import BackPressure
    from consumer.pipeline.intake import Connection
    from consumer.pipeline.source import Source
    from consumer.spool import Spool
    from sparkplug import Decoded, NodeAfter, NodeKey

_LOG = logging.getLogger(__name__)

RETURNED: Final = "opened"
"""`reason` of the event that the host is online again."""

_LONGEST_RETURN: Final = 60.0
_LEAST_WAIT: Final = 5.0
_JUDGE_EVERY: Final = 1.0
_MOST_OF_TIME: Final = 20
"""Nobody is decoded while it is judged what came: one in so many seconds is enough for that."""
_DRAIN_OF_SECONDS: Final = 0.05
_LONGEST_WINDOW_US: Final = 86_400_000_000
_OFFLINE, _RETURNED = "offline", "returned"  # phases in the spool


class Drill:
    """The drills of one consumer, one at a time.

    `ask`, `end`, and what tells how it is are for any thread; the rest is the decoding thread's.

    Args:
        configuration: servers and host count.
        spool: keeps the drill that is on, and results.
        sources: of all servers.
        connections: of the same servers, in the same order.
        back_pressure: its gate must be open.
        clock: monotonic seconds.
        now_ms: milliseconds since 1970 UTC.
    """

    def __init__(
        self,
        configuration: Configuration,
        spool: Spool,
        *,
        sources: Sequence[Source],
        connections: Sequence[Connection],
        back_pressure: BackPressure,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._host = configuration.host
        self._drain = configuration.host.gate.drain
        self._spool = spool
        self._store = DrillStore(spool.state, configuration.spool.max_bytes)
        self._sources = {source.name: source for source in sources}
        self._connections = {each.server.name: each for each in connections}
        self._back_pressure = back_pressure
        self._clock = clock
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._on: RunningDrill | None = None
        self._last: DrillEnded | None = None
        self._untold: list[tuple[str, Event]] = []
        self._results = {name: self._store.results(name) for name in self._sources}

    # ------------------------------------------------------------------ any thread

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of all MQTT servers."""
        return tuple(self._sources)

    @property
    def is_on(self) -> bool:
        """Whether a drill is on."""
        return self._on is not None

    @property
    def why_offline(self) -> str:
        """Why the host is offline, for people; empty while no drill keeps it so."""
        on = self._on
        if on is None or not on.is_offline:
            return ""
        left = max(0.0, on.ends - self._clock())
        return f"a drill of {on.wanted.by} keeps the host offline for {left:.0f} s more"

    def keeps_offline(self, server: str) -> bool:
        """Whether a server is not connected because of a drill."""
        on = self._on
        # It takes a moment to be back: also then nobody needs to look.
        return (
            on is not None
            and server in on.wanted.servers
            and (on.is_offline or on.phase is Phase.RETURNING)
        )

    def refusal(self, servers: Sequence[str]) -> str:
        """Why a drill of these servers cannot begin now, for people; empty if it can."""
        if self._host.mode == "passive":
            return "the host is passive (host.mode): no edge node waits for it"
        if (on := self._on) is not None:
            return f"a drill of {on.wanted.by} is on ({on.phase}); wait for its end, or end it"
        if why := self._back_pressure.why_closed:
            return f"the gate to the edge is not open: {why}"
        away = [name for name in servers if not self._connections[name].connected.is_set()]
        return f"{', '.join(away)} is not connected" if away else ""

    def ask(self, wanted: DrillWanted) -> int:
        """Begin a drill; return when it was asked for, which names it.

        Raises:
            DrillRefused: it cannot begin now.
        """
        with self._lock:
            if why := self.refusal(wanted.servers):
                raise DrillRefused(why)
            last_ms = 0 if self._last is None else self._last.begun_ms
            begun_ms = max(self._now_ms(), last_ms + 1)
            self._on = RunningDrill(wanted, begun_ms, self._clock() + wanted.seconds)
        return begun_ms

    def end(self) -> bool:
        """Let the host be online again, and what comes be judged; False if no drill is on."""
        on = self._on
        if on is None:
            return False
        on.end_asked = True
        for name in on.wanted.servers:
            self._connections[name].switch.open(by=DRILL)
        return True

    def results(self, servers: Sequence[str]) -> list[DrillResult]:
        """The last result of each edge node, worst first."""
        found = [each for name in servers for each in self._results[name].values()]
        return drill_results.worst_first(found)

    def may_lose(self, servers: Sequence[str]) -> list[tuple[str, str, str]]:
        """(server, group id, edge node id) of those that are alive and have no good result."""
        now_ms, found = self._now_ms(), []
        for name in servers:
            results = self._results[name]
            for node in self._sources[name].fleet.node_views():
                result = results.get((node.group_id, node.edge_node_id))
                if node.is_born and (result is None or not result.is_good(now_ms)):
                    found.append((name, node.group_id, node.edge_node_id))
        return sorted(found)

    def status(self) -> dict[str, Any]:
        """The drill that is on, and the last one. JSON-compatible."""
        on, last = self._on, self._last
        told: dict[str, Any] = {"state": "idle", "last": None if last is None else last._asdict()}
        if on is None:
            return told
        wanted = on.wanted
        return told | {
            "state": str(on.phase),
            "begun_ms": on.begun_ms,
            "by": wanted.by,
            "servers": list(wanted.servers),
            "seconds": wanted.seconds,
            "wait_seconds": wanted.wait,
            "left_seconds": round(max(0.0, on.ends - self._clock()), 1),
            "offline_until_ms": on.until_ms if on.is_offline else None,
            "counts": on.counts,
        }

    # ------------------------------------------------------------------ a start

    def resume(self) -> None:
        """Go on with a drill that an earlier run began. Called before anything is connected.

        By the clock of the machine it is known how long the host is to be offline still; whatever
        that says, it is for no longer than it was to be in all.
        """
        try:
            kept = self._store.running()
            if kept is not None:
                self._go_on(kept)
        except (SpoolError, AttributeError, KeyError, TypeError, ValueError) as error:
            _LOG.warning("what is kept of a drill cannot be read: %s", error)
            for source in self._sources.values():
                source.fleet.stop_watching_history()
        if self._host.gate_on_sink:
            drill_results.warn_of_unproven(self._spool, self.servers, self._now_ms())

    def _go_on(self, kept: Mapping[str, Any]) -> None:
        seconds = min(max(float(kept["seconds"]), 0.0), MOST_SECONDS)
        servers = tuple(name for name in kept["servers"] if name in self._sources)
        wanted = DrillWanted(servers, seconds, min(float(kept["wait"]), MOST_WAIT), str(kept["by"]))
        until_ms, now_ms = int(kept["until_ms"]), self._now_ms()
        left = min(max((until_ms - now_ms) / 1e3, 0.0), seconds)
        on = RunningDrill(wanted, int(kept["begun_ms"]), self._clock() + left, Phase.OFFLINE)
        away_us = 1_000 * (now_ms - until_ms) + int(seconds * 1e6)
        for name in servers:
            watch = self._sources[name].fleet.watch_history(
                min(max(away_us, int(seconds * 1e6)), _LONGEST_WINDOW_US)
            )
            watch.come_back(NodeBefore(*each) for each in kept["before"].get(name, []))
            on.watches[name] = watch
        if kept["phase"] == _RETURNED:
            text = "the consumer was restarted while it waited for history: run the drill again"
            self._end_it(on, "failed", text)
            return
        on.until_ms = now_ms + int(left * 1e3)
        self._on = on
        if left > 0:
            for name in servers:
                self._connections[name].switch.shut(0.0, by=DRILL, until=on.ends)
        text = f"the host is offline for {left:.0f} s more" if left else "the host comes back now"
        _LOG.warning("the drill of an earlier run goes on: %s", text)

    # ------------------------------------------------------------------ the decoding thread

    def look(self, source: Source, decoded: Decoded) -> None:
        """A batch of a server was read, perhaps an empty one."""
        on = self._on
        watch = None if on is None else on.watches.get(source.name)
        if watch is not None and watch.has_left:
            watch.look_at_gaps(decoded.gaps)

    def left(self, source: Source) -> None:
        """The connection to a server has ended, and all that came over it was read."""
        on = self._on
        watch = None if on is None else on.watches.get(source.name)
        if watch is None or on is None or on.phase is Phase.LISTENING:
            return
        if not watch.has_left:
            watch.leave()

    def tend(self) -> list[tuple[str, Event]]:
        """Do what is due; return events, each with the name of its server."""
        on = self._on
        if on is not None:
            try:
                self._tend(on, self._clock())
            except Exception:  # noqa: BLE001 - a defect of ours: rows are worth more than a drill
                _LOG.exception("the drill is given up")
                self.end()
                self._end_it(on, "failed", "it was given up; the log says why")
        untold, self._untold = self._untold, []
        return untold

    def _tend(self, on: RunningDrill, now: float) -> None:
        if on.phase is Phase.LISTENING:
            self._listen(on, now)
        if on.is_offline and (on.end_asked or now >= on.ends):
            self._return(on, now)
        if on.phase is Phase.LEAVING and _all_left(on):
            on.phase = Phase.OFFLINE
            with contextlib.suppress(SpoolError):  # what is there is nearly the same
                self._store.write_running(on.kept(_OFFLINE))
        if on.phase is Phase.RETURNING and (self._is_back(on) or now >= on.ends):
            on.phase, on.waits_since, on.ends = Phase.WAITING, now, now + on.wanted.wait
            on.end_asked = False  # whoever wanted the host back still wants to know what came
        if on.phase is Phase.WAITING and now >= min(on.judge_at, on.ends):
            self._judge(on, now)
            took = self._clock() - now
            on.judge_at = now + max(_JUDGE_EVERY, _MOST_OF_TIME * took)

    def _listen(self, on: RunningDrill, now: float) -> None:
        if not on.watches:
            window_us = int(on.wanted.seconds * 1e6)
            on.watches = {
                name: self._sources[name].fleet.watch_history(window_us)
                for name in on.wanted.servers
            }
        if on.end_asked:
            self._end_it(on, "ended", "it was ended before the host went offline")
        elif why := self._way_is_lost(on):
            self._end_it(on, "failed", f"the host did not go offline: {why}")
        elif now >= on.ends:
            self._leave(on, now)

    def _way_is_lost(self, on: RunningDrill) -> str:
        if why := self._back_pressure.why_closed:
            return f"the gate to the edge is not open: {why}"
        connections = [self._connections[name] for name in on.wanted.servers]
        away = [each.server.name for each in connections if not each.connected.is_set()]
        return f"{', '.join(away)} is not connected" if away else ""

    def _leave(self, on: RunningDrill, now: float) -> None:
        """Write down that the host goes offline, and until when; then let it."""
        seconds = on.wanted.seconds
        for watch in on.watches.values():
            watch.end_listening()
        on.until_ms = self._now_ms() + int(seconds * 1e3)
        try:
            self._store.write_running(on.kept(_OFFLINE))
        except SpoolError as error:
            self._end_it(on, "failed", f"the host did not go offline: {error}")
            return
        on.phase, on.ends = Phase.LEAVING, now + seconds
        drain = min(self._drain, seconds * _DRAIN_OF_SECONDS)
        for name in on.wanted.servers:
            self._connections[name].switch.shut(drain, by=DRILL, until=on.ends)
        if on.end_asked:  # it may have been asked for between
            self.end()
        text = f"for {seconds:g} s, as {on.wanted.by} wants it, to see which edge nodes keep data"
        _LOG.warning("drill: STATE of %s goes offline %s", ", ".join(on.wanted.servers), text)
        self._note(on, DRILL, text)

    def _return(self, on: RunningDrill, now: float) -> None:
        for name in on.wanted.servers:
            self._connections[name].switch.open(by=DRILL)
        on.phase, on.ends = Phase.RETURNING, now + _LONGEST_RETURN
        with contextlib.suppress(SpoolError):  # then the next run comes back at once, too
            self._store.write_running(on.kept(_RETURNED))
        _LOG.info("drill: STATE of %s goes online again", ", ".join(on.wanted.servers))
        self._note(on, RETURNED, "a drill is over")

    def _is_back(self, on: RunningDrill) -> bool:
        connections = [self._connections[name] for name in on.wanted.servers]
        return _all_left(on) and all(each.connected.is_set() for each in connections)

    def _judge(self, on: RunningDrill, now: float) -> None:
        after = {name: watch.after() for name, watch in on.watches.items() if watch.has_left}
        nodes = [each for of_server in after.values() for each in of_server]
        on.counts = drill_results.counts(each.verdict for each in nodes)
        waited = now - on.waits_since >= min(_LEAST_WAIT, on.wanted.wait)
        enough = on.end_asked or all(map(_needs_no_more, nodes))
        if now < on.ends and not (waited and enough):
            return
        results = self._results_of(after, on.begun_ms)
        self._end_it(on, "judged", drill_results.in_words(results), results)

    def _results_of(
        self, after: Mapping[str, Sequence[NodeAfter]], at_ms: int
    ) -> list[DrillResult]:
        return [
            drill_results.result_of(name, each, at_ms, self._results[name].get(_key(each)))
            for name, nodes in after.items()
            for each in nodes
        ]

    def _end_it(
        self, on: RunningDrill, outcome: str, text: str, results: Sequence[DrillResult] = ()
    ) -> None:
        """The drill is over: keep what it showed."""
        for name in {each.server for each in results}:
            of_server = [each for each in results if each.server == name]
            kept = self._results[name] | {
                (each.group_id, each.edge_node_id): each for each in of_server
            }
            self._results[name] = kept
            try:
                self._store.write_results(name, kept.values())
            except SpoolError as error:
                _LOG.error("results of the drill of %s are not kept: %s", name, error)
        with contextlib.suppress(SpoolError):
            self._store.write_running(None)
        for name in on.wanted.servers:
            self._sources[name].fleet.stop_watching_history()
        found = drill_results.counts(each.verdict for each in results)
        self._last = DrillEnded(on.begun_ms, self._now_ms(), outcome, text, found)
        self._on = None
        is_bad = outcome == "failed" or found[Verdict.LOST] or found[Verdict.PARTLY]
        _LOG.log(logging.WARNING if is_bad else logging.INFO, "drill: %s", text)

    def _note(self, on: RunningDrill, reason: str, detail: str) -> None:
        event = Event(EventKind.GATE, 1_000 * self._now_ms(), reason=reason, detail=detail)
        self._untold += [(name, event) for name in on.wanted.servers]


def _all_left(on: RunningDrill) -> bool:
    return all(watch.has_left for watch in on.watches.values())


def _key(node: NodeAfter) -> NodeKey:
    return node.before.group_id, node.before.edge_node_id


def _needs_no_more(node: NodeAfter) -> bool:
    """Whether nothing is waited for: it keeps its data, was not alive, or nothing can be said."""
    if not node.before.was_alive or node.verdict is Verdict.KEPT:
        return True
    return node.to_us is not None and node.verdict is Verdict.NOT_KNOWN
