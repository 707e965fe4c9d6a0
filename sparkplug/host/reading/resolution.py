"""Which tags the metrics of data are: of a whole batch in order at once, or of one message.

No metric is read here and none held: one without tag keeps NO_TAG. Of messages in sequence the seq
is counted on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from sparkplug.counting import count_nonzero
from sparkplug.datatypes import datatype_codes
from sparkplug.host.batch import CODE, Batch, look_up
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.turns import Turns
from sparkplug.messages import MESSAGE_TYPES
from sparkplug.names import SEQ_MODULUS
from sparkplug.payload import ABSENT, numbers, validity
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.decoded import Decoded
    from sparkplug.host.arrival import Arrival
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.nodes.edge_node import EdgeNodeState
    from sparkplug.host.nodes.waiting import Waiting
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.screening import Screened

_MOST_SHORT: Final = 2**16
_BIRTHS: Final = (MessageType.NBIRTH, MessageType.DBIRTH)
_DATA: Final = (MessageType.NDATA, MessageType.DDATA)


class Resolution:
    """Looks up the metrics of data among those that births have declared."""

    def __init__(self, state: FleetState) -> None:
        self._state = state

    # ------------------------------------------------------------------ a batch in order

    def unresolved(self, screened: Screened, recalled: list[Waiting], decoded: Decoded) -> Batch:
        """A screened batch with what is known of its messages before any is taken in.

        Its first messages are those of `recalled`, in the same order.
        """
        columns, topic = screened.columns, screened.topic
        topics, nodes = self._state.topics, self._state.nodes
        node, message_type = topics.node[topic], topics.message_type[topic]
        ignition = nodes.ignition[node]
        for position, read in screened.parsed.items():
            node[position] = ABSENT
            message_type[position] = CODE[read.message_type]
            ignition[position] = False
        names = columns.metric("name")
        count = len(message_type)
        unread = columns.compressed.copy()
        unread[: len(recalled)] = True
        return Batch(
            decoded=decoded,
            messages=screened.messages,
            topic=topic,
            parsed=screened.parsed,
            columns=columns,
            node=node,
            message_type=message_type,
            unread=unread,
            ignition=ignition,
            tag=_no_tags(columns.metric_count),
            returned=np.zeros(columns.metric_count, dtype=np.bool_),
            names=names.to_pylist() if names.null_count < len(names) else None,
            recalled=len(recalled),
            placed=recalled,
            released=np.zeros(count, dtype=np.bool_),
            late=np.zeros(count, dtype=np.bool_),
            astray=np.zeros(count, dtype=np.bool_),
            counted=screened.set_aside
            | {position for position, entry in enumerate(recalled) if entry.counted},
            taken=np.zeros(count, dtype=np.bool_),
            turns=Turns(count),
            now=self._state.now,
        )

    def accept_regular(self, batch: Batch) -> NDArray[np.bool_]:
        """Accept the messages that are data in sequence of a born node; return which these are.

        Their nodes expect the next seq from now on, and are confirmed.
        """
        known: NDArray[np.bool_] = batch.topic != ABSENT
        known[: batch.recalled] = False
        count = count_nonzero(known)
        if not count:
            return known
        next_seq = self._state.nodes.next_seq
        flagged = self._irregular_nodes(batch, known)
        positions = self._by_node(batch, None if count == len(known) else np.flatnonzero(known))
        # An encoder that drops zeros leaves out seq 0.
        node, seq = batch.node[positions], np.maximum(batch.columns.seq[positions], 0)
        starts = np.empty(len(node) + 1, dtype=np.bool_)  # where the messages of a node begin
        starts[0] = starts[-1] = True
        np.not_equal(node[1:], node[:-1], out=starts[1:-1])
        first, last = starts[:-1].nonzero()[0], starts[1:].nonzero()[0]
        following = (seq + 1) & (SEQ_MODULUS - 1)
        expected = np.empty(len(seq), dtype=np.int64)
        expected[1:] = following[:-1]
        expected[first] = next_seq[node[first]]
        broken = (seq != expected).nonzero()[0]
        if len(broken) and self._state.any_partial:
            broken = broken[~self._state.nodes.partial[node[broken]]]
        if len(broken):
            flagged[node[broken]] = True
        if count_nonzero(flagged):
            last = last[~flagged[node[last]]]
            known &= ~flagged[batch.node]
        next_seq[node[last]] = following[last]
        self._state.nodes.confirmed[node[last]] = True
        return known

    def _irregular_nodes(self, batch: Batch, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Per node: whether its messages are taken one by one, whatever their seq."""
        state = self._state
        flagged = np.zeros(state.nodes.size, dtype=np.bool_)
        closed = known & (~state.topics.live[batch.topic] | batch.unread)
        if count_nonzero(closed):
            flagged[batch.node[closed]] = True
        for read in batch.parsed.values():
            edge_node = state.edge_node_of(read)
            if edge_node is not None:
                flagged[edge_node.index] = True
        if state.any_partial:
            size = state.nodes.size
            # Their seq confirms nothing.
            flagged |= state.nodes.partial[:size] & ~state.nodes.confirmed[:size]
        for indices in (state.sequences.attentive, state.unsure.indices):
            if indices:
                flagged[list(indices)] = True
        return flagged

    def _by_node(self, batch: Batch, positions: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Positions of messages (None: all) by node, those of each node in order."""
        by_node: NDArray[np.generic] = batch.node if positions is None else batch.node[positions]
        if self._state.nodes.size <= _MOST_SHORT:
            by_node = by_node.astype(np.uint16)  # sorted three times as fast
        order: NDArray[np.int64] = np.argsort(by_node, kind="stable")
        return order if positions is None else positions[order]

    def resolve_regular(self, batch: Batch, regular: NDArray[np.bool_]) -> None:
        """Tags of all metrics of regular messages, for all nodes at once."""
        count = count_nonzero(regular)
        if not count:
            return
        state, per_metric = self._state, batch.columns.per_metric
        base, size = state.topics.alias_base[batch.topic], state.topics.alias_count[batch.topic]
        if count < len(regular):
            size *= regular
        alias_column = batch.columns.metric("alias")
        alias = numbers(alias_column, np.uint64)
        inside = alias < per_metric(size.view(np.uint64))
        if alias_column.null_count:
            inside &= validity(alias_column)
        position = alias.view(np.int64) + per_metric(base)
        if count_nonzero(inside) < len(inside):
            position *= inside
        batch.tag = state.pool.tags[position]
        special = regular & state.topics.special[batch.topic]
        if count_nonzero(special):
            rows = np.flatnonzero(per_metric(special) & validity(alias_column))
            self._resolve_special(batch, special, rows, alias[rows].tolist())
        if batch.names is not None:
            named = np.fromiter(map(bool, batch.names), np.bool_, len(batch.names))
            rows = np.flatnonzero(per_metric(regular) & named)
            tables = [state.owners[index].tags for index in batch.topic.tolist()]
            names = [batch.names[row] for row in rows.tolist()]
            batch.tag[rows] = look_up(tables, batch.message_of(rows), names)

    def _resolve_special(
        self,
        batch: Batch,
        special: NDArray[np.bool_],
        rows: NDArray[np.int64],
        aliases: list[int],
    ) -> None:
        """Metrics of nodes with scattered aliases, or whose owners collide."""
        owners = [
            self._state.owners[index] if flag else None
            for index, flag in zip(batch.topic.tolist(), special.tolist(), strict=True)
        ]
        message = batch.message_of(rows)
        scattered = [
            (self._state.edge_nodes[node].table.scattered or {}) if owner is not None else {}
            for node, owner in zip(batch.node.tolist(), owners, strict=True)
        ]
        found = look_up(scattered, message, aliases)
        batch.tag[rows] = np.where(found == NO_TAG, batch.tag[rows], found)
        own = [(owner.own_aliases or {}) if owner is not None else {} for owner in owners]
        found = look_up(own, message, aliases)
        batch.tag[rows] = np.where(found == NO_TAG, batch.tag[rows], found)

    # ------------------------------------------------------------------ one message

    def resolve(
        self,
        batch: Batch,
        position: int,
        owner: MetricOwner,
        rows: NDArray[np.int64],
        *,
        steady: bool = False,
    ) -> NDArray[np.int64]:
        """Tags of some metrics of a message, as data of a node or device.

        `steady`: aliases only as far as the owner's last two births agree on them.
        Returns those of the rows that no birth declares, for which one is to be asked.
        """
        alias_column = batch.columns.metric("alias").take(pa.array(rows))
        edge_node = self._state.by_id[owner.group_id, owner.edge_node_id]
        has_alias = validity(alias_column)
        names = None if batch.names is None else [batch.names[row] for row in rows.tolist()]
        is_birth = MESSAGE_TYPES[batch.message_type[position]] in _BIRTHS
        if is_birth:
            has_alias = np.zeros(len(rows), dtype=np.bool_)
        aliases = numbers(alias_column, np.uint64)
        tags = edge_node.resolve(owner, names, aliases, has_alias, steady=steady)
        batch.tag[rows] = tags
        unknown = tags == NO_TAG
        if is_birth:  # read as data: what has no name is not asked for
            named = [bool(name) for name in names or [None] * len(rows)]
            unknown &= np.array(named, dtype=np.bool_)
        missing: NDArray[np.int64] = rows[unknown]
        return missing

    def resolve_by_name(self, arrival: Arrival, edge_node: EdgeNodeState) -> bool:
        """Find metrics in data by name where only a certificate tells what a node has.

        Names keep their meaning from birth to birth, aliases do not. A metric that comes
        with another datatype than the certificate's is not read. True if any is found.
        """
        batch, read = arrival.batch, arrival.topic
        if not edge_node.by_certificate or read.message_type not in _DATA or batch.names is None:
            return False
        owner = edge_node.owner_of(read.device_id)
        if arrival.is_unread or owner is None or not owner.born:
            return False
        rows = arrival.rows
        names = batch.names[rows]
        tags = np.array([owner.tags.get(n, NO_TAG) if n else NO_TAG for n in names], np.int32)
        column = batch.columns.metric("datatype")[rows]
        codes = datatype_codes(numbers(column, np.uint32))
        tags[validity(column) & (codes != self._state.catalogue.datatype_of(tags))] = NO_TAG
        batch.tag[rows] = tags
        return bool((tags != NO_TAG).any())


def _no_tags(count: int) -> NDArray[np.int32]:
    tags = np.empty(count, dtype=np.int32)
    tags.fill(NO_TAG)
    return tags
