"""What is kept of a fleet in the spool's file: births, held messages, dead messages.

Everything runs inside a transaction of the spool, so that what is remembered of a node
is always that of the last batch whose rows were kept.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from consumer.spool import ledger
from sparkplug import (
    BirthMemory,
    EndMemory,
    HeldMessage,
    Memory,
    Message,
    Quarantined,
    QuarantinedPart,
    Reason,
    RememberedBirth,
    Topic,
    parse_topic,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.spool.types import Transaction

_MOST_DEAD_MESSAGES: Final = 10_000
_MOST_DEAD_BYTES: Final = 64 << 20
_MOST_AT_ONCE: Final = 100
_MOST_BYTES_AT_ONCE: Final = 4 << 20
_SIZE_BYTES: Final = 4


class FleetStore:
    """What is kept of the nodes behind one MQTT server. Methods run inside a transaction.

    Args:
        server: the name of the MQTT server.
    """

    def __init__(self, server: str) -> None:
        self._server = server

    def sequence_key(self) -> str:
        """Key of the spool's state under which the server's sequence numbers are kept."""
        return f"next_seq/{self._server}"

    def write_memories(self, db: Transaction, memories: Iterable[Memory]) -> None:
        """Note births and ends of sessions, in their order."""
        for memory in memories:
            if isinstance(memory, BirthMemory):
                _write_birth(db, self._server, memory)
            elif isinstance(memory, EndMemory):
                _write_end(db, self._server, memory)
            else:
                db.execute(
                    "UPDATE births SET stale = 1 WHERE server = ? AND group_id = ? "
                    "AND edge_node_id = ? AND device_id = ?",
                    (self._server, memory.group_id, memory.edge_node_id, memory.device_id or ""),
                )

    def read_births(self, db: Transaction) -> list[RememberedBirth]:
        """The remembered births of the nodes, in the order in which they came."""
        rows = db.execute(
            "SELECT slot, group_id, edge_node_id, device_id, topic, payload, received_us, alive, "
            "stale, dead_bd_seq, died_us FROM births WHERE server = ? ORDER BY rowid",
            (self._server,),
        )
        return [
            RememberedBirth(
                BirthMemory(
                    slot,
                    group_id,
                    edge_node_id,
                    device_id or None,
                    Message(topic, _unpacked(payload), received_us),
                ),
                alive=bool(alive),
                stale=bool(stale),
                dead_bd_seq=None if dead_bd_seq is None else dead_bd_seq % 2**64,
                died_us=died_us,
            )
            for (
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
            ) in rows
        ]

    def write_slots(self, db: Transaction, slots: dict[tuple[str, str], int]) -> None:
        """Note the slots that nodes have since the start; forget nodes without one."""
        known = db.execute(
            "SELECT DISTINCT group_id, edge_node_id FROM births WHERE server = ?", (self._server,)
        ).fetchall()
        for node in known:
            slot = slots.get(node)
            if slot is None:
                db.execute(
                    "DELETE FROM births WHERE server = ? AND group_id = ? AND edge_node_id = ?",
                    (self._server, *node),
                )
            else:
                db.execute(
                    "UPDATE births SET slot = ? "
                    "WHERE server = ? AND group_id = ? AND edge_node_id = ?",
                    (slot, self._server, *node),
                )

    def forget_births(self, db: Transaction) -> None:
        """Forget all births: what is on disk is no longer what holds."""
        db.execute("DELETE FROM births WHERE server = ?", (self._server,))

    def take_held(self, db: Transaction) -> list[HeldMessage]:
        """The messages that waited for a birth when the last run stopped.

        They stay on disk until they are forgotten, so that another run may take them again.
        """
        rows = db.execute(
            "SELECT topic, payload, received_us, device_id, reason, counted, held_id FROM held "
            "WHERE server = ? ORDER BY held_id",
            (self._server,),
        )
        return [
            HeldMessage(
                Message(topic, payload, received_us),
                device_id,
                Reason(reason),
                bool(counted),
                held_id,
            )
            for topic, payload, received_us, device_id, reason, counted, held_id in rows
        ]

    def forget_held(self, db: Transaction, held_ids: Iterable[int]) -> None:
        """These messages wait no longer, and what became of them is committed as well."""
        db.executemany("DELETE FROM held WHERE held_id = ?", ((held_id,) for held_id in held_ids))

    def write_held(self, db: Transaction, held: Iterable[HeldMessage]) -> None:
        """Keep what waits for a birth, in place of what was kept before."""
        db.execute("DELETE FROM held WHERE server = ?", (self._server,))
        for each in held:
            _write_one_held(db, self._server, each)

    def write_dead(
        self,
        db: Transaction,
        dead: Sequence[Quarantined],
        most_bytes: int = _MOST_DEAD_BYTES,
    ) -> int:
        """Keep messages that were given up: some of each batch, the latest of all.

        At most `most_bytes` of payloads are kept, and 64 MiB in any case.

        Returns:
            How many of these were not kept.
        """
        size = 0
        kept: list[tuple[Any, ...]] = []
        now = time.time()
        for each in dead[:_MOST_AT_ONCE]:
            message, reason = each
            size += len(message.payload)
            if size > min(_MOST_BYTES_AT_ONCE, most_bytes):
                break
            kept.append(
                (
                    now,
                    self._server,
                    message.topic,
                    message.payload,
                    message.received_us,
                    reason.value,
                    isinstance(each, QuarantinedPart),
                )
            )
        db.executemany(
            "INSERT INTO dead_messages (set_aside_at, server, topic, payload, received_us, reason, "
            "counted) VALUES (?, ?, ?, ?, ?, ?, ?)",
            kept,
        )
        if kept:
            _keep_the_latest(db, min(_MOST_DEAD_BYTES, most_bytes))
        lost = sum(not isinstance(each, QuarantinedPart) for each in dead[len(kept) :])
        if lost:
            ledger.discard_messages(db, self._server, lost, ledger.DEAD_LETTERS_FULL)
        return len(dead) - len(kept)

    def take_retries(self, db: Transaction) -> list[HeldMessage]:
        """Dead messages of the server that are to wait for a birth once more.

        They are dead no longer, but kept on disk as held ones.
        """
        rows = db.execute(
            "SELECT dead_message_id, topic, payload, received_us, reason, counted "
            "FROM dead_messages WHERE retry AND server = ? ORDER BY dead_message_id",
            (self._server,),
        ).fetchall()
        db.executemany(
            "DELETE FROM dead_messages WHERE dead_message_id = ?", ((row[0],) for row in rows)
        )
        again = [
            HeldMessage(
                Message(topic, payload, received_us),
                _device_of(topic),
                Reason(reason),
                bool(counted),
            )
            for _, topic, payload, received_us, reason, counted in rows
        ]
        ledger.hold_again(db, self._server, sum(not each.counted for each in again))
        return [each._replace(kept=_write_one_held(db, self._server, each)) for each in again]


def _write_birth(db: Transaction, server: str, birth: BirthMemory) -> None:
    node = (server, birth.group_id, birth.edge_node_id)
    if birth.device_id is None:
        db.execute(
            "UPDATE births SET alive = 0 WHERE server = ? AND group_id = ? AND edge_node_id = ?",
            node,
        )
    message = birth.message
    # Replaced, not updated: the new rowid says that it came last.
    db.execute(
        "INSERT OR REPLACE INTO births (server, group_id, edge_node_id, device_id, slot, topic, "
        "payload, received_us, alive, stale) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0)",
        (
            *node,
            birth.device_id or "",
            birth.slot,
            message.topic,
            _packed(message.payload),
            message.received_us,
        ),
    )


def _write_end(db: Transaction, server: str, end: EndMemory) -> None:
    node = (server, end.group_id, end.edge_node_id)
    if end.device_id is None:
        db.execute(
            "UPDATE births SET alive = 0, stale = ? WHERE server = ? AND group_id = ? "
            "AND edge_node_id = ? AND alive",
            (end.stale, *node),
        )
        db.execute(
            "UPDATE births SET dead_bd_seq = ?, died_us = ? WHERE server = ? AND group_id = ? "
            "AND edge_node_id = ? AND device_id = ''",
            (_signed(end.bd_seq), end.time_us, *node),
        )
    else:
        db.execute(
            "UPDATE births SET alive = 0, stale = ? WHERE server = ? AND group_id = ? "
            "AND edge_node_id = ? AND device_id = ?",
            (end.stale, *node, end.device_id),
        )


def _write_one_held(db: Transaction, server: str, held: HeldMessage) -> int | None:
    message = held.message
    return db.execute(
        "INSERT INTO held (server, topic, payload, received_us, device_id, reason, counted) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            server,
            message.topic,
            message.payload,
            message.received_us,
            held.device_id,
            held.reason.value,
            held.counted,
        ),
    ).lastrowid


def _keep_the_latest(db: Transaction, most_bytes: int) -> None:
    count, size = db.execute(
        "SELECT count(*), coalesce(sum(length(payload)), 0) FROM dead_messages"
    ).fetchone()
    while count > _MOST_DEAD_MESSAGES or size > most_bytes:
        oldest = db.execute(
            "SELECT dead_message_id, length(payload) FROM dead_messages "
            "ORDER BY dead_message_id LIMIT ?",
            (max(1, count - _MOST_DEAD_MESSAGES),),
        ).fetchall()
        gone = db.execute(
            "DELETE FROM dead_messages WHERE dead_message_id <= ? RETURNING server, counted",
            (oldest[-1][0],),
        ).fetchall()
        for server, lost in Counter(server for server, counted in gone if not counted).items():
            ledger.discard_messages(db, server, lost, ledger.DEAD_LETTERS_FULL)
        count -= len(oldest)
        size -= sum(length for _, length in oldest)


def _device_of(topic: str) -> str | None:
    read = parse_topic(topic)
    return read.device_id if isinstance(read, Topic) else None


def _packed(payload: bytes) -> bytes:
    """A payload compressed: births repeat names and types."""
    packed: bytes = pa.Codec("lz4_raw").compress(payload, asbytes=True)
    return len(payload).to_bytes(_SIZE_BYTES, "little") + packed


def _unpacked(packed: bytes) -> bytes:
    size = int.from_bytes(packed[:_SIZE_BYTES], "little")
    if not size:
        return b""
    unpacked: bytes = pa.Codec("lz4_raw").decompress(
        packed[_SIZE_BYTES:], decompressed_size=size, asbytes=True
    )
    return unpacked


def _signed(value: int | None) -> int | None:
    """A number of 64 bits as SQLite keeps it."""
    return None if value is None else (value + 2**63) % 2**64 - 2**63
