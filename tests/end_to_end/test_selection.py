"""Which rows there are and how they are named, as the configuration says."""

from __future__ import annotations

from oracle.event_id import event_id, identity
from support.arrival_numbers import counted
from support.mqtt_listener import listening
from support.services import mosquitto

from end_to_end.consumer_process import configuration, consumer
from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import LandedTable, local_zerobus, world


def places(rows):
    return [
        "/".join(row[name] for name in ("group_id", "device_id", "metric_name") if row[name])
        for row in rows
    ]


def test_globs_choose_what_lands_and_the_rest_disturbs_nobody(tmp_path):
    servers = {
        "include": ["Plant */Edge/Pump/*", "Plant 1/Edge/Level"],
        "exclude": ["*/Speed", "Plant 3/*"],
    }
    with world(tmp_path, servers=servers) as system:
        system.consumer.start_ready()
        for number in (1, 2, 3):
            gateway = Gateway(system.publish, f"Plant {number}")
            gateway.born(metric("Level", alias=0), metric("Flow", alias=1))
            gateway.device_born("Pump", metric("Speed", alias=2), metric("Power", alias=3))
            gateway.device_born("Fan", metric("Power", alias=4))
            for at in (1, 2):
                gateway.data(
                    metric(None, timestamp=MEASURED_MS + at, alias=0),
                    metric(None, timestamp=MEASURED_MS + at, alias=1),
                )
                for device, alias in (("Pump", 2), ("Pump", 3), ("Fan", 4)):
                    gateway.data(
                        metric(None, timestamp=MEASURED_MS + at, alias=alias), device=device
                    )
        system.table.wait_for(9)
        system.consumer.wait_delivered()
        assert sorted(places(system.table.rows())) == 3 * ["Plant 1/Level"] + 3 * [
            "Plant 1/Pump/Power"
        ] + 3 * ["Plant 2/Pump/Power"]
        assert system.consumer.reasons().keys() == {"host_state"}
        numbers = sorted(row["arrival_number"] for row in system.table.rows())
        assert counted(numbers, tmp_path / "spool.db") == list(range(1, 10))


def test_without_birth_values_only_data_lands_and_aliases_still_resolve(tmp_path):
    with world(tmp_path, normalize={"emit_births": False}) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Level", value=-1.0, alias=0))
        gateway.device_born("Pump", metric("Speed", value=-1.0, alias=1))
        gateway.data(metric(None, value=1.0, alias=1, timestamp=MEASURED_MS + 1), device="Pump")
        gateway.born(metric("Level", value=-1.0, alias=0))
        gateway.data(metric(None, value=2.0, alias=0, timestamp=MEASURED_MS + 2))
        rows = system.table.wait_for(2)
        assert [(row["metric_name"], row["numeric_value"]) for row in rows] == [
            ("Speed", 1.0),
            ("Level", 2.0),
        ]


def test_transient_values_land_when_asked_for(tmp_path):
    with world(tmp_path, normalize={"emit_transient": True}) as system:
        system.consumer.start_ready()
        Gateway(system.publish, "Plant").born(metric("Now", is_transient=True))
        assert places(system.table.wait_for(1)) == ["Plant/Now"]


def test_templates_name_the_rows_and_the_site_names_the_observation(tmp_path):
    # The same edge node over two servers of a site, and over one of another site.
    sites = {"north-1": "north", "north-2": "north", "south": "south"}
    with (
        mosquitto(tmp_path) as server,
        local_zerobus(tmp_path / "lake") as zerobus,
        listening(server) as client,
    ):
        servers = [
            {
                "name": name,
                "site": site,
                "url": server.url,
                "source_system_id": "{site}:{server}:{group_id}/{edge_node_id}",
            }
            for name, site in sites.items()
        ]
        config = configuration(
            tmp_path,
            "",
            zerobus,
            servers=servers,
            host={"mode": "passive"},  # one broker plays three, and has room for one STATE
            normalize={"tag_path": "[{site}]{group_id}/{device_id}/{metric}"},
        )
        with consumer(tmp_path, config) as process:
            process.start_ready()
            gateway = Gateway(client.publish, "Plant")
            gateway.born(metric("Level/High", value=0.5))
            gateway.device_born("Pump", metric("Speed", value=1.5))
            rows = LandedTable(tmp_path / "lake").wait_for(6)
            assert process.stop() == 0

    found = {
        (row["source_system_id"], row["tag_path"], row["tag_provider"]): row["event_id"]
        for row in rows
    }
    expected = {}
    for name, site in sites.items():
        for device, metric_name, path, value in (
            (None, "Level/High", "Plant/Level/High", 0.5),
            ("Pump", "Speed", "Plant/Pump/Speed", 1.5),
        ):
            tag = identity(site, "Plant", "Edge", device, metric_name)
            values = {
                "numeric_value": value,
                "integer_value": None,
                "string_value": None,
                "boolean_value": None,
            }
            expected[f"{site}:{name}:Plant/Edge", f"[{site}]{path}", site] = event_id(
                tag, MEASURED_MS * 1_000, values, 192
            )
    assert found == expected
    assert len(set(found.values())) == 4
