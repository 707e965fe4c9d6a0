"""Answers agree with each other: totals with pages, filters with accounts, cards with causes."""

import pytest
from support.columnar import change, message, tag
from support.event_stream import body_of, event
from support.hand_fed import Courier, Shelf, consuming
from support.http_side import Client, http_side, serving
from support.services import wait_until
from support.unconnected import configuration, unconnected

from consumer.broker import InboxBatch
from consumer.errors import SpoolFull
from sparkplug import MessageBatch

GAPS = 30
SILENCE = 1e6  # seconds: nothing is waited for any longer


def feed(consumer, *messages):
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))


def get(client, path, **parameters):
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def gappy(tmp_path):
    """A node with 30 gaps, one with a single one, and one with none."""
    with http_side(tmp_path) as client:
        for node, count in (("Edge", GAPS), ("Other", 1), ("Whole", 0)):
            feed(client.consumer, message("NBIRTH", tag("Speed", 0, 1.0), node=node))
            seq = 1
            for number in range(count):
                seq = (seq + 3) % 256
                feed(client.consumer, message("NDATA", change(0, 1.0), seq=seq, node=node))
                client.consumer.decoding._take(InboxBatch(), SILENCE * (number + 1))
        yield client


# ---------------------------------------------------------------------- gaps


@pytest.mark.parametrize(("limit", "offset"), [(5, 0), (10, 5), (500, 0), (5, GAPS), (5, 1000)])
def test_the_total_of_gaps_is_that_of_all_pages(gappy, limit, offset):
    told = get(gappy, "/api/gaps", limit=limit, offset=offset)
    assert told["total"] == GAPS + 1
    assert len(told["items"]) == max(0, min(limit, GAPS + 1 - offset))
    every = get(gappy, "/api/gaps", limit=500)["items"]
    assert told["items"] == every[offset : offset + limit]


@pytest.mark.parametrize(
    ("asked", "gaps", "nodes"),
    [
        ({"node": "Edge"}, GAPS, 1),
        ({"node": "Other", "group": "Plant"}, 1, 1),
        ({"group": "Plant"}, GAPS + 1, 3),
        ({"server": "plant"}, GAPS + 1, 3),
        ({"server": "plant", "node": "Whole"}, 0, 1),
        ({"server": "none"}, 0, 0),
        ({"group": "None"}, 0, 0),
        ({"node": "None"}, 0, 0),
        ({"healing": "open"}, None, 3),
        ({"healing": "late_arrival"}, 0, 3),
    ],
)
def test_gaps_and_their_account_are_of_what_was_asked_for(gappy, asked, gaps, nodes):
    told = get(gappy, "/api/gaps", **asked)
    assert told["account"]["nodes"] == nodes
    if "healing" not in asked:
        assert told["account"]["gaps"]["found"] == gaps
    if gaps is not None:
        assert told["total"] == gaps
    assert all(each[key] == value for each in told["items"] for key, value in asked.items())


def test_nodes_are_sorted_by_what_the_column_of_open_gaps_shows(gappy):
    books = gappy.server._hub._looking.nodes
    found = get(gappy, "/api/nodes", sort="-gaps")["items"]
    assert [each["node"] for each in found] == ["Edge", "Other", "Whole"]
    for row, gaps_open in zip(books.rows(), (0, 7, 3), strict=True):
        row["gaps_open"] = gaps_open
    found = get(gappy, "/api/nodes", sort="-gaps")["items"]
    assert [each["gaps_open"] for each in found] == [7, 3, 0]


def test_what_needs_attention_leads_to_where_it_is_listed(gappy):
    found = {each["kind"]: each for each in get(gappy, "/api/overview")["attention"]}
    assert found["gaps"]["link"] == "#/gaps"


def test_what_does_not_add_up_leads_to_the_ledger(tmp_path):
    with http_side(tmp_path) as client:
        client.consumer.ledger.rows("main.ot.tag_events", 7)
        feed(client.consumer, message("NBIRTH", tag("Speed", 0, 1.0)))
        found = {each["kind"]: each for each in get(client, "/api/overview")["attention"]}
    assert found["ledger"]["link"] == "#/overview"


def test_dead_letters_are_others_when_one_came_and_one_went(tmp_path):
    def version():
        client.server._hub._looking._made_at = -1e9
        client.server._hub._looking._attention._looked_at = -1e9
        return get(client, "/api/overview")["versions"]["letters"]

    bad = message("NDATA")._replace(payload=b"\xff\x00" * 50)
    with http_side(tmp_path) as client:
        seen = [version(), version()]
        feed(client.consumer, bad)
        seen += [version(), version()]
        [letter] = get(client, "/api/letters")["items"]
        client.post("/api/actions/letters/drop", {"names": [letter["name"]]})
        feed(client.consumer, bad)
        seen += [version(), version()]
    assert seen == [0, 0, 1, 1, 2, 2]


# ---------------------------------------------------------------------- nodes


def test_a_node_is_told_of_one_moment_although_it_is_forgotten_meanwhile(gappy):
    books = gappy.server._hub._looking.nodes
    rows, fleet = books.rows(), gappy.consumer.sources[0].fleet
    fleet.node_views = list  # all are forgotten

    class Forgetting(list):
        """The nodes are looked at anew while somebody reads those of before."""

        def __iter__(self):
            books._made_at = -1e9
            books.rows()
            return super().__iter__()

    seen = books._made._replace(rows=Forgetting(rows))
    books._made = seen
    assert books.node(("plant", "Plant", "Edge"))["node"]["node"] == "Edge"


# ---------------------------------------------------------------------- cards


def test_rows_that_come_over_http_alone_flow(tmp_path):
    made = configuration(tmp_path, shutdown_timeout="0s")
    courier = Courier(made.servers[0])
    with consuming(made, Shelf(), courier) as consumer, serving(consumer) as server:
        client = Client(server)
        looking = server._hub._looking
        looking.samples.look()
        posted = client.http.post("/ingest", content=body_of(*[event(f"a{i}") for i in range(50)]))
        assert posted.json()["accepted"] == 50
        wait_until(lambda: _rows_per_second(looking) > 0)
        client.http.close()


def _rows_per_second(looking):
    looking.samples.look()
    return max(looking.samples.columns()["rows_per_second"], default=0)


def test_who_is_fed_over_http_alone_has_heard_something(tmp_path):
    with http_side(tmp_path) as client:
        looking = client.server._hub._looking
        assert looking._state([])["text"] == "No edge node has been heard yet"
        client.consumer.posts.accepted += 50
        assert looking._state([])["text"] == "All rows flow"


def test_servers_that_are_left_on_purpose_are_not_wrong(tmp_path):
    gated = unconnected(tmp_path, host={"gate_on_sink": True})
    with gated as consumer, serving(consumer) as server:
        client = Client(server)
        assert get(client, "/api/overview")["cards"][0]["level"] == "wrong"
        assert consumer.back_pressure.close_for(SpoolFull("the spool is full"))
        server._hub._looking._made_at = -1e9  # the picture is made anew
        card = get(client, "/api/overview")["cards"][0]
        assert (card["level"], card["text"]) == ("unknown", "0 of 1 connected")
        assert card["cause"].startswith("the gate to the edge is not open: closing: ")
        [shown] = get(client, "/api/servers")["items"]
        assert shown["level"] == "unknown"
        assert "the gate to the edge" in shown["mend"]
        assert "check" not in shown["mend"]
        client.http.close()
