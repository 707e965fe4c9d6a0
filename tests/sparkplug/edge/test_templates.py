"""Tags that an edge node publishes as members of template instances."""

from sparkplug.datatypes import DataType
from sparkplug.edge import EdgeNode, EdgeNodeOptions, Metric, Publish, Update
from sparkplug.pb.sparkplug_b_pb2 import Payload

NOW_MS = 1_795_443_214_000
INSTANCES = {"A/M1": "Motor", "A/M1/bearing": "Bearing", "A/M2": "Motor", "A/M2/bearing": "Bearing"}
NAMES = ("Ramp", "A/M1/speed", "A/M1/bearing/temp", "A/M2/speed", "A/M2/bearing/temp")


def tags():
    return [
        Metric(name=name, data_type=DataType.Double, value=1.0, timestamp_ms=NOW_MS)
        for name in NAMES
    ]


def published(actions):
    return [Payload.FromString(each.payload) for each in actions if isinstance(each, Publish)]


def online(**options):
    node = EdgeNode("G", "N", tags(), EdgeNodeOptions(instances=INSTANCES, **options))
    node.connect(NOW_MS)
    (birth,) = published(node.connected(NOW_MS))
    return node, {metric.name: metric for metric in birth.metrics}


def tree(template):
    """Members by name: a value, or the members of an instance."""
    return {
        each.name: tree(each.template_value)
        if each.HasField("template_value")
        else each.double_value
        for each in template.metrics
    }


def test_a_birth_has_the_instances_and_defines_their_templates():
    _, birth = online()
    assert set(birth) == {
        *("bdSeq", "Node Control/Rebirth", "Ramp", "A/M1", "A/M2"),
        *("_types_/Motor", "_types_/Bearing"),
    }
    assert birth["A/M1"].template_value.template_ref == "Motor"
    assert tree(birth["A/M1"].template_value) == {"speed": 1.0, "bearing": {"temp": 1.0}}
    definition = birth["_types_/Motor"].template_value
    assert definition.is_definition
    assert [each.name for each in definition.metrics] == ["speed", "bearing"]
    assert definition.metrics[0].datatype == DataType.Double
    assert definition.metrics[1].template_value.template_ref == "Bearing"


def test_data_has_one_metric_for_each_outermost_instance_and_only_what_changed():
    node, birth = online()
    updates = [Update(name, 2.0, NOW_MS + 1) for name in (NAMES[0], NAMES[2], NAMES[3])]
    (data,) = published(node.update(None, updates, NOW_MS + 1))
    found = {metric.alias: metric for metric in data.metrics}
    assert all(not metric.name for metric in data.metrics)
    aliases = {birth[name].alias for name in ("Ramp", "A/M1", "A/M2")}
    assert set(found) == aliases
    assert len(aliases) == 3
    assert tree(found[birth["A/M1"].alias].template_value) == {"bearing": {"temp": 2.0}}
    assert tree(found[birth["A/M2"].alias].template_value) == {"speed": 2.0}


def test_without_aliases_instances_are_known_by_their_names():
    node, _ = online(aliases=False)
    (data,) = published(node.update(None, [Update(NAMES[1], 2.0, NOW_MS + 1)], NOW_MS + 1))
    assert [metric.name for metric in data.metrics] == ["A/M1"]
