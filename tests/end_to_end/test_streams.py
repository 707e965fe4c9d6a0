"""The whole consumer with several streams: rows, status and metrics."""

from __future__ import annotations

from end_to_end.gateway import Gateway, metric
from end_to_end.world import world

NODES = 24


def test_three_streams_carry_the_rows_of_many_nodes_and_each_of_them_is_shown(tmp_path):
    with world(tmp_path, zerobus={"streams": 3}) as system:
        system.consumer.start_ready()
        gateways = [Gateway(system.publish, "Plant", f"Edge{n}") for n in range(NODES)]
        for gateway in gateways:
            gateway.born(metric("Level", value=0.0))
        for value in range(1, 6):
            for gateway in gateways:
                gateway.data(metric("Level", value=float(value)))
        system.table.wait_for(6 * NODES)
        counters = system.zerobus.counters()
        assert counters.streams_opened == counters.streams_open == 3
        for gateway in gateways:
            rows = system.table.rows(edge_node_id=gateway.node)
            assert [row["numeric_value"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        streams = system.consumer.status()["streams"]
        assert [(each["stream"], each["state"]) for each in streams] == [
            (1, "OPENED"),
            (2, "OPENED"),
            (3, "OPENED"),
        ]
        assert min(each["rows_acked"] for each in streams) > 0
        assert sum(each["rows_acked"] for each in streams) == 6 * NODES
        metrics = system.consumer.get("/metrics").text
        assert metrics.count('sparkplug_zerobus_stream_state{state="OPENED",stream=') == 3
        assert f"sparkplug_zerobus_rows_acknowledged_total {6 * NODES}.0" in metrics
