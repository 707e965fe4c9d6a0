"""Births, held messages and dead messages of a fleet in the spool's file.

Everything runs inside a transaction of the spool, so that what is remembered of a node
is always that of the last batch whose rows were kept.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from consumer.spool import accounts, shares
from consumer.spool.births import BirthStore
from sparkplug import (
    HeldMessage,
    Message,
    Quarantined,
    QuarantinedPart,
    Reason,
    Topic,
    parse_topic,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from consumer.spool.types import Transaction

_HELD_OF_SPOOL: Final = 8
"""Messages that wait for a birth over a restart take this part of the spool at most."""
_MOST_DEAD_MESSAGES: Final = 10_000
_MOST_AT_ONCE: Final = 100
_REASONS: Final = frozenset(map(str, Reason))
_MOST_BYTES_AT_ONCE: Final = 4 << 20


class FleetStore:
    """Keeps state of the nodes behind one MQTT server. Methods run inside a transaction.

    Args:
        server: the name of the MQTT server.
        spool_bytes: bound of the whole spool.
        dead_letter_bytes: bound of dead letters, of which dead messages have their share.

    Attributes:
        births: the births of these nodes.
    """

    def __init__(
        self, server: str, spool_bytes: int, dead_letter_bytes: int = shares.MAX_BYTES
    ) -> None:
        self.births = BirthStore(server, spool_bytes)
        self._server = server
        self._most_held = spool_bytes // _HELD_OF_SPOOL
        self._most_dead = shares.dead_letter_shares(dead_letter_bytes, spool_bytes)[
            shares.LetterKind.UNREADABLE
        ]

    def sequence_key(self) -> str:
        """Key of the spool's state under which the server's sequence numbers are kept."""
        return f"next_seq/{self._server}"

    def conduct_key(self) -> str:
        """Key of the spool's state under which it is kept what was learned of the nodes."""
        return f"conduct/{self._server}"

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
                _reason(reason),
                bool(counted),
                held_id,
            )
            for topic, payload, received_us, device_id, reason, counted, held_id in rows
        ]

    def forget_held(self, db: Transaction, held_ids: Iterable[int]) -> None:
        """Delete held messages that wait no longer, with the commit of what became of them."""
        db.executemany("DELETE FROM held WHERE held_id = ?", ((held_id,) for held_id in held_ids))

    def write_held(self, db: Transaction, held: Sequence[HeldMessage], room: int) -> int:
        """Keep what waits for a birth, in place of what was kept before: the latest, if it is much.

        Args:
            db: in a transaction.
            held: in order of arrival.
            room: bytes that the file and its log may still grow by, together.

        Returns:
            How many of these were not kept.
        """
        db.execute("DELETE FROM held WHERE server = ?", (self._server,))
        left = min(self._most_held, room // 2)
        kept = 0
        for each in reversed(held):
            left -= _size_of(each.message)
            if left < 0:
                break
            kept += 1
        lost = len(held) - kept
        for each in held[lost:]:
            _write_one_held(db, self._server, each)
        if lost:
            uncounted = sum(not each.counted for each in held[:lost])
            accounts.give_up_held(db, self._server, uncounted, str(Reason.SPOOL_FULL))
        return lost

    def write_dead(self, db: Transaction, dead: Sequence[Quarantined], room: int) -> int:
        """Keep messages that were given up: some of each batch, the latest of all.

        Args:
            db: in a transaction.
            dead: in order of arrival.
            room: bytes that the file and its log may still grow by, together.

        Returns:
            How many of these were not kept.
        """
        left, room_left = min(_MOST_BYTES_AT_ONCE, self._most_dead), room // 2
        kept: list[tuple[Any, ...]] = []
        lost = list(dead[_MOST_AT_ONCE:])
        now = time.time()
        for each in dead[:_MOST_AT_ONCE]:
            message, reason = each
            size = _size_of(message)
            if len(message.payload) > left or size > min(room_left, self._most_dead):
                lost.append(each)  # a smaller one may fit in
                continue
            left -= len(message.payload)
            room_left -= size
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
        if dead:  # also when there is no room for these: a release before this one kept more
            _keep_the_latest(db, self._most_dead)
        uncounted = sum(not isinstance(each, QuarantinedPart) for each in lost)
        if uncounted:
            accounts.discard_messages(db, self._server, uncounted, accounts.DEAD_LETTERS_FULL)
        return len(lost)

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
                _reason(reason),
                bool(counted),
            )
            for _, topic, payload, received_us, reason, counted in rows
        ]
        accounts.hold_again(db, self._server, sum(not each.counted for each in again))
        return [each._replace(kept=_write_one_held(db, self._server, each)) for each in again]


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
    """Delete the oldest while they are too many, or take too much."""
    count, size = shares.messages_kept(db)
    while count > _MOST_DEAD_MESSAGES or size > most_bytes:
        gone = db.execute(
            "DELETE FROM dead_messages WHERE dead_message_id IN "  # noqa: S608 - ours
            "(SELECT dead_message_id FROM dead_messages ORDER BY dead_message_id LIMIT ?) "
            f"RETURNING server, counted, {shares.MESSAGE_TAKES}",
            (max(1, count - _MOST_DEAD_MESSAGES),),
        ).fetchall()
        uncounted = Counter(server for server, counted, _ in gone if not counted)
        for server, lost in uncounted.items():
            accounts.discard_messages(db, server, lost, accounts.DEAD_LETTERS_FULL)
        count -= len(gone)
        size -= sum(taken for *_, taken in gone)


def _size_of(message: Message) -> int:
    """Bytes that a message takes in the file."""
    topic = message.topic.encode("utf-8", "surrogatepass")
    return len(message.payload) + len(topic) + shares.FOR_A_MESSAGE


def _reason(text: str) -> Reason:
    """Why a message waits; of one that says what no release does, why most of them do."""
    return Reason(text) if text in _REASONS else Reason.DATA_BEFORE_BIRTH


def _device_of(topic: str) -> str | None:
    read = parse_topic(topic)
    return read.device_id if isinstance(read, Topic) else None
