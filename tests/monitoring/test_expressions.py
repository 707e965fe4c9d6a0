"""Alerts and dashboard name what the consumer exposes, and say what docs and `check` say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from support.monitoring import (
    SCRAPING,
    TESTS,
    asked,
    dashboard,
    dashboard_expressions,
    panels,
    rules,
)

from consumer.delivery import StreamState
from consumer.http.numbers import ACCESS_NUMBERS
from consumer.http.numbers import NUMBERS as OF_HTTP
from consumer.monitor.numbers import NUMBERS
from consumer.pipeline import COUNTED, METRICS_PREFIX
from consumer.pipeline.telemetry import QUEUE_FULL
from sparkplug import GapReason

ROOT = Path(__file__).parents[2]
RULES = {rule["alert"]: rule for rule in rules()}
OF_EVERY_SCRAPE = {"job", "instance"}
VALUES = {
    ("stream_state", "state"): set(map(str, StreamState)),
    ("gaps_open", "reason"): set(map(str, GapReason)),
    ("remarks_total", "reason"): {
        QUEUE_FULL,
        *("certificate", "command", "host_state", "retained", "repeated_birth_value"),
    },
}
"""Values of labels that may be asked for."""

WORDS = {
    "Ledger": "the ledger does not add up",
    "ServerNotConnected": "is not connected",
    "MessagesRefused": "more comes than can be read: messages are refused",
    "OtherHost": "another host application used this host's id",
    "GateClosed": "the gate to the edge is not open",
    "RowsWait": "Rows wait: ",
    "Paused": "is paused",
    "SpoolNearlyFull": "the spool is nearly full",
    "SpoolFull": "the spool is full: messages are dropped",
    "GapsNotHealed": "gaps in what edge nodes sent, not healed yet",
    "NodesSilent": "say nothing for longer than they ever did",
    "DuplicateNode": "two publishers seem to use its id",
    "Clocks": "edge nodes with implausible times",
}
"""What the page and the status say of the same thing."""


def exposed():
    """Names as they are exposed, with their labels."""
    found = {"up": set()}
    for name, each in COUNTED.items():
        endings = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("_total",)
        for ending in endings:
            more = {"le"} if ending == "_bucket" else set()
            found[METRICS_PREFIX + name + ending] = {*each.labels} | more
    for numbers in (*NUMBERS, OF_HTTP, ACCESS_NUMBERS):
        for name, number in numbers.rows.items():
            ending = "_total" if number.kind == "counter" else ""
            found[METRICS_PREFIX + name + ending] = {*numbers.labels_of(number)}
    return found


EXPOSED = exposed()


def check_expression(expression):
    """Labels that what it gives may have."""
    found = asked(expression)
    assert found.metrics, expression
    known = set(OF_EVERY_SCRAPE)
    for name, labels in found.metrics:
        assert name in EXPOSED, f"no metric {name}: {expression}"
        assert labels.keys() <= EXPOSED[name] | OF_EVERY_SCRAPE, expression
        known |= EXPOSED[name]
        for label, value in labels.items():
            if label not in OF_EVERY_SCRAPE:
                values = VALUES[name.removeprefix(METRICS_PREFIX), label]
                assert set(value.split("|")) <= values, expression
    assert found.labels <= known, expression
    return known


def shown_labels(text):
    return set(re.findall(r"\{\{\s*(\w+)\s*\}\}", text))


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_asks_for_what_is_exposed(alert):
    rule = RULES[alert]
    known = check_expression(rule["expr"])
    for text in rule["annotations"].values():
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= known


@pytest.mark.parametrize(("panel", "expression", "legend"), dashboard_expressions())
def test_a_panel_asks_for_what_is_exposed(panel, expression, legend):
    assert shown_labels(legend) <= check_expression(expression), panel


@pytest.mark.parametrize(
    "wrong",
    [
        "sparkplug_zerobus_row_produced_total",
        'sparkplug_zerobus_rows_dropped_total{table="t"}',
        "sum by (server) (sparkplug_zerobus_spool_full)",
        "sparkplug_zerobus_spool_full and on (server) up",
        'sparkplug_zerobus_stream_state{state="blocked"}',
        "rate(sparkplug_zerobus_spool_full[5m]",
    ],
)
def test_what_is_not_exposed_is_noticed(wrong):
    with pytest.raises((AssertionError, ValueError)):
        check_expression(wrong)


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_says_what_it_is_why_it_matters_and_what_to_do(alert):
    rule = RULES[alert]
    assert alert.startswith("SparkplugZerobus")
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "why", "action", "runbook"}
    for text in rule["annotations"].values():
        assert text
        assert "\n" not in text
    page, _, place = rule["annotations"]["runbook"].partition("#")
    assert place in anchors(ROOT / page)


@pytest.mark.parametrize("alert", WORDS)
def test_an_alert_uses_the_words_of_the_page(alert):
    words = WORDS[alert]
    summary = RULES[f"SparkplugZerobus{alert}"]["annotations"]["summary"]
    assert words in summary
    told = "".join(
        path.read_text("utf-8") for path in sorted((ROOT / "consumer" / "monitor").glob("*.py"))
    )
    # Of one node the page says "it ... it", of several an alert "they ... they".
    assert words in told or words.replace("they", "it").replace("say ", "says ") in told


def anchors(page):
    """Places in a page of Markdown, as they are linked to."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_docs_list_all_alerts_with_their_severities():
    text = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)
    assert listed == [
        (alert.removeprefix("SparkplugZerobus"), rule["labels"]["severity"])
        for alert, rule in RULES.items()
    ]
    assert f"{len(RULES)} alert rules" in (ROOT / "monitoring" / "README.md").read_text("utf-8")


def test_each_alert_is_tested():
    text = TESTS.read_text("utf-8")
    assert set(re.findall(r"alertname=\"(\w+)\"", text)) == set(RULES)


def test_the_job_is_called_as_the_alerts_call_it():
    [job] = yaml.safe_load(SCRAPING.read_text("utf-8"))["scrape_configs"]
    called = {
        labels["job"]
        for rule in RULES.values()
        for _, labels in asked(rule["expr"]).metrics
        if "job" in labels
    }
    assert called == {job["job_name"]}


def test_panels_are_told_apart_and_fit():
    every = dashboard()["panels"]
    assert len({each["id"] for each in every}) == len(every)
    taken = set()
    for each in every:
        place = each["gridPos"]
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, each["title"]
        taken |= cells
    for each in panels():
        references = [target["refId"] for target in each["targets"]]
        assert len(set(references)) == len(references)
        assert each["description"]


def test_the_dashboard_follows_the_flow():
    titles = [each["title"] for each in dashboard()["panels"] if each["type"] == "row"]
    assert titles == [
        "Is it working?",
        "Flow: MQTT servers",
        "Flow: decode",
        "Flow: spool",
        "Flow: Zerobus",
        "Latency",
        "Troubles of edge nodes",
        "HTTP",
    ]
