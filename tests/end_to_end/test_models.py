"""Templates as gateways publish them, through the consumer into Delta, and the views over that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from oracle.messages import payload
from support.columnar import tag
from support.models import analysed, in_duckdb, models_on_disk
from support.services import PATIENCE, wait_until
from support.template_messages import definition, instance, member, nested, part, reading

from consumer.simulator import CONVEYOR_INSTANCES, EdgeNodeOptions, Gateways, MqttTarget
from consumer.simulator.tags import BAD_NOT_CONNECTED, BAD_STALE
from end_to_end.side_world import METADATA, landed, side_world
from sparkplug import parse_topic
from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Metric

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
AT = 1_795_443_214_000
BAD = {"keys": ["Quality"], "values": [{"type": 3, "int_value": 0}]}


class Gateway:
    """An edge node that publishes its UDTs as templates, messages by hand."""

    def __init__(self, publish, node):
        self._publish, self._node, self._seq = publish, node, 0

    def says(self, verb, at_ms, *metrics):
        self._seq = 0 if verb == "NBIRTH" else self._seq + 1
        sent = payload(*metrics, seq=self._seq, timestamp=at_ms)
        self._publish(f"spBv1.0/Plant/{verb}/{self._node}", sent)


def motor(name, speed, temp, at_ms, **fields):
    bearing = nested("bearing", member("temp", temp), ref="Bearing")
    return instance(name, member("speed", speed), bearing, timestamp=at_ms, **fields)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Both tables, with all that was sent twice because of a kill."""
    directory = tmp_path_factory.mktemp("models")
    with side_world(directory) as system:
        system.consumer.start_ready()
        system.zerobus.faults.acks.drop()  # what lands is sent once more after the kill
        east, west = Gateway(system.publish, "East"), Gateway(system.publish, "West")
        defined = [
            definition("_types_/Bearing", member("temp")),
            definition(
                "_types_/Motor",
                member("speed"),
                nested("bearing", ref="Bearing"),
                Metric(name="serial", datatype=DataType.Int64),
            ),
        ]
        born = [motor(f"Line 1/M{n}", float(n), 20.0 + n, AT, alias=n) for n in (1, 2)]
        line = instance("Hall", nested("drive", member("on", 1.0), ref="Drive"), ref="Line")
        east.says("NBIRTH", AT, *defined, *born, line | {"timestamp": AT}, tag("Plain", alias=9))
        west.says("NBIRTH", AT, motor("M1", 5.0, 30.0, AT) | {"alias": 1})
        for second in (1, 2, 3):
            at_ms = AT + 1000 * second
            changed = part(1, reading("speed", 1.0 + second / 10), timestamp=at_ms)
            east.says("NDATA", at_ms, changed)
        hot = Metric(name="temp", double_value=95.0, properties=BAD)
        east.says("NDATA", AT + 3500, part(2, nested("bearing", hot), timestamp=AT + 3500))
        said = 3 * 2 + 1 + 1 + 4
        system.consumer.wait_for(
            lambda: system.consumer.status()["rows_produced"] == said, "all of it in the spool"
        )
        system.table.wait_for(said)
        landed(directory, METADATA).wait_for(9)
        system.consumer.kill()
        system.zerobus.faults.clear()
        system.consumer.start_ready()
        # The first one, once more, with another definition: it has a counter instead.
        counter = Metric(name="starts", datatype=DataType.Int64, long_value=2**53 + 1)
        anew = instance("M1", member("speed", 6.0), counter, timestamp=AT + 9000)
        west.says("NBIRTH", AT + 9000, anew)
        system.table.wait_for(2, metric_name=["M1/speed", "M1/starts"])
        landed(directory, METADATA).wait_for(1, metric_name="M1/starts")
        system.consumer.wait_delivered()
        found = {
            "tag_events": system.table.read(),
            "tag_metadata": landed(directory, METADATA).read(),
        }
        assert system.consumer.stop() == 0
    ids = found["tag_events"]["event_id"].to_pylist()
    assert len(ids) > len({*ids})
    found["path"] = directory / "lake" / METADATA.replace(".", "/")
    return found


@pytest.fixture(scope="module")
def database(tables):
    models = models_on_disk(tables["path"])
    with analysed({name: tables[name] for name in ("tag_events", "tag_metadata")}, models) as found:
        yield found


def test_each_template_has_a_view_and_plain_tags_have_none(tables):
    found = {model.template: model.view for model in models_on_disk(tables["path"])}
    assert found == {
        "Bearing": "udt_bearing",
        "Drive": "udt_drive",
        "Line": "udt_line",
        "Motor": "udt_motor",
    }


def test_what_was_published_is_in_the_views_each_once(database):
    changed = (
        'SELECT instance, epoch_ms(event_time) - {0}, quality, speed, "bearing.temp" '
        "FROM udt_motor{1} WHERE edge_node_id = 'East' ORDER BY ALL"
    )
    assert database.sql(changed.format(AT, "")).fetchall() == [
        ("Line 1/M1", 0, "GOOD", 1.0, 21.0),
        ("Line 1/M1", 1000, "GOOD", 1.1, None),
        ("Line 1/M1", 2000, "GOOD", 1.2, None),
        ("Line 1/M1", 3000, "GOOD", 1.3, None),
        ("Line 1/M2", 0, "GOOD", 2.0, 22.0),
        ("Line 1/M2", 3500, "BAD", None, 95.0),
    ]
    assert database.sql(changed.format(AT, "_filled")).fetchall() == [
        ("Line 1/M1", 0, "GOOD", 1.0, 21.0),
        ("Line 1/M1", 1000, "GOOD", 1.1, 21.0),
        ("Line 1/M1", 2000, "GOOD", 1.2, 21.0),
        ("Line 1/M1", 3000, "GOOD", 1.3, 21.0),
        ("Line 1/M2", 0, "GOOD", 2.0, 22.0),
        ("Line 1/M2", 3500, "BAD", 2.0, 95.0),
    ]


