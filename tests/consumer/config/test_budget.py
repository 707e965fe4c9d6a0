"""One number bounds the memory, and says what every other bound is."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consumer.config import parse
from consumer.config.budget import LOOKING, MEMBER, NAME, PROGRAM, READING, SENDING, TAG, budget_of
from consumer.config.section import ConflictError
from consumer.config.units import MIB
from consumer.errors import ConfigurationError


def configured(**limits):
    return parse(
        {
            "servers": [{"name": "plant", "url": "mqtt://127.0.0.1:1883"}],
            "zerobus": {
                "endpoint": "https://1.zerobus.eu-west-1.cloud.databricks.com",
                "workspace_url": "https://one.cloud.databricks.com",
                "table": "main.ot.tag_events",
                "client_id": "id",
                "client_secret": "secret",
            },
            "limits": limits,
        }
    ).limits.budget


def test_the_default_has_room_for_a_large_plant():
    budget = configured()
    assert budget.tags > 120_000
    assert budget.queue_bytes >= 40 * MIB


def test_more_memory_is_room_for_more_tags():
    assert configured(memory="1GiB").tags > 4 * configured().tags


def test_wishes_are_met_where_there_is_room():
    budget = configured(max_tags=1000, queue_bytes="64MiB")
    assert (budget.tags, budget.queue_bytes) == (1000, 64 * MIB)
    assert budget.name_characters == 1000 * NAME


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"max_tags": 2_000_000}, "2000000 tags take 1144MiB"),
        ({"queue_bytes": "256MiB"}, "the queue 256MiB"),
        ({"memory": "256MiB"}, "256MiB are too few"),
        ({"max_payload": "128MiB"}, "limits.max_payload"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_that_says_how_to_mend_it(limits, told):
    with pytest.raises(ConfigurationError) as refused:
        configured(**limits)
    text = str(refused.value)
    assert "limits.memory: " in text
    assert told in text
    assert "raise it to" in text
    assert "\n" not in text


@given(
    st.integers(256, 8192),
    st.integers(1, 256),
    st.integers(0, 20_000_000),
    st.integers(0, 1024),
)
def test_shares_never_exceed_the_memory_and_what_is_advised_suffices(memory, payload, tags, queue):
    wishes = {"max_payload": payload * MIB, "max_tags": tags, "queue_bytes": queue * MIB}
    try:
        budget = budget_of(memory * MIB, **wishes)
    except ConflictError as error:
        advised = int(str(error).partition("raise it to ")[2].partition("MiB")[0])
        assume(advised > memory)
        budget = budget_of(advised * MIB, **wishes)
        memory = advised
    waits = budget.queue_bytes + budget.held_bytes + budget.waiting_bytes
    known = PROGRAM + READING + SENDING + LOOKING + waits
    assert known + TAG * budget.tags <= memory * MIB
    known += budget.file_bytes + budget.definition_bytes + MEMBER * budget.definition_members
    assert known + TAG * budget.tags <= memory * MIB
