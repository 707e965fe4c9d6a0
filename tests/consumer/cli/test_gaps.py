"""`sparkplug-zerobus gaps`: what it prints, and how it refuses."""

from __future__ import annotations

import json
import time

import pytest
from support.spool_command import run_command

from consumer.spool import Spool
from consumer.spool.gaps import HOUR_US, GapStore, HourlySums, LastHeard
from sparkplug.events import Healing
from sparkplug.gaps import Gap, GapReason

GIB = 1 << 30
NOW_US = time.time_ns() // 1_000
HOUR = NOW_US // HOUR_US


@pytest.fixture
def spool(tmp_path):
    """Two nodes, one with a gap in the present hour and one two days ago."""
    spool = Spool.open(tmp_path / "spool.db", reserve_bytes=0)
    complete, holed = ("Plant", "Press"), ("Plant", "Oven\x1b[31m")
    sums = {
        (complete, HOUR): HourlySums(received=1_000),
        (holed, HOUR): HourlySums(received=300_000, missing=1, gaps=1, longest=1),
        (holed, HOUR - 48): HourlySums(
            received=10,
            missing=7,
            late=2,
            flushed=5,
            gaps=2,
            unknown=1,
            history_flush=1,
            rebirth_snapshot=1,
            history_rows=9,
            longest=7,
        ),
    }
    gaps = [
        Gap(
            *holed,
            GapReason.AWAY,
            NOW_US - 48 * HOUR_US,
            3,
            7,
            late=2,
            history_rows=9,
            ended_by=Healing.REBIRTH_SNAPSHOT,
            from_us=10**30 // 10**12,
            to_us=10**17,
            number=1,
        ),
        Gap(*holed, GapReason.SEQUENCE_GAP, NOW_US - 1, 9, 1, {9}, number=2),
    ]

    def fill(db):
        GapStore("plant-a", GIB).write_sums(db, sums, {})
        GapStore("plant-a", GIB).write_heard(
            db, dict.fromkeys((complete, holed), LastHeard(NOW_US, 0))
        )
        GapStore("plant-a", GIB).write_gaps(db, gaps, 2)

    spool.write(fill)
    yield spool
    spool.close()


def run(tmp_path, *arguments, code=0, **options):
    done = run_command(tmp_path, "gaps", *arguments, **options)
    assert done.returncode == code, done.stderr
    assert (done.stdout == "") == (code != 0)
    return done.stdout if code == 0 else done.stderr


def line_of(text, node):
    [line] = [line for line in text.splitlines() if node in line and "plant-a" in line][:1]
    return [cell.strip() for cell in line.strip("│┃").split("│")]


@pytest.mark.usefixtures("spool")
def test_people_get_a_table_of_nodes_and_one_of_gaps(tmp_path):
    text = run(tmp_path)
    assert line_of(text, "Plant/Press")[2:7] == ["1,000", "0", "100.000 %", "0", "0"]
    # One of 300,001 is missing, so it is not all of them; and the terminal is not steered.
    node = line_of(text, "Plant/Oven")
    assert node[1] == "Plant/Oven\\x1b[31m"
    assert node[2:7] == ["300,000", "1", "99.999 %", "1", "1"]
    assert "sequence_gap" in text
    assert "away" not in text
    assert "2 in all" in text
    assert "multiples of 256 more" in text


@pytest.mark.usefixtures("spool")
def test_a_longer_period_has_more_in_it_and_programs_get_one_object(tmp_path):
    found = json.loads(run(tmp_path, "--since", "7d", "--json"))
    assert [node["edge_node_id"] for node in found["nodes"]] == ["Oven\x1b[31m", "Press"]
    oven = found["nodes"][0]
    assert (oven["received"], oven["missing"], oven["expected"]) == (300_010, 6, 300_016)
    assert oven["gaps"] == {
        "found": 3,
        "open": 1,
        "late_arrival": 0,
        "history_flush": 1,
        "rebirth_snapshot": 1,
        "not_at_all": 0,
        "of_unknown_size": 1,
        "without_record": 0,
    }
    assert (oven["missing_with_history"], oven["history_rows"], oven["longest_gap"]) == (5, 9, 7)
    assert found["total"]["percent"] == round(100 * 301_010 / 301_016, 4)
    newest, oldest = found["gaps"]
    assert (newest["reason"], newest["healing"], newest["healed"]) == ("sequence_gap", "open", None)
    assert (oldest["reason"], oldest["healing"], oldest["late"]) == ("away", "history_flush", 2)
    assert oldest["to"] == "5138-11-16T09:46:40.000Z"


