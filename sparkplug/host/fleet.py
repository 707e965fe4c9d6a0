"""All edge nodes behind one MQTT server: batches of messages in, columns of observations out.

What is in order (data of a born node, seq unbroken) is handled with whole-batch
operations, whatever the number of nodes. Only nodes with something to tell (births,
deaths, gaps, data without birth) are taken message by message, in order of arrival.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

from sparkplug.counting import count_nonzero
from sparkplug.decoded import Decoded
from sparkplug.events import Event, EventKind
from sparkplug.host.absence import Absence, say_stale
from sparkplug.host.batch import apart_from_deaths
from sparkplug.host.fleet_state import ENDED_IN_DOUBT, NOT_BORN, FleetOptions, FleetState
from sparkplug.host.owner import stale_memory
from sparkplug.host.portions import Portion, Scale
from sparkplug.host.reading.awaiting_births import AwaitingBirths
from sparkplug.host.reading.batch_reader import BatchReader
from sparkplug.host.reading.lifecycle import Lifecycle
from sparkplug.host.reading.ordering import Ordering
from sparkplug.host.reading.resolution import Resolution
from sparkplug.host.reading.restoring import Restoration
from sparkplug.host.screening import FleetLimits, TagRoom
from sparkplug.host.views import declared_tags, node_views
from sparkplug.messages import MessageBatch, Reason, RebirthRequest, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from sparkplug.filters import NodeSight
    from sparkplug.gaps import Gap
    from sparkplug.host.nodes.holding import HoldLimits
    from sparkplug.host.nodes.session import EdgeNodeSession
    from sparkplug.host.nodes.waiting import HeldMessage, NodeKey
    from sparkplug.host.views import NodeView
    from sparkplug.host.watch.accounts import Received
    from sparkplug.host.watch.silence import SilentNode
    from sparkplug.memory import RememberedBirth
    from sparkplug.messages import Message


class Fleet:
    """Decodes everything that one MQTT server delivers (docs/decoding.md).

    Single-threaded; rows come in order of arrival. The catalogue may start a new
    generation of tag ids at the beginning of a `feed`, never within one. Times called
    `now` are monotonic, in seconds.

    Its seven parts share a `FleetState`, and each knows only those before it:

    - `Resolution`: which tags the metrics of data are;
    - `AwaitingBirths`: what is held until a birth comes;
    - `Lifecycle`: births and deaths;
    - `Ordering`: one message as it comes, in order, early, late, or before a birth;
    - `BatchReader`: a batch of messages, as many at once as possible;
    - `Restoration`: what is known at a start;
    - `Absence`: what does not come.
    """

    def __init__(
        self,
        limits: FleetLimits | None = None,
        *,
        wanted: Callable[[str], bool] | None = None,
        emit_births: bool = True,
        emit_stale: bool = True,
        stale_when_lost: bool = False,
        emit_transient: bool = False,
        reorder_timeout: float = 0.0,
        hold_limits: HoldLimits | None = None,
        describe_tags: bool = False,
        sight: Callable[[str, str], NodeSight] | None = None,
        unheard: float = 0.0,
        silent_after: float = 0.0,
        passive: bool = False,
        room: TagRoom | None = None,
    ) -> None:
        """Make a fleet without nodes.

        Args:
            limits: bounds of what is read and remembered.
            wanted: a test for `group/node[/device]/metric`.
            emit_births: whether to give rows for the values in births.
            emit_stale: whether to give rows of quality STALE on deaths.
            stale_when_lost: whether to give them when the connection is lost, too.
            emit_transient: whether to give rows for metrics that are transient.
            reorder_timeout: seconds that messages behind a hole in seq wait for the
                missing one (tck-id operational-behavior-host-reordering-param).
            hold_limits: bounds of what waits for its birth.
            describe_tags: whether to tell what births say of their tags beside the values
                (`Decoded.metadata`).
            sight: what is seen of an edge node, by group id and edge node id, from its first
                message on; None: all of every one. Of a node that is not seen whole seq is
                not judged.
            unheard: seconds after an absence until nodes that were alive before it, and are not
                heard, are asked for a rebirth; 0: never.
            silent_after: for how many times its longest pause a node may say nothing until it
                is silent; 0: for ever.
            passive: nobody is asked. Who is not heard after an absence is silent.
            room: what is taken of the limits of tags; None: shared with no other fleet.
        """
        self.limits = limits or FleetLimits()
        options = FleetOptions(
            emit_births=emit_births,
            emit_stale=emit_stale,
            stale_when_lost=stale_when_lost,
            emit_transient=emit_transient,
            reorder_timeout=reorder_timeout,
            unheard=unheard,
            describe_tags=describe_tags,
            passive=passive,
        )
        self._state = state = FleetState(self.limits, options, wanted, sight, room)
        self._unfinished: tuple[NodeKey, int] | None = None
        self.catalogue = state.catalogue
        self.alarms = state.alarms
        self.liveness = state.liveness
        self._awaiting = AwaitingBirths(state, hold_limits)
        self._scale = Scale(state, self._awaiting)
        resolution = Resolution(state)
        ordering = Ordering(state, resolution, self._awaiting, Lifecycle(state))
        self._batches = BatchReader(state, resolution, self._awaiting, ordering)
        self._restoration = Restoration(state, self._batches)
        self._absence = Absence(state, silent_after=silent_after, passive=passive)

    @property
    def node_count(self) -> int:
        """Edge nodes whose birth was seen."""
        return len(self._state.sessions)

    @property
    def live_tags(self) -> int:
        """Tags that present births declare."""
        return self._state.live_tags

    @property
    def held_messages(self) -> int:
        """Messages that wait, for a missing one or for a birth, late births among them."""
        windows = (session.sequence.waiting for session in self._state.watched())
        return len(self._awaiting) + sum(map(len, windows))

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the messages that wait for a missing one."""
        return self._state.windows.taken

    @property
    def held_whole(self) -> int:
        """Messages that wait as a whole, and are not quarantined."""
        if not self._state.attentive:
            return self._awaiting.uncounted
        windows = (session.sequence.waiting for session in self._state.watched())
        waiting = sum(not entry.counted for window in windows for entry in window)
        return self._awaiting.uncounted + waiting

    def portions(self, messages: MessageBatch) -> Iterator[Portion]:
        """The messages as they are to be fed: in portions that take little memory to be read."""
        return self._scale.portions(messages)

    def feed(self, messages: Sequence[Message], now: float = 0.0) -> Decoded:
        """Take a batch in; return its rows, counts, rebirth wishes and bad messages."""
        decoded, state = Decoded(), self._state
        if self._unfinished is None:
            state.drop_dead_tags()
        if type(messages) is not MessageBatch:  # isinstance asks Sequence, in plain Python
            messages = MessageBatch(messages)
        self._end_waiting(now, decoded)
        if len(messages):
            state.heard_us = messages.received_us[-1]
        state.recent.next_batch()
        for part in apart_from_deaths(messages) if messages.deaths else (messages,):
            self._batches.read(part, decoded)
        self._absence.look(decoded)
        for key in self.liveness.to_ask():
            decoded.rebirths.append(RebirthRequest(*key, Reason.CONNECTION_LOST))
        decoded.events += self.alarms.events(state.sessions, now, state.heard_us)
        if decoded.rebirths:
            decoded.rebirths = merged(decoded.rebirths)
        return self._without_vain_requests(decoded)

    @contextlib.contextmanager
    def unfinished(self, group_id: str, edge_node_id: str) -> Iterator[None]:
        """Nothing that is fed of a node meanwhile is kept before the end, what is of others is.

        Until then `sequence_state` has the node's seq of before, tag ids stay what they are, and
        no time passes for what waits of the node. Feed one message of it at first, and no more.
        """
        self._state.drop_dead_tags()
        key = (group_id, edge_node_id)
        session = self._state.by_id.get(key)
        before = np.frombuffer(self.sequence_state(), dtype="<i2")
        self._unfinished = key, NOT_BORN if session is None else int(before[session.index])
        try:
            yield
        finally:
            self._unfinished = None

    @property
    def has_unfinished(self) -> bool:
        """Whether what was fed of a node is not kept yet."""
        return self._unfinished is not None

    def tick(self, now: float) -> Decoded:
        """Let time pass: what waited for too long goes on, or is given up."""
        decoded = Decoded()
        self._end_waiting(now, decoded)
        self._absence.look(decoded)
        decoded.events += self.alarms.events(self._state.sessions, now, self._state.heard_us)
        return self._without_vain_requests(decoded)

    def flush(self, now: float) -> Decoded:
        """Do not wait for missing messages any longer; `held` tells what remains."""
        decoded = Decoded()
        self._state.now = now
        watched = self._state.watched()
        self._end_waiting_of([each for each in watched if each.sequence.needs_attention], decoded)
        self._absence.learn()
        return self._without_vain_requests(decoded)

    def _without_vain_requests(self, decoded: Decoded) -> Decoded:
        """Leave out requests for births that nobody would show us."""
        sight = self._state.sight
        if sight is not None:
            decoded.rebirths = [
                each
                for each in decoded.rebirths
                if sight(each.group_id, each.edge_node_id).would_show_answer(each.reason)
            ]
        return decoded

    def listening(self, at_us: int) -> None:
        """The connection is there, now that it is `at_us`, microseconds since 1970 UTC."""
        self._absence.at_us = at_us
        self._state.unheard.listening(self._state.hearing.now)

    def asked(self, group_id: str, edge_node_id: str) -> None:
        """A rebirth request was sent to a node."""
        state, key = self._state, (group_id, edge_node_id)
        session = state.by_id.get(key)
        if session is None:
            state.unheard.asked_stranger(key, state.hearing.now)
        else:
            state.asked(session)

    def is_unheard(self, group_id: str, edge_node_id: str) -> bool:
        """Whether a node is one that is to be asked because it is not heard after an absence."""
        session = self._state.by_id.get((group_id, edge_node_id))
        return session is not None and self._absence.is_unheard(session.index)

    def node_views(self) -> list[NodeView]:
        """All edge nodes as they are now; any thread may ask."""
        return node_views(self._state)

    def declared_tags(self) -> NDArray[np.int32]:
        """The tags that the last births declared; any thread may ask.

        Right if the generation of the catalogue is the same before and after.
        """
        return declared_tags(self._state)

    @property
    def duplicate_nodes(self) -> list[NodeKey]:
        """Nodes whose id two publishers seem to use; any thread may ask."""
        return list(self.alarms.duplicates.alarmed)

    @property
    def silent_nodes(self) -> tuple[SilentNode, ...]:
        """Nodes that are silent now; any thread may ask."""
        return self._absence.silences.nodes

    def _end_waiting(self, now: float, decoded: Decoded) -> None:
        self._state.now = now
        self._state.unborn.await_nodes(now)
        self._state.hearing.pass_time(now)
        timeout = self._state.options.reorder_timeout
        self._awaiting.late_before()
        if self._state.attentive:
            overdue = [each for each in self._state.watched() if each.due(timeout) <= now]
            if self._unfinished is not None:
                unfinished = self._state.by_id.get(self._unfinished[0])
                overdue = [each for each in overdue if each is not unfinished]
            self._end_waiting_of(overdue, decoded)
        self._awaiting.expire(decoded)

    def _end_waiting_of(self, sessions: Sequence[EdgeNodeSession], decoded: Decoded) -> None:
        """Read what waits for missing messages, and late births, as they are."""
        if sessions:
            self._batches.read(MessageBatch(), decoded, sessions)

    # ------------------------------------------------------------------ the connection

    def connection_lost(self, now: float, at_us: int | None = None) -> Decoded:
        """The connection to the MQTT server ended; what was sent since then is lost.

        What waits for a missing message goes on, and late births are births. Every node is
        unconfirmed from now on.
        `at_us` is when, microseconds since 1970 UTC; by default when the last message came.
        """
        decoded, state = Decoded(), self._state
        state.now = now
        late = [each for each in state.watched() if each.late_birth is not None]
        self._end_waiting_of(late, decoded)
        decoded.add(self.flush(now))  # what follows a late birth waits no longer either
        at_us = state.heard_us if at_us is None else at_us
        self._absence.leave(at_us, decoded)
        state.nodes.confirmed[:] = False
        state.hearing.missed()
        state.unheard.lost()
        state.recent.clear()
        alive = sum(session.owner.born for session in state.sessions)
        for session in state.sessions:
            if session.in_doubt and not state.nodes.partial[session.index]:
                state.gaps.left_in_doubt((session.owner.group_id, session.owner.edge_node_id))
        decoded.events.append(
            Event(EventKind.CONNECTION_LOST, at_us, detail=f"{alive} edge nodes were alive")
        )
        if state.options.stale_when_lost:
            # Nothing is known any more of all that is alive, and of what was waited for.
            unborn = [owner for each in state.sessions for owner in state.unborn.take(each)]
            say_stale(state.read_times, *self.liveness.lost(unborn), at_us, decoded)
            decoded.memories += map(stale_memory, unborn)
        return self._without_vain_requests(decoded)

    # ------------------------------------------------------------------ rows that were lost

    def lose(self, decoded: Decoded) -> dict[tuple[str, str], int]:
        """What `feed` just gave goes nowhere, except for its rows of quality STALE.

        The sessions go on as they are: what was read was read. Tags whose birth values are
        lost stay STALE, which is added to the memories.

        Returns:
            How many messages that makes, by (group id, edge node id).
        """
        state = self._state
        for tags in decoded.taken_back:
            owners = self.liveness.stale_after_all(tags)
            decoded.memories += map(stale_memory, owners)
            decoded.memories += self.liveness.partly_stale(owners)
        readers = np.concatenate([np.empty(0, dtype=np.int64), *decoded.readers])
        lost: dict[tuple[str, str], int] = {}
        for index, count in zip(*np.unique(readers, return_counts=True), strict=True):
            owner = state.sessions[index].owner
            lost[owner.group_id, owner.edge_node_id] = int(count)
        return lost

    def alive(self, group_id: str, edge_node_id: str, device_id: str | None = None) -> bool:
        """Whether a node, or a device of it, is in a session, as far as that is known."""
        session = self._state.by_id.get((group_id, edge_node_id))
        owner = None if session is None else session.owner_of(device_id)
        return owner is not None and owner.born

    # ------------------------------------------------------------------ accounts

    @property
    def heard_us(self) -> int:
        """When the last message came, microseconds since 1970 UTC; 0 if none did."""
        return self._state.heard_us

    @property
    def unheard_nodes(self) -> int:
        """Nodes that were alive when the host was away, and of which nothing came since.

        May be asked by another thread while nodes are added.
        """
        nodes = self._state.nodes
        size = nodes.size  # once: it grows meanwhile
        waiting = ~nodes.confirmed[:size] & (nodes.next_seq[:size] != NOT_BORN)
        return int(count_nonzero(waiting))

    def take_received(self, *, unborn: bool = False) -> list[Received]:
        """The messages of each node that took part in seq since the last call.

        `unborn`: also of nodes of which no birth was read yet, which are told with it
        otherwise. A fleet that ends tells nothing later.
        """
        return self._state.gaps.take_received(self._state.sessions, unborn=unborn)

    def restore_gaps(self, gaps: Iterable[Gap], sent: Mapping[tuple[str, str], int]) -> None:
        """Take in what an earlier run knew of gaps, after `restore`, before anything is fed.

        Args:
            gaps: those that may still be healed, oldest first.
            sent: by (group id, edge node id) when the last message of a node was sent, as
                `take_received` told it.
        """
        self._state.gaps.restore(gaps, sent, self._state.by_id)
        for key, sent_us in sent.items():
            if session := self._state.by_id.get(key):
                self._state.read_times.restore(session.owners(), sent_us)

    # ------------------------------------------------------------------ a new start

    def held(self) -> list[HeldMessage]:
        """What waits for a birth, to be kept on disk until the next start."""
        return self._awaiting.held()

    def no_longer_held(self) -> set[int]:
        """Numbers on disk of restored messages that are held no longer; told once."""
        if not self._awaiting.left:
            return set()
        left = self._awaiting.left.copy()
        self._awaiting.left.clear()
        return left

    def hold_again(self, messages: Iterable[HeldMessage], now: float) -> Decoded:
        """Let messages that were given up wait for a birth once more, and ask for it."""
        decoded = Decoded()
        self._state.now = now
        self._awaiting.hold_again(messages, decoded)
        return self._without_vain_requests(decoded)

    def sequence_state(self) -> bytes:
        """The seq expected of every node, by slot, as it is to be kept with the rows."""
        nodes = self._state.nodes
        expected = nodes.next_seq[: nodes.size].astype("<i2")
        if self._state.gaps.nodes_left_in_doubt:
            expected[self._state.ended_in_doubt()] = ENDED_IN_DOUBT
        if self._unfinished is not None:
            key, before = self._unfinished
            if session := self._state.by_id.get(key):
                expected[session.index] = before
        return expected.tobytes()

    def conduct_state(self) -> bytes:
        """What was learned of every node, by slot: whether it answers, its longest pause.

        The same object as long as there is nothing new; pauses are news every ten minutes.
        """
        return self._absence.conduct

    def restore(
        self,
        births: Iterable[RememberedBirth],
        sequence_state: bytes,
        held: Iterable[HeldMessage] = (),
        now: float = 0.0,
        conduct: bytes = b"",
    ) -> dict[tuple[str, str], int]:
        """Take in what an earlier run remembered, before anything is fed.

        No births give rows. Every node is unconfirmed until its first message.

        Args:
            births: those of each node in the order in which they came; read once, piece by piece.
            sequence_state: of the last batch whose rows were kept.
            held: of the end of the earlier run.
            now: monotonic seconds.
            conduct: `conduct_state` of the same run.

        Returns:
            The slot of each node from now on, by (group id, edge node id).
        """
        self._state.now = now
        slots = self._restoration.restore(births, np.frombuffer(sequence_state, dtype="<i2"))
        self._state.hearing.restore(conduct, slots)
        self._absence.learn()
        self._awaiting.restore(held)
        self._state.recent.clear()
        return {key: session.index for key, session in self._state.by_id.items()}

    def warm_start(self, messages: Sequence[Message], now: float) -> Decoded:
        """Take in births that a Sparkplug-aware server keeps, where they tell anything new.

        They give no rows. Where the seq of such a node is nobody knows: its data is held
        and it is asked for its births as if it were unknown, except that metrics in data
        are read that carry a name which the kept birth declares.
        """
        decoded = Decoded()
        self._state.now = now
        self._restoration.warm_start(messages)
        decoded.counts[Reason.CERTIFICATE] += len(messages)
        decoded.discarded[Reason.CERTIFICATE] += len(messages)
        return decoded
