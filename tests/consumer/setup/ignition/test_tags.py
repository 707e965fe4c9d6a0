"""Sample tags: in folders that become group, node and device, with expressions that compute."""

from __future__ import annotations

import json
import math

import pytest
from support.program import run

from consumer.errors import ConfigurationError
from consumer.setup.ignition.tags import sample_tags

DAY_MS = 86_400_000


def leaves(folder, path=()):
    for each in folder["tags"]:
        if each["tagType"] == "Folder":
            yield from leaves(each, (*path, each["name"]))
        else:
            yield "/".join((*path, each["name"])), each


def of(tree):
    return dict(leaves({"tags": [tree]}))


def computed(tag, now_ms):
    """The value of an expression, whose language is Python's in what is used of it."""
    names = {"toMillis": lambda now: now, "now": lambda _rate: now_ms, "sin": math.sin}
    return eval(tag["expression"], names | {"floor": math.floor})


def test_folders_are_group_node_and_device():
    found = of(sample_tags("Plant", "Line-1", ["Press", "Oven", "Press"]))
    levels = [path.split("/") for path in found]
    assert {tuple(each[:3]) for each in levels} == {("Edge Nodes", "Plant", "Line-1")}
    assert [*dict.fromkeys(each[3] for each in levels)] == ["Press", "Oven"]
    assert {each[4] for each in levels} == {"Ramp", "Sine", "Realistic", "Writeable"}


def test_each_tag_says_what_it_is():
    for path, tag in of(sample_tags("G", "N", ["D"])).items():
        assert tag["tagType"] == "AtomicTag"
        assert tag["dataType"] in {"Float8", "Int8", "Int4", "Boolean", "String"}, path
        assert tag["documentation"]
        assert tag["valueSource"] in {"expr", "memory"}
        if tag["valueSource"] == "memory":
            kinds = {"Boolean": bool, "Int4": int, "Float8": float, "String": str}
            assert type(tag["value"]) is kinds[tag["dataType"]]
        else:
            assert (tag["executionMode"], tag["executionRate"]) == ("FixedRate", 1000)


def test_measured_values_stay_in_their_range_and_move():
    for tag in of(sample_tags("G", "N", ["D"])).values():
        if "engLow" in tag:
            values = [computed(tag, 20_000 * DAY_MS + 997 * each) for each in range(2000)]
            assert tag["engLow"] <= min(values) < max(values) <= tag["engHigh"]
            assert len(set(values)) > 9


def test_ramps_rise_from_low_to_high_in_their_period():
    ramps = of(sample_tags("G", "N", ["D"]))
    for number, period in ((0, 10), (1, 60), (2, 600)):
        tag = ramps[f"Edge Nodes/G/N/D/Ramp/Ramp{number}"]
        assert f"in {period} s" in tag["documentation"]
        start = 20_000 * DAY_MS
        assert [round(computed(tag, start + period * 100 * each)) for each in range(11)] == [
            *range(0, 100, 10),
            0,
        ]


def test_ramp_and_sine_may_come_from_a_simulator():
    found = of(sample_tags("G", "N", ["D"], "Sim 1"))
    ramp = found["Edge Nodes/G/N/D/Ramp/Ramp1"]
    assert ramp["valueSource"] == "opc"
    assert ramp["opcItemPath"] == "ns=1;s=[Sim 1]_Meta:Ramp/Ramp1"
    assert found["Edge Nodes/G/N/D/Sine/Sine0"]["opcServer"] == "Ignition OPC UA Server"
    assert found["Edge Nodes/G/N/D/Realistic/Running"]["valueSource"] == "expr"


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", " a", "a ", "a.b", "[a]", "-a"])
def test_a_name_that_is_none_of_a_tag_is_refused(name):
    with pytest.raises(ConfigurationError, match="cannot be the name of a folder of tags"):
        sample_tags("G", name, ["D"])


def test_the_command_prints_them_as_json():
    done = run("ignition", "tags", "--group", "Ünit 1", "--device", "A", "--device", "B")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == sample_tags("Ünit 1", "Line-1", ["A", "B"])
    assert "into the provider itself" in done.stderr
