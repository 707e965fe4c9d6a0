"""Who is alive, and what holds now: the view of `ddl` over a Delta table, under any clock."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from oracle.messages import ARRIVED
from support.columnar import message, metric
from support.host_side import Server
from support.latest import asked, landed, said_now

from consumer.setup import latest_rows, streaming
from sparkplug.datatypes import DataType
from sparkplug.messages import HOST

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
PAGE = Path(__file__).parents[3] / "docs" / "table.md"


class Plant:
    """One edge node with a clock of its own, the servers that show it, and the rows in order.

    `ahead_us` is what the node's clock is ahead of ours. Time passes with `wait`.
    """

    def __init__(self, ahead_us: int = 0, servers: int = 1, **options) -> None:
        site = "plant" if servers > 1 else ""
        self.servers = [Server(site=site, **options) for _ in range(servers)]
        for each in self.servers:
            each.fleet.liveness.join(
                other.fleet.liveness for other in self.servers if other is not each
            )
        self.ahead_us = ahead_us
        self.now_us = ARRIVED
        self.seconds = 0.0
        self.bd_seq = 0
        self.rows = []

    @property
    def edge_ms(self) -> int:
        return (self.now_us + self.ahead_us) // 1000

    def wait(self, us: int = SECOND_US) -> None:
        self.now_us += us
        self.seconds += us / SECOND_US

    def message(self, verb, seq, *values, device=None, at_ms=None, **fields):
        """A message of the node as it is now; values are (name, number) pairs."""
        at_ms = self.edge_ms if at_ms is None else at_ms
        metrics = [
            metric(name, DataType.Double, double_value=number, timestamp=at_ms, **fields)
            for name, number in values
        ]
        if verb in ("NBIRTH", "NDEATH"):
            metrics.append(metric("bdSeq", DataType.Int64, long_value=self.bd_seq, timestamp=at_ms))
        return message(
            verb, *metrics, seq=seq, device=device, timestamp=at_ms, received_us=self.now_us
        )

    def hears(self, *messages, server=0):
        """A server delivers messages now."""
        came = [each._replace(received_us=self.now_us) for each in messages]
        return self._take(self.servers[server].at(self.seconds, *came))

    def says(self, *arguments, server=0, **options):
        return self.hears(self.message(*arguments, **options), server=server)

    def loses(self, server=0):
        return self._take(self.servers[server].lost(self.seconds, self.now_us))

    def passes(self, seconds, step=1.0, server=0):
        """Time in which nothing comes; who is to be asked is, and does not answer."""
        rows, fleet = [], self.servers[server].fleet
        for _ in range(int(seconds / step)):
            self.wait(int(step * SECOND_US))
            fleet.absence.listening(self.now_us)
            rows += self._take(self.servers[server].tick(self.seconds))
            for group_id, edge_node_id, _ in self.servers[server].rebirths:
                fleet.absence.asked(group_id, edge_node_id)
            self.servers[server].rebirths = []
        return rows

    def _take(self, rows):
        for row in rows:
            self.rows.append(row | {"arrival_number": len(self.rows) + 1})
        return rows


@pytest.fixture
def now(tmp_path):
    """What the view shows of a plant's rows, half of which landed twice, in any order."""

    def ask(plant: Plant):
        half = len(plant.rows) // 2
        return said_now(landed(tmp_path, plant.rows[half:], plant.rows, plant.rows[:half]))

    return ask


CLOCKS = {
    "ahead": HOUR_US,
    "days ahead": 3 * DAY_US,
    "behind": -HOUR_US,
    "years behind": -20 * 365 * DAY_US,
    "equal": 0,
}
any_clock = pytest.mark.parametrize("ahead_us", CLOCKS.values(), ids=CLOCKS.keys())


# Deaths and births