@pytest.mark.usefixtures("spool")
def test_a_period_may_be_given_by_times_and_a_node_by_its_ids(tmp_path):
    day = time.strftime("%Y-%m-%d", time.gmtime(NOW_US // 1_000_000))
    found = json.loads(run(tmp_path, "--since", "2020-01-01", "--until", f"{day}T00:00Z", "--json"))
    assert found["since"] == "2020-01-01T00:00:00.000Z"
    assert found["until"] == f"{day}T00:00:00.000Z"
    assert [gap["reason"] for gap in found["gaps"]] == ["away"]
    one = json.loads(run(tmp_path, "--node", "Plant/Press", "--json"))
    assert ([node["received"] for node in one["nodes"]], one["gaps"]) == ([1_000], [])
    none = json.loads(run(tmp_path, "--node", "Plant/Nobody", "--json"))
    assert (none["nodes"], none["total"]["percent"]) == ([], None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--since", "yesterday"], "must be a duration like 90m, 24h or 7d"),
        (["--since", "24"], "must be a duration like 90m, 24h or 7d"),
        (["--since", "2026-13-01"], "must be a duration like 90m, 24h or 7d"),
        (["--since", "1h", "--until", "2h"], "--since must be before --until"),
        (["--node", "Plant"], "--node must be GROUP/NODE"),
        (["--node", "Plant/Line/Press"], "--node must be GROUP/NODE"),
        (["--sinse", "1h"], "No such option"),
    ],
)
def test_wrong_usage_is_refused_with_a_clear_line(tmp_path, arguments, text):
    assert text in run(tmp_path, *arguments, code=2)


def test_without_a_spool_there_is_nothing_to_report(tmp_path):
    assert "is spool.path right?" in run(tmp_path, code=1)


def test_a_new_spool_has_nothing_to_report_either(tmp_path):
    Spool.open(tmp_path / "spool.db", reserve_bytes=0).close()
    assert "nothing was received yet" in run(tmp_path)


def test_help_shows_examples(tmp_path):
    text = run(tmp_path, "--help")
    assert "sparkplug-zerobus gaps --config consumer.yaml --since 7d" in text
    assert "modulo 256" in text


@pytest.mark.usefixtures("spool")
def test_what_is_missing_of_a_node_that_the_filters_show_in_part_is_not_known(tmp_path):
    topics = "[spBv1.0/+/+/Press, spBv1.0/+/+/+/Heater, 'spBv1.0/Plant/+/Oven\\u001b[31m/#']"
    topics = topics.replace("'", '"')
    text = run(tmp_path, topics=topics)
    assert line_of(text, "Plant/Press")[2:5] == ["1,000", "not known", "not known"]
    assert line_of(text, "Plant/Oven")[2:5] == ["300,000", "1", "99.999 %"]
    assert "of 1 edge nodes the filters of the server (topics) show a part only" in text
    report = json.loads(run(tmp_path, "--json", topics=topics))
    by_node = {each["edge_node_id"]: each for each in report["nodes"]}
    press = by_node["Press"]
    assert (press["received"], press["expected"], press["missing"], press["percent"]) == (
        1_000,
        None,
        None,
        None,
    )
    total = report["total"]
    assert (total["received"], total["missing"], total["nodes_seen_in_part"]) == (300_000, 1, 1)
    nothing = json.loads(run(tmp_path, "--json", topics="['$share/g/spBv1.0/#']"))["total"]
    assert (nothing["received"], nothing["percent"], nothing["nodes_seen_in_part"]) == (
        301_000,
        None,
        2,
    )
