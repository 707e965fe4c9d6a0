"""The topic grammar (specification, chapter 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.topics import (
    DEVICE_TYPES,
    MessageType,
    StateTopic,
    Topic,
    TopicProblem,
    check_id,
    parse_topic,
)

BAD, UNKNOWN = TopicProblem.BAD_TOPIC, TopicProblem.UNKNOWN_VERB
IDS = st.text(st.characters(exclude_characters="+#/", codec="utf-8"), min_size=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spBv1.0/G/NBIRTH/E", Topic("G", MessageType.NBIRTH, "E")),
        ("spBv1.0/G/NDATA/E", Topic("G", MessageType.NDATA, "E")),
        ("spBv1.0/G/NDEATH/E", Topic("G", MessageType.NDEATH, "E")),
        ("spBv1.0/G/NCMD/E", Topic("G", MessageType.NCMD, "E")),
        ("spBv1.0/G/DBIRTH/E/D", Topic("G", MessageType.DBIRTH, "E", "D")),
        ("spBv1.0/G/DDATA/E/D", Topic("G", MessageType.DDATA, "E", "D")),
        ("spBv1.0/G/DDEATH/E/D", Topic("G", MessageType.DDEATH, "E", "D")),
        ("spBv1.0/G/DCMD/E/D", Topic("G", MessageType.DCMD, "E", "D")),
        ("spBv1.0/STATE/host", StateTopic("host")),
    ],
)
def test_every_form_of_topic_is_read(text, expected):
    assert parse_topic(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "spBv1.0/Werk Süd/NDATA/エッジ",
        "spBv1.0/Plant A/DDATA/Edge 1/PLC:3 (old)",
        "spBv1.0/g/NDATA/\N{THERMOMETER}",
        "spBv1.0/STATE/Leitwarte Süd",
    ],
)
def test_ids_may_hold_spaces_punctuation_and_any_script(text):
    assert str(parse_topic(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "spBv1.0/STATE/NDATA/E",  # STATE is the group's name here
        "spBv1.0/NDATA/NDATA/NDATA",
        "spBv1.0/G/DDATA/E/STATE",
    ],
)
def test_words_of_the_grammar_may_be_ids(text):
    read = parse_topic(text)
    assert isinstance(read, Topic)
    assert str(read) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "spBv1.0",
        "spBv1.0/",
        "spBv1.0/G",
        "spBv1.0/G/NDATA",
        "spBv1.0/STATE",
        "spBv1.0/STATE/",
        "spBv1.0/state/host",
        "spAv1.0/G/NDATA/E",
        "spbv1.0/G/NDATA/E",
        "spBv1.1/G/NDATA/E",
        " spBv1.0/G/NDATA/E",
        "STATE/host",  # where hosts published before version 3.0
        "plant/temperature",
    ],
)
def test_what_is_outside_the_grammar_is_a_bad_topic(text):
    assert parse_topic(text) is BAD


@pytest.mark.parametrize("text", ["spBv1.0/STATE/host/E", "spBv1.0/STATE/host/E/D"])
def test_state_with_more_levels_is_a_group_of_that_name_whose_verb_is_unknown(text):
    assert parse_topic(text) is UNKNOWN
    assert parse_topic(f"{text}/more/levels") is BAD


@pytest.mark.parametrize("hole", range(5))
def test_an_empty_level_is_a_bad_topic(hole):
    levels = ["spBv1.0", "G", "DDATA", "E", "D"]
    levels[hole] = ""
    assert parse_topic("/".join(levels)) is BAD


@pytest.mark.parametrize("verb", [v for v in MessageType if v not in DEVICE_TYPES])
def test_a_verb_of_the_node_has_no_device(verb):
    assert parse_topic(f"spBv1.0/G/{verb}/E/D") is BAD


@pytest.mark.parametrize("verb", sorted(DEVICE_TYPES))
def test_a_verb_of_a_device_needs_one(verb):
    assert parse_topic(f"spBv1.0/G/{verb}/E") is BAD


@pytest.mark.parametrize("verb", MessageType)
def test_a_sixth_level_is_a_bad_topic(verb):
    assert parse_topic(f"spBv1.0/G/{verb}/E/D/more") is BAD


@pytest.mark.parametrize("verb", ["DRECORD", "ndata", "Ndata", "NDATA ", "STATE", "xyz"])
@pytest.mark.parametrize("tail", ["E", "E/D"])
def test_a_verb_that_the_specification_does_not_know_is_an_unknown_verb(verb, tail):
    assert parse_topic(f"spBv1.0/G/{verb}/{tail}") is UNKNOWN


@given(IDS, IDS, st.sampled_from(MessageType), IDS)
def test_a_topic_that_is_written_is_read_as_it_was(group, node, verb, device):
    topic = Topic(group, verb, node, device if verb in DEVICE_TYPES else None)
    assert parse_topic(str(topic)) == topic


@given(st.text())
def test_any_text_is_read_or_refused_without_an_error(text):
    read = parse_topic(f"spBv1.0/{text}")
    if isinstance(read, (Topic, StateTopic)):
        assert str(read) == f"spBv1.0/{text}"


@pytest.mark.parametrize("text", ["", "a/b", "+", "a#"])
def test_an_id_of_our_own_may_not_break_the_grammar(text):
    with pytest.raises(ValueError, match="group id"):
        check_id(text, "group id")


def test_an_id_of_our_own_may_be_anything_else():
    assert check_id("Werk Süd (1)", "group id") == "Werk Süd (1)"
