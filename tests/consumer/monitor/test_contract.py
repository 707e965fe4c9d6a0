"""What dashboards and scripts rely on: metrics with their types and labels, keys of the status.

`python -m consumer.http docs/operating.md` writes the page.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.columnar import message, tag
from support.unconnected import unconnected

from consumer.broker import InboxBatch
from consumer.http import HttpServer
from consumer.http.numbers import ACCESS_NUMBERS
from consumer.http.numbers import NUMBERS as OF_HTTP
from consumer.monitor import status_of, with_table
from consumer.rows import read_body
from sparkplug import MessageBatch

PAGE = Path(__file__).parents[3] / "docs" / "operating.md"

METRICS = """\
acknowledgement_seconds histogram
batches_decoded counter
broker_dropped_messages counter server
calls_sent counter
clock_ahead_seconds gauge
clock_behind_seconds gauge
clock_problems gauge
dead_letter_bytes gauge
dead_letter_kind_bytes gauge kind
dead_letter_kind_max_bytes gauge kind
dead_letter_rows gauge
dead_letter_rows_dropped counter kind
dead_messages counter reason
dead_messages_lost counter
decode_seconds histogram
delivery_failures counter
delivery_paused gauge table
disk_free_bytes gauge
duplicate_nodes gauge
edge_nodes gauge
edge_nodes_silent gauge
edge_nodes_unheard gauge
foreign_host_births counter server
gap_history_rows counter
gaps counter reason
gaps_healed counter healing
gaps_open gauge reason
gaps_unlisted counter
gate_closed gauge
gate_closed_seconds counter
gate_closings counter reason
http_connections gauge
http_connections_closed counter reason
http_requests counter key
http_requests_refused counter reason
inflight_rows gauge
ingest_bytes gauge
ingest_events_accepted counter
ingest_events_dropped counter reason
ingest_posts counter status
ingest_posts_under_way gauge
ingest_wait_seconds counter
last_acknowledgement_timestamp_seconds gauge
ledger_difference gauge
ledger_messages gauge account server
ledger_messages_discarded counter reason server
ledger_rows gauge account table
ledger_rows_dropped counter reason table
log_lines_left_out counter kind
messages_missing counter
messages_received counter server
missing_messages_late counter
queued_bytes gauge
rebirths_requested counter reason
received_bytes counter server
remarks counter reason
rows_acknowledged counter
rows_dropped counter reason
rows_produced counter server
rows_sent counter
rows_set_aside counter
server_connected gauge server
servers_connected gauge
sessions_missed counter
side_delivery_failures counter table
side_rows_acknowledged counter table
side_rows_produced counter table
side_rows_set_aside counter table
side_spooled_rows gauge table
side_stream_open gauge table
spool_above_watermark gauge
spool_bytes gauge
spool_commit_seconds histogram
spool_damaged_files gauge
spool_fill_ratio gauge
spool_full gauge
spool_oldest_seconds gauge
spooled_rows gauge
start_timestamp_seconds gauge
state_answers counter server
stream_failures counter kind stream table
stream_open gauge
stream_reconnects counter
stream_rotations counter stream table
stream_rows_acknowledged counter stream table
stream_state gauge state stream table
tags gauge
waiting_messages gauge
"""
"""Name as it is exposed, type, labels. Histograms have `le` as well."""

ONLY_WITH_A_GATE = {"gate_closed", "gate_closed_seconds", "gate_closings"}
ONLY_WITH_SIDE_TABLES = {
    "side_stream_open",
    "side_spooled_rows",
    "side_rows_acknowledged",
    "side_rows_set_aside",
    "side_delivery_failures",
}

STATUS = """\
batches int
batches_decoded int
bytes_received int
dead_messages int
drill.state str
drill.why str
failure str
failure_kind str
failures int
gaps.found.away int
gaps.found.sequence_gap int
gaps.found.session_end int
gaps.found.sessions_missed int
gaps.healed.history_flush int
gaps.healed.late_arrival int
gaps.healed.not_at_all int
gaps.healed.rebirth_snapshot int
gaps.history_rows int
gaps.messages_late int
gaps.messages_missing int
gaps.open.away int
gaps.open.sequence_gap int
gaps.open.session_end int
gaps.open.sessions_missed int
gaps.sessions_missed int
gaps.unlisted int
gate.closed_seconds float
gate.closings.disk int
gate.closings.no_acknowledgement int
gate.closings.spool int
gate.opens str
gate.reason str
gate.reserved_bytes int
gate.state str
gate.why str
ingest.bytes int
ingest.events_accepted int
ingest.events_dropped.* int
ingest.posts_under_way int
ingest.wait_seconds float
last_acked_offset int
ledger.balanced bool
ledger.difference int
ledger.messages.*.decoded int
ledger.messages.*.difference int
ledger.messages.*.discarded int
ledger.messages.*.discarded_by_reason.* int
ledger.messages.*.held int
ledger.messages.*.quarantined int
ledger.messages.*.received int
ledger.rows.*.acknowledged int
ledger.rows.*.dead_lettered int
ledger.rows.*.difference int
ledger.rows.*.dropped int
ledger.rows.*.dropped_by_reason dict
ledger.rows.*.dropped_by_reason.* int
ledger.rows.*.produced int
ledger.rows.*.spooled int
ledger.rows.*.suppressed int
mend str
messages_discarded int
messages_received int
queue.bytes int
queue.messages_refused int
queue.most_refused[].edge_node_id str
queue.most_refused[].group_id str
queue.most_refused[].messages int
queue.most_refused[].server str
reasons.* int
rebirths_requested int
rows_acked int
rows_dropped int
rows_produced int
rows_sent int
servers[].broker_dropped_messages int
servers[].connected bool
servers[].connections int
servers[].foreign_host_births int
servers[].last_error str
servers[].name str
servers[].state_answers int
side_tables[].failure str
side_tables[].failures int
side_tables[].rows_acked int
side_tables[].rows_produced int
side_tables[].rows_sent int
side_tables[].spooled_rows int
side_tables[].stream_state str
side_tables[].table str
silent_nodes.count int
silent_nodes.longest list
spool.above_watermark bool
spool.damage str
spool.dead_letter_bytes int
spool.dead_letter_rows int
spool.dead_letter_rows_dropped int
spool.dead_letter_shares.oversized.count int
spool.dead_letter_shares.oversized.dropped int
spool.dead_letter_shares.oversized.max_bytes int
spool.dead_letter_shares.oversized.size int
spool.dead_letter_shares.refused.count int
spool.dead_letter_shares.refused.dropped int
spool.dead_letter_shares.refused.max_bytes int
spool.dead_letter_shares.refused.size int
spool.dead_letter_shares.unreadable.count int
spool.dead_letter_shares.unreadable.dropped int
spool.dead_letter_shares.unreadable.max_bytes int
spool.dead_letter_shares.unreadable.size int
spool.disk_free_bytes int
spool.disk_is_full bool
spool.fill_ratio float
spool.gone str
spool.max_bytes int
spool.oldest_seconds float
spool.overflow.edge_nodes int
spool.overflow.full bool
spool.overflow.messages_discarded int
spool.overflow.most_discarded list
spool.reserve_missing bool
spool.salvage NoneType
spool.used_bytes int
spool.why str
spooled_rows int
stream_state str
streams[].failure str
streams[].failure_kind str
streams[].failures dict
streams[].generation int
streams[].inflight_rows int
streams[].mend str
streams[].rotations int
streams[].rows_acked int
streams[].rows_sent int
streams[].rows_set_aside int
streams[].state str
streams[].stream int
streams[].table str
unmended_nodes list
waiting_messages int
"""
"""Path and JSON type of every value; `[]` is each item of a list, `*` a key that differs."""

KEYS_THAT_DIFFER = {
    "ingest.events_dropped",
    "reasons",
    "ledger.messages",
    "ledger.messages.*.discarded_by_reason",
    "ledger.rows",
    "ledger.rows.*.dropped_by_reason",
}


@pytest.fixture
def whole(tmp_path):
    """A consumer of everything that has numbers of its own, after it has counted some."""
    with unconnected(
        tmp_path,
        zerobus={"events_table": "main.ot.sparkplug_events"},
        host={"gate_on_sink": True},
    ) as consumer:
        served = HttpServer(consumer, ("127.0.0.1", 0))
        count_something(consumer)
        yield consumer
        served.stop(0.0)


def count_something(consumer):
    """Labels are seen in samples alone, so that each number needs one."""
    bad = message("NDATA")._replace(payload=b"\xff" * 100)
    messages = [message("NBIRTH", tag("Ramp", 0)), message("NDATA", tag("Ramp", 0), seq=7), bad]
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))
    telemetry = consumer.telemetry
    telemetry.add_dropped(1, "spool_full")
    telemetry.add_rebirth("sequence_gap")
    telemetry.add_dead_messages({"hold_full": 1})
    telemetry.add_queue_full("plant", {"Plant/Edge": 1})
    consumer.posts.statuses["422"] += 1
    consumer.posts.count_dropped(read_body(b"[{}]", 0))
    telemetry.log_budget.left_out["clock"] += 1
    consumer.ledger.refuse("plant", "queue_full", 1)
    consumer.ledger.rows("main.ot.tag_events", 1)
    consumer.ledger.drop("main.ot.tag_events", 1, "spool_full")
    consumer.ledger.postpone()


def families(consumer):
    """(name without prefix, type, labels) of all that is exposed."""
    for name, kind, labels, _ in described(consumer):
        yield name, kind, " ".join(sorted(labels))


def described(consumer):
    """The same, and the help text; labels are in no order."""
    for family in consumer.telemetry.registry.collect():
        labels = {each for sample in family.samples for each in sample.labels} - {"le"}
        name = family.name.removeprefix("sparkplug_zerobus_")
        yield name, family.type, frozenset(labels), family.documentation


def rows_of(page):
    """(metric, type, labels, meaning, place in /status) of the page's table of metrics."""
    table = page.partition("| metric | type |")[2].partition("<!--")[0]
    for line in table.splitlines()[2:]:
        name, kind, labels, text, status = (each.strip() for each in line.strip("|").split("|"))
        parts = frozenset(each.strip("` ") for each in labels.split(",") if each)
        yield name.strip("`"), kind, parts, text, status.strip("`")


