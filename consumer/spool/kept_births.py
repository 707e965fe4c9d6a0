"""The births in a spool's file, for who looks: read by a connection of their own, never changed."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from consumer.errors import SpoolDamaged
from consumer.spool import file as spool_file
from consumer.spool.birth_bytes import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OwnerPlace = tuple[str, str, str, str]
"""Server, group id, edge node id, and device id, empty for the node itself."""


class KeptBirth(NamedTuple):
    """The last birth of a node or device: topic, payload, and its arrival, µs since 1970 UTC."""

    topic: str
    payload: bytes
    received_us: int


class KeptBirths:
    """The births in a spool's file. Used by one thread at a time; made by `kept_births_of`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def arrivals(self) -> dict[OwnerPlace, int]:
        """When the birth of each node and device came, µs since 1970 UTC."""
        rows = self._db.execute(
            "SELECT server, group_id, edge_node_id, device_id, received_us FROM births"
        )
        return {(server, group, node, device): at for server, group, node, device, at in rows}

    def get(self, owner: OwnerPlace) -> KeptBirth | None:
        """The birth of a node or device; None if it is not kept, or damaged."""
        row = self._db.execute(
            "SELECT topic, payload, received_us FROM births "
            "WHERE server = ? AND group_id = ? AND edge_node_id = ? AND device_id = ?",
            owner,
        ).fetchone()
        if row is None:
            return None
        topic, payload, received_us = row
        try:
            return KeptBirth(topic, unpacked(payload), received_us)
        except SpoolDamaged:
            return None


@contextlib.contextmanager
def kept_births_of(path: Path) -> Iterator[KeptBirths]:
    """The births in a spool's file, for as long as they are looked at.

    Raises:
        SpoolError: there is no such file, it is no spool of this release, or it cannot be read.
    """
    try:
        with contextlib.closing(spool_file.open_existing(path, read_only=True)) as db:
            yield KeptBirths(db)
    except sqlite3.Error as error:
        raise spool_file.spool_error(error, path) from error
