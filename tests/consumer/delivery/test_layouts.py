"""What was spooled or set aside under another layout is sent under that of the table."""

import contextlib

from deltalake import DeltaTable
from support.delivering import QUICK, QUICK_STREAM
from support.services import PATIENCE
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, TABLE, event, events, sink_for

from consumer.delivery.table import TableDelivery
from consumer.rows.descriptors import descriptor_bytes
from consumer.rows.encoded import EncodedRows
from consumer.rows.layouts import layout_of_module
from consumer.spool import Spool
from consumer.spool.dead_letters import DeadLetters
from zerobus_local import LocalZerobus

LAYOUT = layout_of_module(18, "source_system", "TIMESTAMP")


def landed(tmp_path):
    table = DeltaTable(str(tmp_path / "tables" / TABLE.replace(".", "/")))
    return sorted(table.to_pyarrow_table()["numeric_value"].to_pylist())


def deliver(tmp_path, streams=1):
    """Send all that the spool has to a table of the module."""
    with LocalZerobus(
        tmp_path / "tables", credentials={CLIENT_ID: SECRET}, commit_interval=0.02
    ) as server:
        server.create_table(TABLE, LAYOUT.table.arrow_schema)
        spool = Spool.open(tmp_path / "spool.db", sync="off")
        schema_id = spool.schemas.register(descriptor_bytes(LAYOUT.table.descriptor))
        delivery = TableDelivery(
            spool,
            sink_for(server, options=QUICK_STREAM),
            TABLE,
            schema_id,
            QUICK,
            streams=streams,
            layout=LAYOUT,
        )
        delivery.start()
        left = delivery.drain(PATIENCE)
        delivery.stop(PATIENCE)
        letters = spool.stats().dead_letters
        spool.close()
        return left, letters


def spooled(tmp_path, rows):
    spool = Spool.open(tmp_path / "spool.db", sync="off")
    batch = spool.append(TABLE, rows, schema_id=spool.schemas.register(DESCRIPTOR))
    return spool, batch


def test_batches_of_the_default_land_in_the_table_of_the_module_over_several_streams(tmp_path):
    spool, _ = spooled(tmp_path, events(0, 200))
    spool.close()
    assert deliver(tmp_path, streams=2) == (0, 0)
    assert landed(tmp_path) == [float(number) for number in range(200)]


def test_a_row_that_is_no_message_becomes_a_dead_letter_and_costs_no_other(tmp_path):
    spool, _ = spooled(tmp_path, EncodedRows.from_messages([event(0), b"\xff\xff", event(2)]))
    spool.close()
    assert deliver(tmp_path) == (0, 1)
    assert landed(tmp_path) == [0.0, 2.0]


def test_a_dead_letter_of_another_layout_is_retried_under_that_of_the_table(tmp_path):
    spool, batch = spooled(tmp_path, events(0, 3))
    spool.letters.set_aside(batch, 0, 3, reason="poison", error="column seq")
    spool.trim([batch.batch_id])
    spool.close()
    with contextlib.closing(DeadLetters(tmp_path / "spool.db")) as found:
        found.retry([each.name for each in found.list()])
    spool = Spool.open(tmp_path / "spool.db", sync="off")
    assert spool.letters.send_again() == {TABLE: 3}
    spool.close()
    assert deliver(tmp_path) == (0, 0)
    assert landed(tmp_path) == [0.0, 1.0, 2.0]
