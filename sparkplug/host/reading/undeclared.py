"""Metrics in data that no birth declares: held until one does, without their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from sparkplug.counting import count_nonzero
from sparkplug.host.batch import CODE
from sparkplug.host.catalogue import NO_TAG
from sparkplug.host.nodes.waiting import Waiting
from sparkplug.host.reading.awaiting_births import need_no_birth
from sparkplug.messages import MOST_SUBJECTS, QuarantinedPart, Reason, RebirthRequest
from sparkplug.payload import validity
from sparkplug.topics import MessageType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sparkplug.host.batch import Batch
    from sparkplug.host.fleet_state import FleetState
    from sparkplug.host.owner import MetricOwner
    from sparkplug.host.reading.awaiting_births import AwaitingBirths
    from sparkplug.host.structured_rows import UnknownMembers

_CODES_OF_BIRTHS: Final = (CODE[MessageType.NBIRTH], CODE[MessageType.DBIRTH])


class UndeclaredMetrics:
    """Lets single metrics of messages wait for a birth that declares them.

    Args:
        state: of the fleet.
        awaiting: where they wait.
    """

    def __init__(self, state: FleetState, awaiting: AwaitingBirths) -> None:
        self._state = state
        self._awaiting = awaiting

    def hold(
        self,
        batch: Batch,
        position: int,
        owner: MetricOwner,
        rows: NDArray[np.int64],
        *,
        unsteady: bool = False,
    ) -> None:
        """Metrics of data that no birth declares, without their neighbours.

        Those that give no row in any case are none of them. What was held before is given up.
        `unsteady`: aliases may have stood for something else, and are given up in any case.
        """
        rows = rows[~need_no_birth(self._state.catalogue, batch, owner, rows)]
        if unsteady and not batch.released[position]:
            rows = self._without_aliases(batch, position, rows)
        if len(rows) == 0:
            return
        key = (owner.group_id, owner.edge_node_id)
        named = _are_named(batch, rows).tolist()
        reasons = [Reason.UNKNOWN_METRIC if name else Reason.UNKNOWN_ALIAS for name in named]
        part = batch.part(position, rows)
        if batch.released[position]:
            why = reasons[0]
            if unsteady and not all(named):
                why = Reason.ALIAS_OF_UNSEEN_BIRTH
            batch.decoded.expired.append(QuarantinedPart(part, why))
            return
        for reason in sorted(set(reasons)):
            batch.decoded.counts[reason] += reasons.count(reason)
            of_reason = rows[[each is reason for each in reasons]][:MOST_SUBJECTS]
            subjects = _subjects(batch, owner, of_reason)
            batch.decoded.rebirths.append(RebirthRequest(*key, reason, subjects))
        entry = Waiting(
            part,
            batch.seq(position),
            self._state.now,
            position,
            rows,
            reason=reasons[0],
            device_id=owner.device_id,
            counted=True,
        )
        self._awaiting.hold(batch, key, entry)

    def hold_aliases(
        self, batch: Batch, position: int, owner: MetricOwner, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Hold what data behind a gap has by alias alone; return the other metrics.

        A birth was asked for when the gap was found.
        """
        aliases = validity(batch.columns.metric("alias").take(pa.array(rows)))
        aliases &= ~_are_named(batch, rows)
        if batch.message_type[position] in _CODES_OF_BIRTHS or not aliases.any():
            return rows
        held = rows[aliases]
        entry = Waiting(
            batch.part(position, held),
            batch.seq(position),
            self._state.now,
            position,
            held,
            reason=Reason.ALIAS_OF_UNSEEN_BIRTH,
            device_id=owner.device_id,
            counted=True,
        )
        self._awaiting.hold(batch, (owner.group_id, owner.edge_node_id), entry)
        return rows[~aliases]

    def _without_aliases(
        self, batch: Batch, position: int, rows: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Those of some metrics of a late message that have a name; the others are given up."""
        named = _are_named(batch, rows)
        if not named.all():
            part = QuarantinedPart(batch.part(position, rows[~named]), Reason.ALIAS_OF_UNSEEN_BIRTH)
            batch.decoded.expired.append(part)
        return rows[named]

    def hold_unresolved(self, batch: Batch, regular: NDArray[np.bool_]) -> None:
        """The metrics of regular messages that no birth declares."""
        unknown = batch.tag == NO_TAG
        if not count_nonzero(unknown):
            return
        message = batch.columns.per_metric(np.arange(len(batch.messages)))
        rows = np.flatnonzero(unknown & regular[message])
        if len(rows) == 0:
            return
        starts = np.flatnonzero(np.diff(message[rows], prepend=-1))
        for part in np.split(rows, starts[1:]):
            position = int(message[part[0]])
            owner = self._state.owners[int(batch.topic[position])]
            self.hold(batch, position, owner, part)

    def read_structured(self, batch: Batch, rows: NDArray[np.int64]) -> None:
        """Read what of some metrics of data, whose tags are known, is no single row.

        Members of templates that no birth declares are held.
        """
        for part in self._state.structured.read(batch, rows):
            self._hold_members(batch, part)

    def _hold_members(self, batch: Batch, part: UnknownMembers) -> None:
        """Members of a template that no birth declares."""
        if batch.released[part.position]:
            batch.decoded.expired.append(QuarantinedPart(part.message, Reason.UNKNOWN_METRIC))
            return
        key = (part.owner.group_id, part.owner.edge_node_id)
        batch.decoded.counts[Reason.UNKNOWN_METRIC] += len(part.metrics)
        subjects = tuple(_path(part.owner, m.name) for m in part.metrics[:MOST_SUBJECTS])
        batch.decoded.rebirths.append(RebirthRequest(*key, Reason.UNKNOWN_METRIC, subjects))
        entry = Waiting(
            part.message,
            batch.seq(part.position),
            self._state.now,
            part.position,
            np.array([part.row]),
            Reason.UNKNOWN_METRIC,
            part.owner.device_id,
            part,
            counted=True,
        )
        self._awaiting.hold(batch, key, entry)


def _are_named(batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some metrics carry a name."""
    names = batch.names
    named = [names is not None and bool(names[row]) for row in rows.tolist()]
    return np.array(named, dtype=np.bool_)


def _path(owner: MetricOwner, name: str) -> str:
    return name if owner.device_id is None else f"{owner.device_id}/{name}"


def _subjects(batch: Batch, owner: MetricOwner, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """What some metrics without tag are called: by name, else by alias."""
    names = [None] * len(rows) if batch.names is None else [batch.names[row] for row in rows]
    aliases = batch.columns.metric("alias").take(pa.array(rows)).to_pylist()
    return tuple(
        _path(owner, name or f"alias {alias}") for name, alias in zip(names, aliases, strict=True)
    )
