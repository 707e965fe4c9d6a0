"""A socket for paho from which plain PUBLISH packets have been taken, in bulk.

paho reads a packet with four calls of recv and hands it over in 20 to 40 microseconds. Here
what has arrived is read at once; the cutter takes what is plain, and paho gets the bytes of
everything else, in its place in the order, from what it holds to be its socket.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from consumer.broker.publish_cutter import LONGEST_PLAIN, PublishCutter, packet_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import SocketLike
    from paho.mqtt.enums import MQTTErrorCode

    from consumer.broker.publish_cutter import Run

_CHUNK: Final = 128 * 1024
_RECORD: Final = 16 * 1024
"""Most bytes of one TLS record."""
_LONGEST_TURN: Final = 0.02
"""Seconds after which paho gets its turn, for its keep-alive, though more can be read."""
_SIGN_OF_LIFE: Final = b"\xd0\x00"  # PINGRESP
_TELL_EVERY: Final = 1.0
_PUBLISH: Final = 0x30
_PUBACK: Final = b"\x40\x02"
_MALFORMED: Final = 6
"""Bytes in which paho sees that a remaining length is too long."""
_MOST_UNACKNOWLEDGED: Final = 65_535
"""No more packet ids can be in use (2.2.1)."""


class Tap:
    """What paho takes for its socket (paho.mqtt.client.SocketLike). One thread uses it.

    Args:
        sock: the connection's socket, which does not block.
        cutter: cuts plain PUBLISH packets out of what comes.
        deliver: gets the packets that were cut out. What it raises ends the connection.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        sock: SocketLike,
        cutter: PublishCutter,
        deliver: Callable[[Run], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._cutter = cutter
        self._deliver = deliver
        self._clock = clock
        self._data = b""
        self._at = 0
        self._passing = 0  # bytes of the packet at hand that are still to be given to paho
        self._lacks_more = True  # nothing can be done with the rest of `_data` yet
        self._has_come = False  # something that paho has not seen
        self._tell_at = 0.0
        self._told = b""
        self._unacknowledged: list[bytes] = []  # packet ids, in order of arrival
        self._unsent = b""  # acknowledgements of which the socket took only a part, or nothing

    def recv(self, size: int) -> bytes:
        """The next bytes that are paho's; none at the end of the connection.

        Raises:
            BlockingIOError: there are none now.
            OSError: of the socket.
        """
        give_up_at = 0.0
        emptied = False
        while not self._passing:
            if self._told:
                told, self._told = self._told[:size], self._told[size:]
                return told
            if self._lacks_more:
                now = self._clock()
                if self._has_come and now >= self._tell_at:
                    # For its keep-alive counts what comes, as if it had read it. What it takes
                    # for a PINGRESP is the way to say so.
                    self._has_come, self._tell_at = False, now + _TELL_EVERY
                    self._told = _SIGN_OF_LIFE
                    continue
                if not give_up_at:
                    give_up_at = now + _LONGEST_TURN
                if emptied or now > give_up_at:
                    raise BlockingIOError
                if not self._fill():
                    return b""
                # Under load the server has written a few more packets by now. To read them at
                # once would go on and on like that: each read costs as much as many packets.
                emptied = len(self._data) < _CHUNK
            self._take_plain()
        if self._unacknowledged:
            # paho acknowledges what it reads, by itself, and the order is that of arrival
            # (4.6.0-2).
            raise BlockingIOError
        if self._at == len(self._data) and not self._fill():
            return b""
        count = min(size, self._passing, len(self._data) - self._at)
        self._at += count
        self._passing -= count
        self._lacks_more = not self._passing and self._at == len(self._data)
        return self._data[self._at - count : self._at]

    def pending(self) -> int:
        """Bytes for paho that `select` does not see."""
        held = 0 if self._lacks_more or self._unacknowledged else len(self._data) - self._at
        if isinstance(self._sock, ssl.SSLSocket):
            held += self._sock.pending()
        return held + len(self._told)

    def acknowledge(self) -> None:
        """Acknowledge what was taken by QoS 1. Not while paho has a packet half written."""
        if self._unacknowledged:
            self._unsent += _PUBACK + _PUBACK.join(self._unacknowledged)
            self._unacknowledged.clear()
        with contextlib.suppress(OSError):  # of a connection that ended, reading tells
            self._send_unsent()

    def send(self, buffer: bytes | bytearray) -> int:
        """Send bytes of paho, behind acknowledgements that are half written; return how many went.

        What was taken since then is acknowledged later: the bytes may hold an acknowledgement of
        an earlier packet.

        Raises:
            BlockingIOError: the socket takes nothing now.
            OSError: of the socket.
        """
        self._send_unsent()
        if self._unsent:
            raise BlockingIOError
        return self._sock.send(buffer)

    def _send_unsent(self) -> None:
        if self._unsent:
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._unsent = self._unsent[self._sock.send(self._unsent) :]

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Set whether reads and writes of the socket wait."""
        self._sock.setblocking(flag)

    # ------------------------------------------------------------------ reading

    def _take_plain(self) -> None:
        """Deliver what is plain; then paho's turn is the packet behind it, if it is there."""
        data, at = self._data, self._at
        while True:
            run, at = self._cutter.cut(data, at)
            if run is None:
                break
            self._at = at
            self._unacknowledged += run.packet_ids
            self._deliver(run)
        size = packet_size(data, at)
        if size < 0:
            size = _MALFORMED
        is_publish = at < len(data) and data[at] & 0xF0 == _PUBLISH
        may_be_plain = is_publish and size <= LONGEST_PLAIN and len(data) - at < size
        self._lacks_more = not size or may_be_plain
        if not self._lacks_more:
            self._passing = size

    def _fill(self) -> bool:
        """Read more; False at the end of the connection.

        Raises:
            BlockingIOError: nothing is there.
            OSError: of the socket, or because the server violates the protocol.
        """
        if len(self._unacknowledged) + len(self._unsent) // 4 > _MOST_UNACKNOWLEDGED:
            raise ConnectionError("the server sends more than it waits to be acknowledged")
        new = self._records() if isinstance(self._sock, ssl.SSLSocket) else self._sock.recv(_CHUNK)
        if not new:
            return False
        self._has_come = True
        self._data = self._data[self._at :] + new
        self._at = 0
        self._lacks_more = False
        return True

    def _records(self) -> bytes:
        """Read up to 128 KiB by TLS, record by record: each call gives one, often of one packet."""
        records: list[bytes] = []
        left = _CHUNK
        while left > 0:
            try:
                record = self._sock.recv(min(left, _RECORD))
            except OSError:  # also when nothing more has come
                if not records:
                    raise
                break
            if not record:
                break
            records.append(record)
            left -= len(record)
        return b"".join(records)


class TappedClient(mqtt.Client):
    """A paho client whose plain packets go another way than through `on_message`."""

    def tap(self, cutter: PublishCutter, deliver: Callable[[Run], None]) -> None:
        """Set what takes plain packets, and what gets them. Before `connect`."""
        self._cutter = cutter
        self._deliver = deliver

    def loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        """Read and write for at most `timeout` seconds; then acknowledge what the tap took.

        Returns:
            The result of paho's loop: `MQTT_ERR_SUCCESS` while the connection lasts.
        """
        code = super().loop(timeout)
        tap = self.socket()
        if isinstance(tap, Tap) and not self.want_write():
            tap.acknowledge()
        return code

    @property
    def has_more(self) -> bool:
        """Whether something was read that paho, which takes one packet in a turn, has not got."""
        tap = self.socket()
        return isinstance(tap, Tap) and tap.pending() > 0

    def _create_socket(self) -> Tap:
        return Tap(super()._create_socket(), self._cutter, self._deliver)


def are_plain(properties: bytes) -> bool:
    """Whether paho takes these properties of a PUBLISH, and none of them names its topic.

    Args:
        properties: at most 127 bytes of them, without their length.
    """
    read = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    try:
        _, size = read.unpack(  # type: ignore[no-untyped-call]
            bytes([len(properties)]) + properties
        )
    except Exception:  # noqa: BLE001 - whatever it is, paho is to say it
        return False
    return size == len(properties) + 1 and not hasattr(read, "TopicAlias")
