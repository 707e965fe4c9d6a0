"""The generated fleets are worth comparing decoders on: clean without features, hostile with."""

from __future__ import annotations

import pytest
from hypothesis import given
from support.generated import examples

from consumer.pb.tag_event_pb2 import TagEvent
from oracle import Oracle, to_tag_event
from oracle.features import ALL_FEATURES
from oracle.strategies import fleets, random_fleet

REASONS = {
    "bad_envelope",
    "bad_payload",
    "bad_template",
    "bad_topic",
    "command",
    "data_before_birth",
    "datatype_not_supported",
    "death_of_other_session",
    "device_data_before_birth",
    "duplicate",
    "duplicate_alias",
    "empty_death",
    "empty_payload",
    "host_state",
    "json_payload",
    "late",
    "late_birth",
    "metric_without_name",
    "nameless_birth",
    "retained",
    "sequence_gap",
    "timestamp_out_of_range",
    "transient",
    "unknown_alias",
    "unknown_datatype",
    "unknown_metric",
    "unknown_verb",
    "value_does_not_fit",
    "value_missing",
}


def decoded(batches):
    oracle = Oracle()
    for batch in batches:
        oracle.feed(batch)
    return oracle


@pytest.mark.parametrize("seed", range(3))  # not of any seed come so many rows
def test_a_fleet_without_features_keeps_every_rule(seed):
    oracle = decoded(random_fleet(seed, batches=1, messages=300, features=()))
    assert not oracle.counts
    assert not oracle.rebirth_requests
    assert len(oracle.rows) > 200
    assert {row["message_type"] for row in oracle.rows} & {"NDATA", "DDATA"}


def test_a_fleet_with_all_features_meets_every_reason_that_is_not_about_size():
    oracle = decoded(random_fleet(3, batches=4, messages=700))
    assert set(oracle.counts) == REASONS
    assert {row["quality"] for row in oracle.rows} == {"GOOD", "BAD", "UNCERTAIN", "STALE"}
    assert len({row["data_type"] for row in oracle.rows}) == 32


def test_equal_seeds_give_equal_fleets():
    assert random_fleet(7) == random_fleet(7)
    assert random_fleet(7) != random_fleet(8)


@pytest.mark.parametrize("feature", sorted(ALL_FEATURES))
def test_every_feature_changes_what_is_sent(feature):
    # Much happens in births only, so there are many of them.
    base = {"changed_birth", "death"} - {feature}
    plain = random_fleet(3, batches=25, messages=12, features=base)
    changed = random_fleet(3, batches=25, messages=12, features={feature, *base})
    assert (plain == changed) is False


@examples(30)
@given(fleets())
def test_rows_of_any_fleet_are_complete_and_numbered(batches):
    oracle = decoded(batches)
    assert [row["arrival_number"] for row in oracle.rows] == list(range(1, len(oracle.rows) + 1))
    for row in oracle.rows:
        assert TagEvent.FromString(to_tag_event(row)).IsInitialized()
        if row["quality_code"] == 192:
            assert row["quality"] == "GOOD"


@examples(15)
@given(fleets(max_batches=3))
def test_it_does_not_matter_how_messages_are_cut_into_batches(batches):
    whole = decoded([[arrival for batch in batches for arrival in batch]])
    assert repr(decoded(batches).rows) == repr(whole.rows)
