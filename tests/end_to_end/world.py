"""Broker, Zerobus, consumer, a publisher and the landed table, in one object."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from support.mqtt_listener import Listener, listening
from support.services import PATIENCE, MosquittoServer, mosquitto, wait_until
from support.tag_events import ServerProcess

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from end_to_end.consumer_process import TABLE, ConsumerProcess, configuration, consumer
from zerobus_local import LocalZerobus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LandedTable:
    """A Delta table under a data directory of the local Zerobus server.

    Neither commits nor data files ever change, so each is read once, however often the table is.
    """

    def __init__(
        self,
        data_dir: Path,
        name: str = TABLE,
        schema: pa.Schema = TAG_EVENTS_SCHEMA,
        order: str = "arrival_number",
        group: str = "",
    ) -> None:
        """With a `group` only the rows of that one are there, however many others landed."""
        self._path = data_dir.joinpath(*name.split("."))
        self._schema = schema
        self._order = order
        self._filters = [("group_id", "=", group)] if group else None
        self._files: dict[str, pa.Table] = {}
        self._commit = ""
        self._content = schema.empty_table()

    def read(self) -> pa.Table:
        """Everything that is in the table at this moment."""
        last = max((each.name for each in self._path.glob("_delta_log/*.json")), default="")
        if not last or last != self._commit:
            present = DeltaTable(self._path).file_uris()
            self._files = {
                each: self._files[each]
                if each in self._files
                else pq.read_table(each, filters=self._filters)
                for each in present
            }
            self._content = pa.concat_tables([self._schema.empty_table(), *self._files.values()])
            self._commit = last
        return self._content

    def _those(self, **equal: Any) -> pa.Table:
        table = self.read()
        for column, value in equal.items():
            if isinstance(value, list):
                wanted = pc.is_in(table[column], pa.array(value, table[column].type))
            else:
                wanted = pc.equal(table[column], value)
            table = table.filter(wanted)
        return table

    def rows(self, **equal: Any) -> list[dict[str, Any]]:
        """Rows whose columns have these values, or one of several, in order of arrival."""
        rows: list[dict[str, Any]] = self._those(**equal).sort_by(self._order).to_pylist()
        return rows

    def values(self, column: str, **equal: Any) -> list[Any]:
        """One column of such rows, in order of arrival."""
        values: list[Any] = self._those(**equal).sort_by(self._order)[column].to_pylist()
        return values

    def event_ids(self) -> list[str]:
        """The event_id of every row, duplicates included."""
        ids: list[str] = self.read()["event_id"].to_pylist()
        return ids

    def ids_of_values(self) -> set[str]:
        """The event_ids of what edge nodes said; the rows of deaths are the consumer's own."""
        table = self.read()
        of_death = pc.is_in(table["message_type"], pa.array(["NDEATH", "DDEATH"]))
        return set(table.filter(pc.invert(of_death))["event_id"].to_pylist())

    def wait_for(self, count: int, timeout: float = PATIENCE, **equal: Any) -> list[dict[str, Any]]:
        """Wait until at least `count` such rows landed, and return them."""
        try:
            wait_until(
                lambda: self._those(**equal).num_rows >= count, timeout, f"{count} rows of {equal}"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {len(self.rows(**equal))}") from error
        return self.rows(**equal)


@dataclass
class World:
    """A running system; the consumer is started by the test, or ready, as the fixture says."""

    server: MosquittoServer
    zerobus: Any
    consumer: ConsumerProcess
    table: LandedTable
    client: Listener

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it: what follows is later in order."""
        self.client.publish(topic, payload, retain=retain)

    def publish_quickly(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0, as edge nodes do, without waiting."""
        self.client.client.publish(topic, payload, 0)


@contextlib.contextmanager
def local_zerobus(data_dir: Path, **options: Any) -> Iterator[LocalZerobus]:
    """A Zerobus server in this process, with the table."""
    with LocalZerobus(data_dir, commit_interval=0.05, **options) as server:
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        yield server


@contextlib.contextmanager
def world(
    directory: Path,
    *,
    server: MosquittoServer | None = None,
    broker: str = "",
    zerobus_process: bool = False,
    **changes: Any,
) -> Iterator[World]:
    """Everything but the start of the consumer; `changes` are for its configuration.

    Zerobus runs in this process, where its faults can be set, or in one of its own,
    which can be killed. The broker is a new one, configured with `broker`, or `server`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    running = ServerProcess.running if zerobus_process else local_zerobus
    with (
        contextlib.nullcontext(server) if server else mosquitto(directory, broker) as broker_server,
        running(directory / "lake") as zerobus,
        consumer(
            directory, configuration(directory, broker_server.url, zerobus, **changes)
        ) as process,
        listening(broker_server) as client,
    ):
        # Small packets at once: each publish is awaited, which Nagle's algorithm makes slow.
        client.client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield World(broker_server, zerobus, process, LandedTable(directory / "lake"), client)