def test_the_latest_values_are_those_of_the_last_births_and_data(database):
    latest = (
        'SELECT edge_node_id, instance, quality, speed, "bearing.temp", starts '
        "FROM udt_motor_latest ORDER BY ALL"
    )
    assert database.sql(latest).fetchall() == [
        ("East", "Line 1/M1", "GOOD", 1.3, 21.0, None),
        ("East", "Line 1/M2", "BAD", 2.0, 95.0, None),
        ("West", "M1", "GOOD", 6.0, None, 2**53 + 1),
    ]


def test_a_template_of_nothing_but_instances_has_their_members(database):
    shown = database.sql('SELECT instance, "drive.on" FROM udt_line').fetchall()
    assert shown == [("Hall", 1.0)]


def test_trends_have_every_published_value_once(database):
    trend = "SELECT count(*), count(DISTINCT tag_path) FROM tag_events_trend WHERE quality = 'GOOD'"
    values = 6 + 1 + 1 + 3 + 2
    assert database.sql(trend).fetchall() == [(values, 9)]


# Against what the simulator meant to publish


class Meant:
    """Takes down the values of the simulated conveyors: by node, instance and time."""

    def __init__(self):
        self.values = {}

    def record(self, publish):
        topic = parse_topic(publish.topic)
        if topic.device_id != "Conveyor 1":
            return
        for said in publish.observations:
            for path, template in CONVEYOR_INSTANCES.items():
                if said.name.startswith(path + "/"):
                    member = said.name.removeprefix(path + "/")
                    key = (template, topic.group_id, path, said.timestamp_ms)
                    self.values.setdefault(key, {})[member] = (said.value, said.quality)

    def rows(self, template):
        """Group, instance, time, and what was said of the members: in order of time."""
        return [
            (*key[1:], said)
            for key, said in sorted(self.values.items(), key=lambda each: each[0][3])
            if key[0] == template
        ]


WORST = {None: 0, BAD_NOT_CONNECTED: 2, BAD_STALE: 3}
NAMES = ("GOOD", "UNCERTAIN", "BAD", "STALE")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What simulated gateways meant, and the views over what landed of it."""
    directory, meant = tmp_path_factory.mktemp("simulated"), Meant()
    with side_world(directory) as system:
        system.consumer.start_ready()
        target = MqttTarget(system.server.url)
        fleet = Gateways(
            target, 2, 400, 5, options=EdgeNodeOptions(instances=CONVEYOR_INSTANCES), ledger=meant
        )
        fleet.start()
        assert fleet.wait_online(PATIENCE)
        wait_until(lambda: fleet.published > 4000, what="4000 values")
        fleet.pause()
        wait_until(lambda: fleet.quiet, what="all of them sent")
        sent = fleet.published
        system.consumer.wait_for(
            lambda: system.consumer.status()["rows_produced"] >= sent, "all of them"
        )
        system.consumer.wait_delivered()
        assert fleet.stop(PATIENCE)
        assert system.consumer.stop() == 0
        tables = {
            "tag_events": system.table.read(),
            "tag_metadata": landed(directory, METADATA).read(),
        }
    models = models_on_disk(directory / "lake" / METADATA.replace(".", "/"))
    with analysed(tables, models) as database:
        yield meant, models, database


def wanted(value, column):
    """A value as its column has it."""
    if column.delta_type == "TIMESTAMP":
        return None if value is None else value / 1000
    return value


def selected(model):
    columns = ", ".join(
        f'epoch("{each.name}")' if each.delta_type == "TIMESTAMP" else f'"{each.name}"'
        for each in model.columns
    )
    return f"SELECT group_id, instance, epoch_ms(event_time), quality, {columns} FROM"


@pytest.mark.parametrize("template", ["Conveyor", "Motor", "Bearing"])
def test_the_views_have_every_value_that_simulated_gateways_meant_and_no_other(simulated, template):
    meant, models, database = simulated
    (model,) = [each for each in models if each.template == template]
    said = meant.rows(template)
    assert len(said) > 20
    changed = [
        (
            *key,
            NAMES[max(WORST[quality] for _, quality in members.values())],
            *(wanted(members.get(c.member, (None,))[0], c) for c in model.columns),
        )
        for *key, members in said
    ]
    rows = database.sql(f"{selected(model)} {model.view}").fetchall()
    deaths = {row for row in rows if row[3:] == ("STALE", *[None] * len(model.columns))}
    assert {*rows} - deaths == {*changed} - deaths
    assert len(rows) == len({*rows})

    states, filled = {}, set()
    for group, path, at_ms, members in said:
        state = states.setdefault((group, path), {})
        state |= members
        worst = NAMES[max(WORST[quality] for _, quality in state.values())]
        values = (wanted(state.get(c.member, (None,))[0], c) for c in model.columns)
        filled.add((group, path, at_ms, worst, *values))
    rows = database.sql(f"{selected(model)} {model.view}_filled").fetchall()
    last_ms = max(at_ms for _, _, at_ms, _ in said)
    assert {row for row in rows if row[2] <= last_ms} == filled


QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_questions_of_the_page_have_answers(database, question):
    (statement,) = in_duckdb(question)
    rows = database.sql(f"SELECT count(*) FROM ({statement})").fetchall()
    assert rows[0][0] > 0