@any_clock
def test_a_dead_node_is_dead(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.wait()
    plant.says("NDEATH", None)
    assert now(plant) == {"Ramp": ("STALE", None), "Boiler/Level": ("STALE", None)}


@any_clock
def test_a_node_that_came_back_is_alive_and_its_values_are_the_ones_of_its_birth(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.wait()
    plant.says("NDEATH", None)
    plant.wait()
    plant.bd_seq += 1
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    assert now(plant) == {"Ramp": ("GOOD", 1.0), "Boiler/Level": ("STALE", None)}
    plant.says("DBIRTH", 1, ("Level", 3.0))
    assert now(plant)["Boiler/Level"] == ("GOOD", 3.0)


@any_clock
@pytest.mark.parametrize("times", [1, 2])
def test_a_value_that_a_birth_repeats_with_its_old_time_is_alive(now, ahead_us, times):
    plant = Plant(ahead_us)
    since = plant.edge_ms
    for _ in range(times):
        plant.says("NBIRTH", 0, ("Ramp", 1.0), at_ms=since)
        plant.wait()
        plant.says("NDEATH", None)
        plant.bd_seq += 1
    rows = plant.says("NBIRTH", 0, ("Ramp", 1.0), at_ms=since)
    assert [row["event_time"] for row in rows] == [since * 1000]
    assert now(plant) == {"Ramp": ("GOOD", 1.0)}


@any_clock
def test_a_node_that_dies_and_is_reborn_in_one_millisecond(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.wait(7)  # within the same millisecond
    death = plant.message("NDEATH", None)
    plant.bd_seq += 1
    births = plant.message("NBIRTH", 0, ("Ramp", 1.0)), plant.message("DBIRTH", 1, ("Level", 2.0))
    plant.hears(death, *births)
    assert now(plant) == {"Ramp": ("GOOD", 1.0), "Boiler/Level": ("GOOD", 2.0)}
    plant.hears(plant.message("NDEATH", None))
    assert set(now(plant).values()) == {("STALE", None)}


@any_clock
def test_a_device_that_dies_and_is_born_again(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.says("DDEATH", 2)
    assert now(plant) == {"Ramp": ("GOOD", 1.0), "Boiler/Level": ("STALE", None)}
    plant.says("DBIRTH", 3, ("Level", 2.0))
    assert now(plant)["Boiler/Level"] == ("GOOD", 2.0)


@any_clock
def test_what_the_loss_of_our_own_connection_said_is_taken_back_by_data(now, ahead_us):
    plant = Plant(ahead_us, stale_when_lost=True)
    plant.says("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 2.0))
    plant.wait()
    assert {row["message_type"] for row in plant.loses()} == {HOST}
    assert set(now(plant).values()) == {("STALE", None)}
    plant.wait()
    plant.says("NDATA", 1, ("Ramp", 1.5))
    assert now(plant) == {"Ramp": ("GOOD", 1.5), "Sine": ("STALE", None)}


def test_a_node_without_a_clock_that_boots_at_the_same_time_each_day(now):
    plant = Plant()
    for day in range(3):
        plant.says("NBIRTH", 0, ("Ramp", 1.0), at_ms=0)
        assert now(plant) == {"Ramp": ("GOOD", 1.0)}, day
        plant.says("NDATA", 1, ("Ramp", 2.0), at_ms=5_000 - day)
        assert now(plant) == {"Ramp": ("GOOD", 2.0)}, day
        plant.wait(DAY_US)
        plant.says("NDEATH", None)
        assert now(plant) == {"Ramp": ("STALE", None)}, day
        plant.wait(60 * SECOND_US)  # what has the bdSeq of the death is not late any more
    assert len({row["event_id"] for row in plant.rows}) < len(plant.rows)


def test_the_clock_of_the_node_is_set_back_in_a_session(now):
    plant = Plant()
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.ahead_us = -HOUR_US
    plant.says("NDATA", 1, ("Ramp", 2.0))
    assert now(plant) == {"Ramp": ("GOOD", 2.0)}


def test_our_own_clock_is_set_back(now):
    plant = Plant()
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.now_us -= HOUR_US
    plant.ahead_us += HOUR_US
    plant.says("NDATA", 2, ("Ramp", 1.5))
    assert now(plant)["Ramp"] == ("GOOD", 1.5)
    plant.says("NDEATH", None)
    assert set(now(plant).values()) == {("STALE", None)}
    plant.now_us -= HOUR_US
    plant.ahead_us += HOUR_US
    plant.bd_seq += 1
    plant.says("NBIRTH", 0, ("Ramp", 1.5))
    assert now(plant) == {"Ramp": ("GOOD", 1.5), "Boiler/Level": ("STALE", None)}


# Sessions that end unheard


@any_clock
def test_a_device_that_is_not_born_again_is_dead_until_it_is(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    since = plant.edge_ms
    plant.wait()
    plant.bd_seq += 1
    plant.says("NBIRTH", 0, ("Ramp", 1.5))
    plant.says("NDATA", 1, ("Ramp", 1.6))
    assert now(plant) == {"Ramp": ("GOOD", 1.6), "Boiler/Level": ("GOOD", 2.0)}
    plant.passes(11.0)
    assert now(plant) == {"Ramp": ("GOOD", 1.6), "Boiler/Level": ("STALE", None)}
    plant.says("DBIRTH", 2, ("Level", 2.0), at_ms=since)  # the value of before, with its time
    assert now(plant)["Boiler/Level"] == ("GOOD", 2.0)


@any_clock
def test_after_a_birth_that_cannot_be_read_all_are_dead_until_the_next_one(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.wait()
    plant.hears(plant.message("NBIRTH", 0)._replace(payload=b"\xff\xff"))
    plant.passes(11.0)
    assert set(now(plant).values()) == {("STALE", None)}
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    assert now(plant) == {"Ramp": ("GOOD", 1.0), "Boiler/Level": ("STALE", None)}


@any_clock
def test_a_tag_that_a_birth_leaves_out_is_dead_until_one_declares_it(now, ahead_us):
    plant = Plant(ahead_us)
    since = plant.edge_ms
    plant.says("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 2.0), at_ms=since)
    plant.wait()
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    assert now(plant) == {"Ramp": ("GOOD", 1.0), "Sine": ("STALE", None)}
    plant.wait()
    plant.says("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 2.0), at_ms=since)
    assert now(plant) == {"Ramp": ("GOOD", 1.0), "Sine": ("GOOD", 2.0)}


def test_a_tag_that_one_server_of_a_site_alone_knows_of_is_dead_with_its_device(now):
    plant = Plant(servers=2)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.says("NBIRTH", 0, ("Ramp", 1.0), server=1)
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.says("DBIRTH", 1, ("Level", 2.0), ("Flow", 3.0), server=1)
    plant.bd_seq += 1
    plant.wait()
    for server in (0, 1):
        plant.says("NBIRTH", 0, ("Ramp", 1.5), server=server)
    for server in (0, 1):
        plant.passes(11.0, server=server)
    assert now(plant) == {
        "Ramp": ("GOOD", 1.5),
        "Boiler/Level": ("STALE", None),
        "Boiler/Flow": ("STALE", None),
    }


# Nodes that die while we are away


def absent(plant):
    """A node that has answered a request before is not heard after a loss."""
    plant.says("NDATA", 9, ("Ramp", 1.0))  # others are missing: it is asked
    plant.passes(1.0)
    plant.says("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 2.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.loses()


@any_clock
def test_a_node_that_is_not_heard_again_is_dead_after_three_requests(now, ahead_us):
    plant = Plant(ahead_us, unheard=600.0)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    absent(plant)
    plant.passes(770.0, step=5.0)
    assert now(plant)["Ramp"] == ("GOOD", 1.0)
    plant.passes(30.0)
    assert set(now(plant).values()) == {("STALE", None)}
    plant.says("NDATA", 2, ("Ramp", 3.0))  # and yet it lives
    assert now(plant) == {
        "Ramp": ("GOOD", 3.0),
        "Sine": ("STALE", None),
        "Boiler/Level": ("STALE", None),
    }
    plant.says("NBIRTH", 0, ("Ramp", 3.0), ("Sine", 2.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    assert {quality for quality, _ in now(plant).values()} == {"GOOD"}


def test_one_that_speaks_in_time_is_alive(now):
    plant = Plant(unheard=600.0)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    absent(plant)
    plant.passes(700.0, step=5.0)
    plant.says("NDATA", 2, ("Ramp", 3.0))
    plant.passes(2000.0, step=5.0)
    assert {quality for quality, _ in now(plant).values()} == {"GOOD"}


def test_one_that_is_unknown_when_it_is_asked_and_dies_while_we_are_away_is_dead(now):
    plant = Plant(unheard=600.0)
    plant.says("NDATA", 5, ("Ramp", 1.0))
    plant.passes(1.0)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    plant.loses()
    plant.passes(800.0)
    assert now(plant) == {"Ramp": ("STALE", None)}


# What comes late


@any_clock
def test_held_data_that_is_read_behind_its_birth_is_not_the_latest(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0)
    plant.says("DDATA", 1, ("Level", 1.0))
    plant.wait()
    rows = plant.says("DBIRTH", 2, ("Level", 2.0))
    assert [(row["numeric_value"], row["is_historical"]) for row in rows] == [
        (2.0, False),
        (1.0, True),
    ]
    assert now(plant) == {"Boiler/Level": ("GOOD", 2.0)}


def test_held_data_that_was_sent_behind_its_birth_is(now):
    plant = Plant()
    plant.says("NBIRTH", 0)
    birth = plant.message("DBIRTH", 1, ("Level", 1.0))
    plant.wait()
    plant.says("DDATA", 2, ("Level", 2.0))  # the hole is not waited for
    plant.wait()
    plant.hears(birth)
    assert now(plant) == {"Boiler/Level": ("GOOD", 2.0)}


@any_clock
def test_a_message_that_others_have_overtaken_is_not_the_latest(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 1.0))
    plant.wait()
    late = plant.message("NDATA", 1, ("Ramp", 2.0), ("Sine", 2.0))
    plant.wait()
    plant.says("NDATA", 2, ("Ramp", 3.0))
    plant.hears(late)
    assert now(plant) == {"Ramp": ("GOOD", 3.0), "Sine": ("GOOD", 2.0)}


def test_a_late_message_does_not_bring_a_dead_device_back(now):
    plant = Plant()
    plant.says("NBIRTH", 0)
    plant.says("DBIRTH", 1, ("Level", 1.0))
    late = plant.message("DDATA", 2, ("Level", 2.0))
    plant.wait()
    plant.says("DDEATH", 3)
    plant.hears(late)
    assert now(plant) == {"Boiler/Level": ("STALE", None)}


@any_clock
def test_a_value_that_is_repeated_by_a_history_flush_changes_nothing(now, ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    then = plant.edge_ms
    plant.wait()
    plant.says("NDEATH", None)
    plant.bd_seq += 1
    flush = plant.message("NDATA", 1, ("Ramp", 1.0), ("Ramp", 7.0), at_ms=then, is_historical=True)
    birth = plant.message("NBIRTH", 0, ("Ramp", 1.0), at_ms=then)
    plant.hears(birth, flush)
    assert now(plant) == {"Ramp": ("GOOD", 1.0)}
    plant.hears(plant.message("NDEATH", None))
    assert now(plant) == {"Ramp": ("STALE", None)}


def test_a_birth_takes_back_what_history_of_the_same_value_did_not(now):
    plant = Plant(stale_when_lost=True)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    then = plant.edge_ms
    plant.loses()
    plant.says("NDATA", 1, ("Ramp", 1.0), at_ms=then, is_historical=True)
    assert now(plant) == {"Ramp": ("STALE", None)}
    plant.says("NBIRTH", 0, ("Ramp", 1.0), at_ms=then)
    assert now(plant) == {"Ramp": ("GOOD", 1.0)}


def test_of_a_tag_with_nothing_but_history_the_newest_is_shown(now):
    plant = Plant(emit_births=False)
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    for number, before_ms in ((1, 3), (2, 1), (3, 2)):
        at_ms = plant.edge_ms - before_ms
        plant.says("NDATA", number, ("Ramp", before_ms), at_ms=at_ms, is_historical=True)
    assert now(plant) == {"Ramp": ("GOOD", 1.0)}


# Servers of one site


@any_clock
def test_a_server_that_lags_behind_does_not_say_what_holds(now, ahead_us):
    plant = Plant(ahead_us, servers=2)
    birth = plant.message("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 1.0))
    for server in (0, 1):
        plant.hears(birth, server=server)
    sent = []
    for seq in (1, 2, 3):
        plant.wait()
        sent.append(plant.message("NDATA", seq, ("Ramp", 1.0 + seq)))
        plant.hears(sent[-1])
    plant.wait()
    for number, each in enumerate(sent, 1):
        plant.hears(each, server=1)
        assert now(plant) == {"Ramp": ("GOOD", 4.0), "Sine": ("GOOD", 1.0)}, number
    plant.wait()
    plant.says("NDATA", 4, ("Ramp", 9.0), server=1)
    assert now(plant)["Ramp"] == ("GOOD", 9.0)


def test_what_only_the_server_that_lags_has_heard_holds(now):
    plant = Plant(servers=2)
    birth = plant.message("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 1.0))
    for server in (0, 1):
        plant.hears(birth, server=server)
    plant.wait()
    lost = plant.message("NDATA", 1, ("Sine", 2.0))
    plant.wait()
    plant.says("NDATA", 2, ("Ramp", 2.0))
    plant.hears(lost, server=1)
    assert now(plant) == {"Ramp": ("GOOD", 2.0), "Sine": ("GOOD", 2.0)}


def test_servers_of_a_site_follow_a_clock_that_is_set_back(now):
    plant = Plant(servers=2)
    birth = plant.message("NBIRTH", 0, ("Ramp", 1.0))
    for server in (0, 1):
        plant.hears(birth, server=server)
    plant.ahead_us = -HOUR_US
    for seq in (1, 2):
        plant.wait()
        data = plant.message("NDATA", seq, ("Ramp", 1.0 + seq))
        for server in (0, 1):
            plant.hears(data, server=server)
            assert now(plant) == {"Ramp": ("GOOD", 1.0 + seq)}


def test_a_server_that_lost_its_connection_does_not_speak_for_the_others(now):
    plant = Plant(servers=2)
    birth = plant.message("NBIRTH", 0, ("Ramp", 1.0))
    plant.hears(birth)
    plant.wait()
    plant.says("NDATA", 1, ("Ramp", 2.0))
    plant.loses(0)
    plant.ahead_us = -HOUR_US
    plant.says("NBIRTH", 0, ("Ramp", 3.0), server=1)
    assert now(plant) == {"Ramp": ("GOOD", 3.0)}


# The row that says STALE


@any_clock
def test_in_a_chart_the_end_of_a_session_is_behind_its_values(ahead_us):
    plant = Plant(ahead_us)
    plant.says("NBIRTH", 0, ("Ramp", 1.0), ("Sine", 1.0))
    plant.says("DBIRTH", 1, ("Level", 2.0))
    plant.wait()
    plant.says("NDATA", 2, ("Ramp", 3.0))
    last = plant.rows[-1]["event_time"]
    plant.wait()
    stale = plant.says("NDEATH", None)
    by_device = {row["device_id"]: row["event_time"] for row in stale}
    if ahead_us == HOUR_US:
        assert by_device == {None: last + 1, "Boiler": plant.rows[2]["event_time"] + 1}
    else:
        assert set(by_device.values()) == {plant.now_us}


# Duplicates


def test_a_present_copy_is_kept_before_a_historical_one_and_then_the_first(tmp_path):
    plant = Plant()
    plant.says("NBIRTH", 0, ("Ramp", 1.0))
    [row] = plant.rows
    copies = [
        row | {"arrival_number": number, "is_historical": historical, "seq": number}
        for number, historical in ((1, True), (3, False), (2, True), (4, False))
    ]
    expected = [(3, False)]
    for number, order in enumerate(itertools.permutations(copies)):
        table = landed(tmp_path / str(number), order[:2], order[2:])
        columns = "seq, is_historical"
        assert asked(table, f"SELECT {columns} FROM tag_events_deduplicated") == expected
        assert asked(table, f"SELECT {columns} FROM ({kept_by_streaming()})") == expected


def kept_by_streaming() -> str:
    """What AUTO CDC keeps of each key: the row that is the last in its sequence."""
    text = streaming("a.b.tag_events").replace("\n--  ", "")
    ranked = re.search(r"CREATE TEMPORARY VIEW \w+ AS\s+(SELECT .*?)\s+FROM STREAM", text)[1]
    key = re.search(r"KEYS \((\w+)\)", text)[1]
    sequence = re.search(r"SEQUENCE BY STRUCT\((.*?)\)", text)[1]
    left_out = re.search(r"COLUMNS \* EXCEPT \((.*?)\)", text)[1]
    order = ", ".join(f"{each} DESC" for each in sequence.split(", "))
    return (
        f"SELECT * EXCLUDE ({left_out}) FROM ({ranked} FROM tag_events) "
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {order}) = 1"
    )


def test_the_query_of_the_page_is_the_one_of_the_view():
    [query] = re.findall(r"```sql\n(SELECT tag_path.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert query.partition("\nFROM ")[2] == latest_rows("tag_events").partition("\nFROM ")[2]
