"""What may be in a fleet: the names of its features."""

from __future__ import annotations

# What may be in a fleet beyond births, data and rebirths that keep the rules.
FEATURES = {
    # values
    "null": "explicit nulls",
    "value_missing": "neither value nor is_null",
    "odd_values": "NaN, infinities, -0.0, integers as Double or Boolean, far DateTimes",
    "misfit": "values their datatype does not take",
    "several_members": "more than one member of the value oneof",
    "not_scalar": "arrays, DataSet, Bytes, File, Template",
    "unknown_datatype": "datatype 0, 35, 255, 2^32-1 or none in a birth",
    "datatype_in_data": "a datatype in data, right or wrong",
    # flags, properties, times
    "historical": "is_historical",
    "transient": "is_transient",
    "quality": "the Quality property",
    "odd_quality": "codes at the edges of the table; odd forms of the property",
    "other_properties": "properties beside Quality",
    "malformed_properties": "property bytes that are no PropertySet",
    "missing_timestamp": "no timestamp of metric or payload",
    "odd_timestamp": "timestamps of 1970 and far beyond the year 9999",
    # metrics
    "repeated_metric": "several values of one metric in one message",
    "unknown_alias": "aliases no birth declared",
    "unknown_metric": "names no birth declared",
    "disagreeing_alias": "a name together with the alias of another metric",
    "nameless": "metrics without name in births, without name and alias in data",
    "empty_name": "the empty string as metric name",
    "duplicate_alias": "one alias twice in a birth",
    "shared_alias": "one alias in several devices of a node",
    "duplicate_name": "one name twice in a birth",
    "borrowed_alias": "aliases of the node or another device in a device's data",
    # order
    "no_birth": "data before birth",
    "changed_birth": "births in the middle that change aliases, names and datatypes",
    "death": "DDEATH, NDEATH with right, wrong or no bdSeq",
    "seq_gap": "lost and repeated sequence numbers",
    "seq_absent": "messages without seq",
    "seq_out_of_range": "a seq above 255",
    "two_servers": "the same nodes on a second server",
    "edge_restart": "nodes that begin anew, with a birth, without, or with the will coming later",
    "nameless_birth": "births in which no metric has a name",
    "same_bd_seq": "nodes with the same bdSeq at every start, and a clock an hour behind",
    "wrong_clock": "nodes whose clock is ahead, by an hour or by days, or begins at every start",
    "twin_devices": "devices that count seq each for itself, and say the same at once",
    # on the way
    "dropped": "messages that never come",
    "birth_lost": "births that never come",
    "doubled": "messages that come twice, at once or later",
    "swapped": "messages that change places with others",
    "delayed": "messages that come much later",
    "late_birth": "births that come again after the death of their session",
    # time, and what happens to the consumer
    "time": "seconds between batches",
    "long_pause": "minutes between batches",
    "connection_loss": "the connection to the server lost between batches",
    "consumer_restart": "restarts of the consumer between batches",
    # messages
    "bad_payload": "bytes that are no payload",
    "not_utf8": "strings that are not UTF-8",
    "mutated_payload": "payloads with a byte changed",
    "odd_wire": "fields in any order, padded varints, unknown fields",
    "json_payload": "payloads that start with a brace and cannot be read",
    "json_form": "payloads in JSON",
    "compressed": "payloads in compressed envelopes",
    "torn_envelope": "envelopes that do not open",
    "empty_payload": "payloads of no bytes",
    "bad_topic": "topics outside the grammar",
    "unknown_verb": "verbs that are not Sparkplug's",
    "command": "NCMD and DCMD of other hosts",
    "state": "STATE messages",
    "retained": "retained messages",
}
ALL_FEATURES = frozenset(FEATURES)

# Nodes that keep the rules, and what may happen to what they say: here most messages are
# in order of seq, so that each that is not is seen for what it is.
WELL_MEANT = frozenset(
    {
        *("borrowed_alias", "changed_birth", "death", "duplicate_alias", "edge_restart"),
        *("missing_timestamp", "nameless_birth", "torn_envelope", "unknown_alias"),
        *("unknown_metric", "seq_absent", "same_bd_seq", "twin_devices", "wrong_clock"),
        *("dropped", "birth_lost", "doubled", "swapped", "delayed", "late_birth"),
        *("time", "long_pause", "connection_loss", "consumer_restart"),
    }
)
