"""A consumer reads whatever intake it is given, and asks over the connections that it is given."""

from __future__ import annotations

import pytest
from support import unconnected
from support.columnar import message, tag
from support.hand_fed import Courier, Shelf, consuming
from support.services import wait_until

from consumer.broker import OwnState
from consumer.monitor import add_metrics, status_of
from sparkplug import OwnTimestamps

TABLE = "main.ot.tag_events"


@pytest.fixture
def configuration(tmp_path):
    return unconnected.configuration(tmp_path, shutdown_timeout="0s")


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def courier(configuration):
    return Courier(configuration.servers[0])


@pytest.fixture
def consumer(configuration, shelf, courier):
    with consuming(configuration, shelf, courier) as running:
        yield running


def test_what_an_intake_brings_is_spooled(consumer, shelf):
    shelf.put(message("NBIRTH", tag("Ramp", 0), tag("Sine", 1)))
    wait_until(lambda: consumer.spooled_rows == 2)


def test_what_an_intake_brought_before_it_was_closed_is_spooled(consumer, shelf):
    shelf.put(message("NBIRTH", tag("Ramp", 0)))
    shelf.put(message("DBIRTH", tag("Level", 1), seq=1))
    assert consumer.stop() == 2


def test_births_are_asked_for_over_the_connection_of_the_server(consumer, shelf, courier):
    shelf.put(message("NDATA", tag("Ramp", 0), seq=7))
    wait_until(lambda: courier.asked)
    assert courier.asked == [("Plant", "Edge")]
    assert consumer.spooled_rows == 0


def test_a_birth_that_came_with_the_data_before_it_is_not_asked_for(consumer, shelf, courier):
    shelf.put(message("NDATA", tag("Ramp", 0), seq=7), message("NBIRTH", tag("Ramp", 0)))
    wait_until(lambda: consumer.spooled_rows)
    before = consumer.spooled_rows
    shelf.put(message("NDATA", tag("Ramp", 0, 2.0), seq=1))  # after it was seen who is to be asked
    wait_until(lambda: consumer.spooled_rows > before)
    assert courier.asked == []


@pytest.mark.parametrize("topics", [["$share/g/spBv1.0/#"], ["spBv1.0/+/+/+"]])
def test_holes_of_nodes_that_the_configured_filters_show_in_part_are_read_over(
    configuration, shelf, topics
):
    server = configuration.servers[0].model_copy(update={"topics": tuple(topics)})
    configuration = configuration.model_copy(
        update={
            "servers": (server,),
            "host": configuration.host.model_copy(update={"reorder_timeout": 0.0}),
        }
    )
    courier = Courier(server)
    with consuming(configuration, shelf, courier) as consumer:
        shelf.put(message("NBIRTH", tag("Ramp", 0)))
        for seq in (7, 3, 250):
            shelf.put(message("NDATA", tag("Ramp", 0, float(seq)), seq=seq))
        wait_until(lambda: consumer.spooled_rows == 4)
        assert consumer.telemetry.totals["rows_produced"] == 4
        shelf.put(message("NDATA", tag("Ramp", 0, 1.0), seq=1, node="Unborn"))
        wait_until(lambda: courier.asked)  # and nobody else was, before
        assert courier.asked == [("Plant", "Unborn")]


class Kept(dict):
    """What a connection remembers."""

    set = dict.__setitem__


def test_another_host_of_this_id_is_an_event_of_its_server(configuration, shelf, courier):
    table = "main.ot.sparkplug_events"
    zerobus = configuration.zerobus.model_copy(update={"events_table": table})
    courier.own_state = OwnState("historian", "plant", Kept(), OwnTimestamps())
    courier.own_state.will()
    courier.own_state.birth()
    with consuming(
        configuration.model_copy(update={"zerobus": zerobus}), shelf, courier
    ) as consumer:
        courier.own_state.received(b'{"online":true,"timestamp":5}', retained=False)
        wait_until(lambda: consumer.spool.pending_rows(table) == 1, what="the event")
        add_metrics(consumer)
        name = "sparkplug_zerobus_foreign_host_births_total"
        assert consumer.telemetry.registry.get_sample_value(name, {"server": "plant"}) == 1
        [server] = status_of(consumer)["servers"]
        assert (server["foreign_host_births"], server["state_answers"]) == (1, 0)
