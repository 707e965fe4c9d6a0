"""What `top` asks of a consumer with many edge nodes, and how it fits what it shows."""

from __future__ import annotations

import pytest
from support.columnar import message, tag
from support.http_side import http_side

from consumer.broker import InboxBatch
from consumer.monitor import NODE_SORTS
from consumer.tap import SORTS, Picture, Wanted, look, screen
from sparkplug import MessageBatch

NODES = 1_234
NAMES = [f"Edge-{number:04}" for number in range(NODES - 2)] + ["漢字の名前" * 9, "[b]\u202e"]


class Asked:
    """The API of a consumer, and what was asked of it."""

    def __init__(self, client):
        self._client = client
        self.routes = []

    def __call__(self, route, parameters):
        self.routes.append((route, dict(parameters)))
        return self._client.get(f"/api/{route}", params=parameters).raise_for_status().json()


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    with http_side(tmp_path_factory.mktemp("many")) as side:
        take = side.consumer.decoding._take
        births = [message("NBIRTH", tag("Level", 0), node=name) for name in NAMES]
        take(InboxBatch({0: MessageBatch(births)}))
        take(InboxBatch({0: MessageBatch([message("NDATA", tag("Level", 0), node="Gone")])}))
        yield Asked(side)


@pytest.fixture(scope="module")
def picture(ask):
    return look(ask, Wanted())


def test_orders_are_those_of_the_api():
    assert set(SORTS) == set(NODE_SORTS)
    assert {each.removeprefix("-") for each in SORTS.values()} == set(NODE_SORTS)


def test_all_nodes_are_read_page_by_page(picture):
    assert len({each["node"] for each in picture.nodes}) == len(picture.nodes) == NODES + 1
    assert picture.nodes[0]["node"] == "Gone"
    assert picture.total == NODES + 1


def test_no_more_is_asked_for_than_can_be_shown(ask):
    ask.routes.clear()
    seen = look(ask, Wanted(most=20))
    assert len(seen.nodes) == 20
    assert seen.nodes[0]["node"] == "Gone"
    assert seen.total == NODES + 1
    asked = [parameters["limit"] for route, parameters in ask.routes if route == "nodes"]
    assert asked == [20, 19]


def test_a_glob_is_searched_for_by_the_longest_text_in_it(ask):
    ask.routes.clear()
    seen = look(ask, Wanted(glob="P*/Edge-00[12]?", most=5))
    assert [each["node"] for each in seen.nodes] == [f"Edge-00{n}" for n in range(10, 15)]
    assert seen.total == 20
    assert {parameters["search"] for route, parameters in ask.routes if route == "nodes"} == {
        "/Edge-00"
    }


def test_orders_can_be_turned(ask):
    first, last = (look(ask, Wanted(sort, "*/Edge*", 1)).nodes for sort in ("node", "-node"))
    assert [first[0]["node"], last[0]["node"]] == ["Edge-0000", NAMES[-3]]


@pytest.mark.parametrize("width", [1, 10, 33, 60, 80, 100, 137, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 9, 14, 21, 24, 60])
@pytest.mark.parametrize("old", ["", "old since 12:00:00 UTC: nobody answers"])
def test_no_line_is_wider_and_no_screen_higher_than_the_terminal(picture, width, height, old):
    lines = screen(picture, width, height, old=old, hint="q ends")
    assert len(lines) <= height
    assert max(each.cell_len for each in lines) <= width


@pytest.mark.parametrize("height", [9, 14, 24, 60])
def test_what_is_not_shown_is_counted(picture, height):
    lines = [each.plain for each in screen(picture, 120, height)]
    head = next(index for index, line in enumerate(lines) if line.startswith("edge node"))
    shown = len(lines) - head - 2
    assert shown >= 3
    hidden = NODES + 1 - shown
    assert lines[-1] == f"{shown} of 1,235 edge nodes; not shown: {hidden:,} ({hidden:,} alive)"


def test_what_was_not_asked_for_is_counted_too(ask):
    lines = screen(look(ask, Wanted(most=40)), 120, 24)
    assert lines[-1].plain.startswith("9 of 1,235 edge nodes; not shown: 1,226 (1,226 alive)")


def test_a_page_without_an_end_hides_nothing(picture):
    lines = [each.plain for each in screen(picture, 220, None)]
    assert lines[-1] == "1,235 of 1,235 edge nodes"
    assert any(NAMES[-2] in line for line in lines)
    assert any(line.startswith(r"Plant/[b]\u202e ") for line in lines)


def test_what_is_old_has_one_colour(picture):
    [first, why, *rest] = screen(picture, 120, 40, old="old since 12:00:00 UTC: nobody answers")
    assert {str(each.style) for each in (first, why, *rest)} == {"bright_black"}
    assert not any(each.spans for each in (first, why, *rest))
    assert why.plain == "old since 12:00:00 UTC: nobody answers"


def test_servers_that_are_not_connected_come_first_and_say_why(picture):
    [server] = picture.servers
    lost = {**server, "name": "lost", "connected": False, "level": "wrong", "last_error": "why\n"}
    fine = {**server, "name": "fine", "connected": True, "level": "ok"}

    def ask(route, _):
        return {"items": [fine, lost]} if route == "servers" else told[route]

    told = {
        "overview": {
            **picture.overview,
            "samples": {"latency_p50_seconds": [0.1, None], "latency_p99_seconds": [0.2, None]},
        },
        "nodes": {"total": 0, "items": [], "states": picture.states | {"alive": 0}},
    }
    seen = look(ask, Wanted(most=1))
    assert isinstance(seen, Picture)
    lines = [each.plain for each in screen(seen, 150, 40)]
    at = next(index for index, line in enumerate(lines) if line.startswith("server"))
    assert lines[at + 1].startswith("lost    not connected")
    assert lines[at + 1].endswith(r"why\n")
    assert any("rows acknowledged within 0.1 s (p50), 0.2 s (p99)" in line for line in lines)
