"""Writes what is heard, or was captured before, into a capture: as it came or redacted."""

from __future__ import annotations

import secrets
import time
from importlib import metadata
from typing import TYPE_CHECKING, Final

from consumer.tap.capture_format import CapturedServer, Header, Kind
from consumer.tap.capture_writer import CaptureWriter
from consumer.tap.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consumer.tap.capture_format import Record
    from consumer.tap.listening import HeardBatch, Listening
    from sparkplug import Message

_PRODUCT: Final = "sparkplug-zerobus"
_KEY_BYTES: Final = 32


class Capturing:
    """A capture that is written. One thread uses it, and its writer as a context.

    Attributes:
        writer: of its files.
        messages: that were heard.
        unread: payloads that a redaction replaced as a whole, because they could not be read.
    """

    def __init__(
        self,
        path: Path,
        servers: Sequence[CapturedServer],
        *,
        redact: bool = False,
        max_bytes: int = 0,
        max_files: int = 0,
    ) -> None:
        """Begin the file.

        Args:
            path: which must not exist, nor a file that would follow it.
            servers: that the messages are of.
            redact: whether names and texts are replaced.
            max_bytes: size at which a file is ended and the next one begun; 0: never.
            max_files: how many there may be; the oldest is removed for a new one. 0: no bound.

        Raises:
            CaptureError: it cannot be made, or is there already.
        """
        self.messages = 0
        # The key is here alone: no file, log or error has it.
        self._redaction = Redaction(secrets.token_bytes(_KEY_BYTES)) if redact else None
        self._positions = {server.name: at for at, server in enumerate(servers)}
        self._let_go = 0
        header = Header(
            secrets.token_hex(16),
            _product(),
            time.time_ns() // 1_000,
            tuple(self._named(at, server) for at, server in enumerate(servers)),
            redact,
        )
        self.writer = CaptureWriter(path, header, max_bytes=max_bytes, max_files=max_files)

    @property
    def unread(self) -> int:
        """Payloads that a redaction replaced as a whole, because they could not be read."""
        return 0 if self._redaction is None else self._redaction.unread

    def take(self, batch: HeardBatch) -> None:
        """Write what a server brought: births that it keeps first, as the consumer reads them.

        Raises:
            CaptureError: the file cannot be written.
        """
        server = self._positions[batch.server]
        for messages in (batch.certificates, batch.messages):
            for message in messages:
                self._add(server, message)
        if batch.lost_us is not None:
            self.writer.lose(server, batch.lost_us)

    def copy(self, record: Record) -> None:
        """Write a record of another capture of the same servers.

        Raises:
            CaptureError: the file cannot be written.
        """
        if record.kind is Kind.LOST:
            self.writer.lose(record.server, record.message.received_us)
        else:
            self._add(record.server, record.message)

    def note_lost(self, heard: Listening) -> None:
        """Count what came and was not heard, for the end of the file."""
        let_go = heard.lost.total() + heard.bad_topics.total()
        self.writer.leave_out(let_go - self._let_go)
        self._let_go = let_go

    def _add(self, server: int, message: Message) -> None:
        self.messages += 1
        if self._redaction is not None:
            message = self._redaction.message(server, message)
        self.writer.add(server, message)

    def _named(self, at: int, server: CapturedServer) -> CapturedServer:
        if self._redaction is None:
            return server
        return CapturedServer(f"server-{at + 1}", self._redaction.site(server.site))


def _product() -> str:
    try:
        return f"{_PRODUCT} {metadata.version(_PRODUCT)}"
    except metadata.PackageNotFoundError:  # run from a directory, not installed
        return _PRODUCT
