"""The births of edge nodes and devices in the spool's file: what is kept, and what leaves.

Births are kept whole and have a bound of their own, so that whoever publishes large ones takes
nothing from the rows (docs/delivery.md, "What births may take"). What is counted of a birth is
what it takes in the file, rounded up: payload as stored, topic and ids, in a table and an index.

A node whose birth left is unknown to the next run, and is asked for it when it speaks. So births
leave by the node, a whole node at a time. Everything runs inside a transaction of the spool.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from consumer.spool.birth_bytes import damage_of, packed, unpacked
from consumer.spool.gaps import HOUR_US
from sparkplug import BirthMemory, EndMemory, Message, RememberedBirth, TakenBackMemory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from consumer.errors import SpoolDamaged
    from consumer.spool.types import Transaction
    from sparkplug import Memory, NodeKey

_OF_SPOOL: Final = 4
"""Births of all servers take this part of the spool at most."""
_OF_BIRTHS: Final = 4
"""Births of one node take this part of the bound of all births at most."""
MOST_BYTES: Final = 512 << 20
"""Most bytes of the births of all servers, however large the spool: a start reads them all."""

_AFTER_LEAVING: Final = 7 / 8
"""Once some have to leave, so many do that this part of the bound is left.

Who is to leave is looked up among all births, which is not to be done for each new one.
"""

_STEP: Final = 4096
_FOR_A_ROW: Final = 1024
_TAKEN_BACK: Final = 2
"""Value of the column `stale` beside 0 and 1: STALE, but data took it back for some tags.

An earlier release reads it as 1.
"""

_STALE_THEN: Final = "CASE WHEN ? THEN 1 ELSE stale END"
"""An end without rows leaves STALE what was STALE: it gets no second row after a restart."""

_TOTAL_KEY: Final = "birth_bytes"
"""Key of the spool's state: what births of all servers take; looked up anew if there is none."""

# What a row takes: ids stand in the topic, in columns and in the index.
_TAKES: Final = (
    f"(length(payload) + 3 * length(CAST(topic AS BLOB)) + {_FOR_A_ROW + _STEP - 1}) "
    f"/ {_STEP} * {_STEP}"
)
KeptNode: TypeAlias = tuple[str, str, str]
"""Server, group id and edge node id."""

_OF_NODE: Final = "server = ? AND group_id = ? AND edge_node_id = ?"


