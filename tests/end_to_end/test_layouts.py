"""Tables that users have already: all rows land under their columns, also those spooled before."""

import pytest
from oracle.messages import metric, payload

from consumer.config import configured_layout, parse
from end_to_end.world import LandedTable, world
from sparkplug.datatypes import DataType

MINE = "main.plant.mine"
MODULE_14 = {
    "profile": "ignition-module",
    "ignition_module": {"columns": 14, "source_column": "source_system_id", "event_time": "BIGINT"},
}
MODULE_18 = {"profile": "ignition-module"}
COLUMNS = {
    "columns": [{"numeric_value": "v"}, "event_id", {"event_time": "ts"}, {"tag_path": "tag"}]
}
FORMS = {"14": MODULE_14, "18": MODULE_18, "columns": COLUMNS}


def schema_of(system, normalize):
    configuration = parse({**system.consumer.configuration, "normalize": normalize})
    return configured_layout(configuration.normalize).table.arrow_schema


def landing(system, tmp_path, normalize):
    """The table that a site has, in its own form."""
    schema = schema_of(system, normalize)
    system.zerobus.create_table(MINE, schema)
    return LandedTable(tmp_path / "lake", MINE, schema, order="event_id")


def publish(system, first, count):
    at = 1_700_000_000_000
    if not first:
        declared = metric("Ramp", DataType.Double, alias=0, double_value=-1.0, timestamp=at)
        system.publish("spBv1.0/Plant/NBIRTH/Edge", payload(declared, seq=0, timestamp=at))
    for number in range(first, first + count):
        changed = metric(alias=0, double_value=float(number), timestamp=at + 1 + number)
        system.publish(
            "spBv1.0/Plant/NDATA/Edge", payload(changed, seq=(number + 1) % 256, timestamp=at)
        )


def numbers(rows, column):
    return sorted(row[column] for row in rows)


def value_column(normalize):
    return "v" if "columns" in normalize else "numeric_value"


@pytest.mark.parametrize("form", FORMS)
def test_rows_land_in_a_table_of_this_form(tmp_path, form):
    normalize = FORMS[form]
    with world(tmp_path, normalize=normalize, zerobus={"table": MINE}) as system:
        table = landing(system, tmp_path, normalize)
        system.consumer.start_ready()
        publish(system, 0, 20)
        rows = table.wait_for(21)
        assert numbers(rows, value_column(normalize)) == [float(n) for n in range(-1, 20)]
        assert len({row["event_id"] for row in rows}) == 21
        assert system.consumer.stop() == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, MODULE_18), (MODULE_14, COLUMNS), (MODULE_18, {}), ({}, COLUMNS)],
    ids=["default to 18", "14 to columns", "18 to default", "default to columns"],
)
def test_what_was_spooled_under_another_layout_lands_once_under_that_of_now(
    tmp_path, before, after
):
    with world(tmp_path, normalize=before, zerobus={"table": MINE}) as system:
        system.consumer.start()  # the table is not there yet: all rows wait
        system.consumer.wait_for(
            lambda: system.consumer.status()["servers"][0]["connected"], "the MQTT server"
        )
        publish(system, 0, 20)
        system.consumer.wait_for(
            lambda: system.consumer.status()["spooled_rows"] >= 21, "spooled rows"
        )
        system.consumer.kill()

        system.consumer.configure({"normalize": after})
        table = landing(system, tmp_path, after)
        system.consumer.start_ready()
        publish(system, 20, 10)
        rows = table.wait_for(31)
        found = {row["event_id"]: row[value_column(after)] for row in rows}
        assert sorted(found.values()) == [float(n) for n in range(-1, 30)]
        assert len(rows) == len(found) == 31
        assert "rows that were spooled under other columns" in system.consumer.log()
        assert system.consumer.stop() == 0


def test_rows_of_a_table_that_is_not_configured_any_more_wait_until_it_is_again(tmp_path):
    with world(tmp_path, zerobus={"table": MINE}) as system:
        system.consumer.start()
        system.consumer.wait_for(
            lambda: system.consumer.status()["servers"][0]["connected"], "the MQTT server"
        )
        publish(system, 0, 5)
        system.consumer.wait_for(
            lambda: system.consumer.status()["spooled_rows"] >= 6, "spooled rows"
        )
        system.consumer.kill()
        before = system.consumer.configuration["zerobus"]
        system.consumer.configure({"zerobus": {**before, "table": "main.plant.tag_events"}})
        system.consumer.start_ready()
        system.consumer.wait_for_log(f"6 rows for {MINE} wait in the spool")
        assert system.consumer.stop() == 0

        system.consumer.configure({"zerobus": before, "normalize": MODULE_18})
        table = landing(system, tmp_path, MODULE_18)
        system.consumer.start_ready()
        rows = table.wait_for(6)
        assert len({row["event_id"] for row in rows}) == len(rows) == 6
        assert system.consumer.stop() == 0
