"""The templates of tag_path and source_system_id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import ConfigurationError
from consumer.rows.templates import PLACEHOLDERS, PathTemplate, check_template

DEFAULT = "[MQTT Engine]Edge Nodes/{group_id}/{edge_node_id}/{device_id}/{metric}"


def fill(template, device="Boiler", metric="Line/Ramp", server="plant-a", site=""):
    return PathTemplate(template, server=server, site=site).fill("Plant", "Edge", device, metric)


@pytest.mark.parametrize(
    ("template", "device", "expected"),
    [
        (DEFAULT, "Boiler", "[MQTT Engine]Edge Nodes/Plant/Edge/Boiler/Line/Ramp"),
        (DEFAULT, None, "[MQTT Engine]Edge Nodes/Plant/Edge/Line/Ramp"),
        ("{group_id}/{edge_node_id}", "Boiler", "Plant/Edge"),
        ("{device_id}", None, ""),
        ("a/{device_id}", None, "a"),
        ("{device_id}/a", None, "a"),
        ("a/dev {device_id}/b", None, "a/b"),  # the whole level goes
        ("{edge_node_id}-{device_id}/b", None, "Edge-/b"),  # one of them has a value
        ("{edge_node_id}-{device_id}/b", "Boiler", "Edge-Boiler/b"),
        ("a//b", None, "a//b"),
        ("no placeholders", None, "no placeholders"),
        ("", None, ""),
        ("{metric}{metric}", None, "Line/RampLine/Ramp"),
    ],
)
def test_levels_are_filled_and_levels_without_value_are_left_out(template, device, expected):
    assert fill(template, device) == expected


def test_a_site_without_a_name_is_left_out_with_its_level():
    assert fill("{site}/{metric}") == "Line/Ramp"
    assert fill("{site}/{metric}", site="Nord") == "Nord/Line/Ramp"
    assert fill("{site}-{server}/{metric}") == "-plant-a/Line/Ramp"


def test_one_template_serves_nodes_and_devices_in_any_order():
    template = PathTemplate(DEFAULT, server="a", site="")
    for _ in range(2):
        assert template.fill("G", "E", None, "m").endswith("/G/E/m")
        assert template.fill("G", "E", "D", "m").endswith("/G/E/D/m")


NAMES = st.one_of(
    st.sampled_from(["{metric}", "{device_id}", "{{device_id}}", "{}", "{", "}", "{0}", "%s"]),
    st.text(st.sampled_from("{}[]/%aä"), min_size=1),
)


@given(NAMES, NAMES, NAMES, NAMES, NAMES)
def test_what_looks_like_a_placeholder_in_a_name_is_just_text(group, node, device, server, site):
    template = PathTemplate(
        "{site}|{server}|{group_id}|{edge_node_id}|{device_id}", server=server, site=site
    )
    known = f"{site}|{server}|{group}|{node}|"
    assert template.fill(group, node, device, "m") == known + device
    assert template.fill(group, node, None, "m") == known
    assert fill("{metric}", metric=device) == device


def test_a_percent_sign_or_a_conversion_is_no_syntax():
    assert fill("100%/{metric}!r:>10") == "100%/Line/Ramp!r:>10"


@pytest.mark.parametrize("name", ["Metric", "node", "device", "", "0", "metric!r", "metric:>9"])
def test_an_unknown_placeholder_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigurationError) as refused:
        check_template(f"a/{{{name}}}")
    assert f"{{{name}}}" in str(refused.value)
    assert all(f"{{{known}}}" in str(refused.value) for known in PLACEHOLDERS)


@pytest.mark.parametrize("template", ["{", "}", "a{metric", "metric}", "{{metric}}", "}{"])
def test_a_stray_brace_is_refused(template):
    with pytest.raises(ConfigurationError, match="brace"):
        check_template(template)
    with pytest.raises(ConfigurationError, match="brace"):
        PathTemplate(template, server="a", site="")


def test_a_good_template_is_returned():
    assert check_template(DEFAULT) == DEFAULT


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("[MQTT Engine]Edge Nodes/G", "MQTT Engine"),
        ("[default]Ramp", "default"),
        ("[]Ramp", ""),
        ("Ramp", None),
        ("a[default]Ramp", None),
        ("[never closed", None),
        ("", None),
    ],
)
def test_the_provider_is_what_stands_in_leading_brackets(path, provider):
    assert PathTemplate.provider_of(path) == provider
