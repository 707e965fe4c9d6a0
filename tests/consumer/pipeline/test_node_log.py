"""The last events and the story of each node: bounded in number and in characters."""

import pytest

from consumer.pipeline.node_log import MOST_EVENTS, NodeLog
from sparkplug import Event, EventKind

PLACE = ("plant", "G", "N")


def event(kind=EventKind.NODE_BIRTH, at_us=1, group="G", node="N", **more):
    return Event(kind, at_us, group, node, **more)


def test_a_node_has_its_births_deaths_and_requests():
    log = NodeLog()
    log.add("plant", event(at_us=10))
    log.add("plant", event(EventKind.NODE_DEATH, 20))
    log.add("plant", event(EventKind.REBIRTH_REQUEST, 25))
    log.add("plant", event(at_us=30))
    log.add("plant", event(EventKind.DEVICE_BIRTH, 31, device_id="D"))
    story = log.stories()[PLACE]
    assert (story.births, story.deaths, story.rebirths_asked) == (2, 1, 1)
    assert (story.last_birth_us, story.last_death_us) == (30, 20)
    assert [each.number for each in log.events()] == [1, 2, 3, 4, 5]


def test_events_of_no_node_are_logged_too():
    log = NodeLog()
    log.add("plant", Event(EventKind.CONNECTION_LOST, 1))
    assert log.stories() == {}
    assert log.count == 1


def test_no_more_than_the_last_events_are_kept():
    log = NodeLog()
    for number in range(MOST_EVENTS + 100):
        log.add("plant", event(at_us=number))
    assert len(log.events()) == MOST_EVENTS
    assert log.events()[-1].number == MOST_EVENTS + 100


@pytest.mark.parametrize("field", ["group", "node"])
def test_whoever_invents_long_names_takes_no_more_memory(field):
    log = NodeLog()
    for number in range(2_000):
        log.add("plant", event(**{field: f"{number}" + "x" * 10_000}))
    kept = sum(len(each.event.group_id) + len(each.event.edge_node_id) for each in log.events())
    assert 0 < kept <= 2 << 20
    assert log.stories() == {}


def test_whoever_invents_nodes_takes_no_more_memory():
    log = NodeLog()
    for number in range(12_000):
        log.add("plant", event(node=str(number)))
    assert len(log.stories()) == 10_000
