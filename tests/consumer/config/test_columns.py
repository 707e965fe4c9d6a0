"""`normalize.profile` and `normalize.columns`: what is read, and what is refused in which words."""

import pytest
from support.config_cases import changed, refusal

from consumer.config import configured_layout, parse


def layout(*changes):
    return configured_layout(parse(changed(*changes)).normalize)


def names(*changes):
    return [column.name for column in layout(*changes).table.columns]


def test_the_default_has_all_of_our_columns():
    assert layout().is_default


@pytest.mark.parametrize(
    "written",
    [
        ["event_id", {"numeric_value": "value"}, "tag_path"],
        {"event_id": "event_id", "numeric_value": "value", "tag_path": "tag_path"},
        ["event_id", "numeric_value: value", "tag_path"],
    ],
)
def test_columns_are_a_list_of_names_or_a_mapping_to_those_of_the_table(written):
    assert names(("normalize.columns", written)) == ["event_id", "value", "tag_path"]


def test_the_module_has_18_columns_or_14_of_several_forms():
    profile = ("normalize.profile", "ignition-module")
    assert names(profile) == [
        *("event_id", "event_time", "tag_path", "tag_provider", "numeric_value", "string_value"),
        *("boolean_value", "quality", "quality_code", "source_system", "ingestion_timestamp"),
        *("data_type", "alarm_state", "alarm_priority", "sdt_compressed", "compression_ratio"),
        *("sdt_enabled", "batch_bytes_sent"),
    ]
    form = {"columns": 14, "source_column": "source_system_id", "event_time": "BIGINT"}
    short = layout(profile, ("normalize.ignition_module", form)).table.columns
    assert len(short) == 14
    assert (short[9].name, short[1].delta_type) == ("source_system_id", "BIGINT")
    assert [column.name for column in short if not column.nullable] == ["event_id"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["event_id", "numeric_valu"], "names numeric_valu, which .* did you mean numeric_value"),
        (["event_id", "xyz"], "names xyz, which is no column of tag_events; they are event_id, "),
        (["event_id", "seq", "seq"], "has seq twice; remove one"),
        (["seq"], "lacks event_id: .* add it, under any name"),
        (["event_id", {"seq": "Event_ID"}], "gives event_id and seq the same name Event_ID"),
        (["event_id", {"seq": "no good"}], "gives seq a name that Zerobus cannot have; use letter"),
        (["event_id", {"seq": "1st"}], "gives seq a name that Zerobus cannot have"),
        ([{"event_id": "a", "seq": "b"}], "several keys; write '- ' before each column"),
    ],
)
def test_columns_that_cannot_be_are_refused_in_words_that_mend(columns, words):
    text = refusal(("normalize.columns", columns))
    assert text.startswith("c.yaml: normalize.columns: ")
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(text)


def test_columns_and_another_profile_exclude_each_other():
    text = refusal(("normalize.columns", ["event_id"]), ("normalize.profile", "ignition-module"))
    assert "normalize.columns: cannot be given with profile ignition-module; remove one" in text