def with_those_above(found):
    """Paths, and those of all objects that hold them."""
    return {
        ".".join(path.split(".")[:depth])
        for path in found
        for depth in range(1, path.count(".") + 2)
    }


def paths(value, path=""):
    """(path, type) of all values in JSON."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            shown = "*" if path in KEYS_THAT_DIFFER else key
            yield from paths(each, f"{path}.{shown}" if path else shown)
    elif isinstance(value, list) and value:
        for each in value:
            yield from paths(each, f"{path}[]")
    else:
        yield path, type(value).__name__


def lines(rows):
    return "".join(sorted({" ".join(each).strip() + "\n" for each in rows}))


def test_metrics_are_what_they_were(whole):
    assert lines(families(whole)) == METRICS


def test_what_is_not_there_has_no_metrics(tmp_path):
    with unconnected(tmp_path) as consumer:
        served = HttpServer(consumer, ("127.0.0.1", 0))
        bare = {name for name, *_ in families(consumer)}
        served.stop(0.0)
    every = {line.split()[0] for line in METRICS.splitlines()}
    assert every - bare == ONLY_WITH_A_GATE | ONLY_WITH_SIDE_TABLES


def test_keys_of_the_status_are_what_they_were(whole):
    assert lines(paths(status_of(whole))) == STATUS


def test_the_page_is_what_is_generated():
    page = PAGE.read_text("utf-8")
    assert with_table(page, [OF_HTTP, ACCESS_NUMBERS]) == page


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the marks"):
        with_table("# Operating it\n")


def test_the_page_says_what_is_exposed(whole):
    shown = {
        (name.removesuffix("_total"), *more) for name, *more, _ in rows_of(PAGE.read_text("utf-8"))
    }
    assert shown == set(described(whole))


def test_the_page_says_what_is_in_the_status(whole):
    told = with_those_above(path for path, _ in paths(status_of(whole)))
    shown = {status for *_, status in rows_of(PAGE.read_text("utf-8"))} - {""}
    assert len(shown) > 30
    assert shown - told == set()
