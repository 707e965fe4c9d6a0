"""Captures that are made by hand, and what is in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.tap.capture_format import CapturedServer, Header
from consumer.tap.capture_reader import CaptureReader
from consumer.tap.capture_writer import CaptureWriter
from sparkplug import Message

if TYPE_CHECKING:
    from pathlib import Path

BEGUN_US = 1_700_000_000_000_000
HEADER = Header("0" * 32, "sparkplug-zerobus test", BEGUN_US, (CapturedServer("plant-a"),))


def write_capture(path: Path, messages, *, lost_at=None, header=HEADER) -> Path:
    """A capture of messages of one server; (topic, payload) come a millisecond apart.

    `lost_at`: the connection is lost before the message of this number.
    """
    with CaptureWriter(path, header) as writer:
        for number, each in enumerate(messages):
            at_us = BEGUN_US + 1_000 * number
            message = each if isinstance(each, Message) else Message(*each, at_us)
            if number == lost_at:
                writer.lose(0, message.received_us)
            writer.add(0, message)
    return path


def messages_in(path: Path) -> list[Message]:
    """The messages of a capture that ended in order."""
    with CaptureReader(path) as reader:
        return [record.message for record in reader.records() if record.message.topic]