class BirthStore:
    """The births of the nodes behind one MQTT server. Methods run inside a transaction.

    Args:
        server: the name of the MQTT server.
        spool_bytes: bound of the whole spool.

    Attributes:
        damaged: the nodes that the last `read` left out, and why.
    """

    def __init__(self, server: str, spool_bytes: int) -> None:
        self.damaged: dict[KeptNode, SpoolDamaged] = {}
        self._unread: list[int] = []
        self._server = server
        self.most_bytes = min(MOST_BYTES, spool_bytes // _OF_SPOOL)
        self.most_of_node = self.most_bytes // _OF_BIRTHS

    def write(self, db: Transaction, memories: Iterable[Memory], room: int) -> list[KeptNode]:
        """Note births and ends of sessions, in their order.

        Args:
            db: in a transaction.
            memories: what the fleet gave.
            room: bytes that the file and its log may still grow by, together.

        Returns:
            Nodes whose births are kept no longer, for want of room: (server, group id, edge
            node id).
        """
        writing = _Writing(db, self, room)
        for memory in memories:
            node = (self._server, memory.group_id, memory.edge_node_id)
            if isinstance(memory, BirthMemory):
                writing.keep(node, memory)
            elif isinstance(memory, EndMemory):
                writing.end(node, memory)
            elif isinstance(memory, TakenBackMemory):
                db.execute(
                    f"UPDATE births SET stale = {_TAKEN_BACK} "  # noqa: S608 - ours
                    f"WHERE {_OF_NODE} AND device_id = ? AND stale = 1",
                    (*node, memory.device_id or ""),
                )
            else:
                db.execute(
                    f"UPDATE births SET stale = 1 WHERE {_OF_NODE} AND device_id = ?",  # noqa: S608 - ours
                    (*node, memory.device_id or ""),
                )
        writing.finish()
        return writing.left

    def read(self, db: Transaction) -> Iterator[RememberedBirth]:
        """The births of the nodes, each read when it is asked for.

        Those of a node come in order, and nodes in the order of their slots: a fleet that
        takes them in so gives them the same slots again, and there is nothing to write.

        A node of which a birth is damaged is left out whole, and is in `damaged` from then on:
        half a node would look whole. `write_slots` forgets it.
        """
        for rowid in self._in_order(db):
            (
                slot,
                group_id,
                edge_node_id,
                device_id,
                topic,
                payload,
                received_us,
                alive,
                stale,
                dead_bd_seq,
                died_us,
            ) = db.execute(
                "SELECT slot, group_id, edge_node_id, device_id, topic, payload, received_us, "
                "alive, stale, dead_bd_seq, died_us FROM births WHERE rowid = ?",
                (rowid,),
            ).fetchone()
            message = Message(topic, unpacked(payload), received_us)
            yield RememberedBirth(
                BirthMemory(slot, group_id, edge_node_id, device_id or None, message),
                alive=bool(alive),
                stale=bool(stale) and stale != _TAKEN_BACK,
                dead_bd_seq=None if dead_bd_seq is None else dead_bd_seq % 2**64,
                died_us=died_us,
                taken_back=stale == _TAKEN_BACK,
            )

    def _in_order(self, db: Transaction) -> list[int]:
        """The rowids of births. Where a slot is nobody's any more, the last node takes it."""
        kept = db.execute(
            "SELECT server, group_id, edge_node_id, slot, rowid FROM births WHERE server = ? "
            "ORDER BY slot, rowid",
            (self._server,),
        ).fetchall()
        self.damaged, self._unread = {}, []
        for server, group_id, edge_node_id, _, rowid in kept:
            stored = db.execute(
                "SELECT group_id, edge_node_id, device_id, topic, payload FROM births "
                "WHERE rowid = ?",
                (rowid,),
            ).fetchone()
            for other, error in damage_of(*stored):
                self.damaged.setdefault((server, group_id, edge_node_id), error)
                self.damaged.setdefault((server, *other), error)
        known = {(server, *node) for server, *node, _, _ in kept}
        self.damaged = {node: why for node, why in self.damaged.items() if node in known}
        rows_of: dict[int, list[int]] = {}
        for *node, slot, rowid in kept:
            if tuple(node) in self.damaged:
                self._unread.append(rowid)
            else:
                rows_of.setdefault(slot, []).append(rowid)
        slots = deque(rows_of)
        order: list[int] = []
        for place in range(len(slots)):
            order += rows_of[slots.popleft() if slots[0] == place else slots.pop()]
        return order

    def write_slots(self, db: Transaction, slots: Mapping[NodeKey, int], room: int) -> None:
        """Note the slots that nodes have since the start; forget nodes without one.

        To note another slot is to write the births once more: nodes for which `room` does not
        suffice are forgotten.
        """
        for rowid in self._unread:  # by names that are damaged they would not be found
            db.execute("DELETE FROM births WHERE rowid = ?", (rowid,))
        writing = _Writing(db, self, room)
        known = db.execute(
            f"SELECT group_id, edge_node_id, slot, sum({_TAKES}) FROM births "  # noqa: S608 - ours
            "WHERE server = ? GROUP BY group_id, edge_node_id",
            (self._server,),
        ).fetchall()
        for group_id, edge_node_id, before, size in known:
            slot = slots.get((group_id, edge_node_id))
            if slot != before:
                writing.move((self._server, group_id, edge_node_id), slot, size)
        _count_again(db)

    def forget(self, db: Transaction) -> None:
        """Forget all births: what is on disk is no longer what holds."""
        db.execute("DELETE FROM births WHERE server = ?", (self._server,))
        _count_again(db)


class _Taken(NamedTuple):
    """Bytes that the births of a node take, and what decides when the node is let go."""

    node: KeptNode
    size: int
    alive: bool
    heard_us: int


class _Writing:
    """The births of one commit."""

    def __init__(self, db: Transaction, store: BirthStore, room: int) -> None:
        self._db = db
        self._most = store.most_bytes
        self._most_of_node = store.most_of_node
        self._room = room
        self._total: int | None = None
        self.left: list[KeptNode] = []

    def finish(self) -> None:
        """Note what all births take now."""
        if self._total is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO state VALUES (?, ?)", (_TOTAL_KEY, self._total)
            )

    def keep(self, node: KeptNode, birth: BirthMemory) -> None:
        """Keep a birth in place of the one before, or let its node go."""
        device_id, message = birth.device_id or "", birth.message
        if self._total is None:
            self._total = _total(self._db)
        if device_id:
            if not self._is_known(node):
                return  # its node's birth left, or never was kept: this says nothing without it
        else:
            self._db.execute(f"UPDATE births SET alive = 0 WHERE {_OF_NODE}", node)  # noqa: S608 - ours
        blob = packed(message.payload)
        size = _takes(len(blob), message.topic)
        # Each byte is written twice: into the log, and from there into the file.
        if 2 * size > self._room or not self._has_place(node, device_id, size):
            self.let_go(node)
            return
        # Replaced, not updated: the new rowid says that it came last.
        self._drop(f"{_OF_NODE} AND device_id = ?", (*node, device_id))
        self._db.execute(
            "INSERT INTO births (server, group_id, edge_node_id, device_id, slot, topic, "
            "payload, received_us, alive, stale) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0)",
            (*node, device_id, birth.slot, message.topic, blob, message.received_us),
        )
        self._room -= 2 * size
        self._total += size

    def end(self, node: KeptNode, end: EndMemory) -> None:
        """The session of a node (with its devices) or device ended."""
        if end.device_id is not None:
            self._db.execute(
                f"UPDATE births SET alive = 0, stale = {_STALE_THEN} "  # noqa: S608 - ours
                f"WHERE {_OF_NODE} AND device_id = ?",
                (end.stale, *node, end.device_id),
            )
            return
        self._db.execute(
            f"UPDATE births SET alive = 0, stale = {_STALE_THEN} "  # noqa: S608 - ours
            f"WHERE {_OF_NODE} AND alive",
            (end.stale, *node),
        )
        # A row that becomes longer is written whole, with its payload.
        size = self._take_of(node) - self._take_of(node, "")
        if size > self._room:
            self.let_go(node)
            return
        self._room -= size
        self._db.execute(
            f"UPDATE births SET dead_bd_seq = ?, died_us = ? WHERE {_OF_NODE} AND device_id = ''",  # noqa: S608 - ours
            (_signed(end.bd_seq), end.time_us, *node),
        )

    def move(self, node: KeptNode, slot: int | None, size: int) -> None:
        """Give a node another slot, or forget it: if it has none, or if that takes too much."""
        if slot is None or size > self._room:
            self._db.execute(f"DELETE FROM births WHERE {_OF_NODE}", node)  # noqa: S608 - ours
            return
        self._room -= size
        self._db.execute(f"UPDATE births SET slot = ? WHERE {_OF_NODE}", (slot, *node))  # noqa: S608 - ours

    def let_go(self, node: KeptNode) -> None:
        """The births of a node leave."""
        if self._total is None:
            self._total = _total(self._db)
        self._drop(_OF_NODE, node)
        self.left.append(node)

    def _is_known(self, node: KeptNode) -> bool:
        found = self._db.execute(
            f"SELECT 1 FROM births WHERE {_OF_NODE} AND device_id = ''",  # noqa: S608 - ours
            node,
        )
        return found.fetchone() is not None

    def _has_place(self, node: KeptNode, device_id: str, size: int) -> bool:
        """Whether a birth fits within the bounds of births, after others left as need be."""
        assert self._total is not None
        of_node = self._take_of(node, device_id)
        if of_node + size > self._most_of_node:
            # Of devices that died the names are known, no more.
            self._drop(f"{_OF_NODE} AND device_id NOT IN ('', ?) AND NOT alive", (*node, device_id))
            of_node = self._take_of(node, device_id)
            if of_node + size > self._most_of_node:
                return False
        before = self._take_of(node)
        if self._total - before + of_node + size > self._most:
            self._let_leave(node, int(self._most * _AFTER_LEAVING) - of_node - size + before)
        return self._total - before + of_node + size <= self._most

    def _take_of(self, node: KeptNode, other_than: str | None = None) -> int:
        """Bytes that a node's births take, without that of one device ('' is the node itself)."""
        [(size,)] = self._db.execute(
            f"SELECT coalesce(sum({_TAKES}), 0) FROM births WHERE {_OF_NODE} "  # noqa: S608 - ours
            "AND device_id IS NOT ?",
            (*node, other_than),
        )
        return int(size)

    def _let_leave(self, staying: KeptNode, most: int) -> None:
        """Let other nodes go, by `_order`, until the births of all take `most` bytes at most."""
        assert self._total is not None
        rows = self._db.execute(
            f"SELECT births.server, births.group_id, births.edge_node_id, sum({_TAKES}), "  # noqa: S608 - ours
            "max(alive), coalesce(max(last_us), 0) FROM births "
            "LEFT JOIN edge_nodes USING (server, group_id, edge_node_id) GROUP BY 1, 2, 3"
        )
        taken = [_Taken((s, g, n), size, bool(alive), at) for s, g, n, size, alive, at in rows]
        for each in sorted(taken, key=_order):
            if self._total <= most:
                break
            if each.node != staying:
                self.let_go(each.node)

    def _drop(self, which: str, parameters: tuple[str, ...]) -> None:
        assert self._total is not None
        gone = self._db.execute(f"DELETE FROM births WHERE {which} RETURNING {_TAKES}", parameters)  # noqa: S608 - ours
        self._total -= sum(size for (size,) in gone.fetchall())


def _order(taken: _Taken) -> tuple[bool, int, int, KeptNode]:
    """Sort key of nodes to let go: the dead, then those unheard for hours, then the largest.

    So large births of many invented nodes push each other out, not those of nodes that speak.
    """
    return taken.alive, taken.heard_us // HOUR_US, -taken.size, taken.node


def _total(db: Transaction) -> int:
    known = db.execute("SELECT value FROM state WHERE key = ?", (_TOTAL_KEY,)).fetchone()
    if known is None:
        known = db.execute(f"SELECT coalesce(sum({_TAKES}), 0) FROM births").fetchone()  # noqa: S608 - ours
    return int(known[0])


def _count_again(db: Transaction) -> None:
    db.execute("DELETE FROM state WHERE key = ?", (_TOTAL_KEY,))


def _takes(payload: int, topic: str) -> int:
    """Bytes that a birth will take in the table, as the SQL of `_TAKES` counts them there."""
    size = payload + 3 * len(topic.encode("utf-8", "surrogatepass")) + _FOR_A_ROW
    return (size + _STEP - 1) // _STEP * _STEP


def _signed(value: int | None) -> int | None:
    """A number of 64 bits as SQLite keeps it."""
    return None if value is None else (value + 2**63) % 2**64 - 2**63
