"""Complaints that births do not mend (docs/operating.md)."""

import itertools

import pytest
from support.columnar import change, message, metric, tag
from support.listener import BIRTH, DEVICE_BIRTH, level, listening
from support.template_messages import instance, member, part, reading

from sparkplug.host.governor import RebirthGovernor
from sparkplug.messages import Message, Reason, RebirthRequest

NODE = ("Plant", "Edge")
HOUR = 3600.0
MONTH = 30 * 24 * HOUR


def governor(**options):
    return RebirthGovernor(5.0, 1000.0, lambda: 0.0, **options)


def wish(*subjects, reason=Reason.UNKNOWN_METRIC):
    return RebirthRequest(*NODE, reason, subjects)


def times_asked(governor, until, *, step=5.0, wishes=lambda _: [wish("Junk")], start=0.0):
    """When a node is asked that answers each request at once, and is complained of all the time."""
    found, now = [], start
    while now <= until:
        for each in wishes(now):
            governor.want(each)
        if asked := governor.due(now):
            found += [(now, reason) for _, _, reason in asked]
            governor.born(*NODE)
        now += step
    return found


def pauses(found):
    return [later - earlier for (earlier, _), (later, _) in itertools.pairwise(found)]


def test_each_birth_in_vain_doubles_the_pause_up_to_the_longest():
    found = pauses(times_asked(governor(), 6 * HOUR))
    assert found[:9] == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0]
    assert set(found[9:]) == {HOUR}


def test_a_node_is_not_asked_for_everything_all_month():
    assert len(times_asked(governor(), MONTH / 10, step=60.0)) < 85


@pytest.mark.parametrize("max_pause", [60.0, 600.0])
def test_the_longest_pause_is_that_of_the_configuration(max_pause):
    assert max(pauses(times_asked(governor(max_pause=max_pause), 2 * HOUR))) == max_pause


@pytest.mark.parametrize(
    "reason",
    [
        Reason.UNKNOWN_METRIC,
        Reason.UNKNOWN_ALIAS,
        Reason.BAD_PAYLOAD,
        Reason.DEVICE_DATA_BEFORE_BIRTH,
    ],
)
def test_what_is_the_fault_of_the_node_waits_longer(reason):
    found = times_asked(governor(), HOUR, wishes=lambda _: [wish("it", reason=reason)])
    assert len(found) < 11


@pytest.mark.parametrize("reason", [Reason.SEQUENCE_GAP, Reason.DATA_BEFORE_BIRTH])
def test_what_gets_lost_on_the_way_does_not(reason):
    found = times_asked(governor(), HOUR, wishes=lambda _: [wish(reason=reason)])
    assert set(pauses(found)[1:]) == {10.0}


def test_a_hole_in_seq_never_waits_for_another_complaint():
    g = governor()
    times_asked(g, HOUR)
    g.want(wish("Junk"))
    assert g.due(HOUR + 5) == []
    g.want(RebirthRequest(*NODE, Reason.SEQUENCE_GAP))
    assert g.due(HOUR + 10) == [(*NODE, Reason.SEQUENCE_GAP)]


def test_nor_does_the_complaint_wait_for_a_wish_that_came_before_it():
    g = governor()
    g.want(RebirthRequest(*NODE, Reason.SEQUENCE_GAP))
    g.want(wish("Junk"))
    assert g.due(0.0) == [(*NODE, Reason.SEQUENCE_GAP)]


def test_another_metric_waits_no_longer_than_the_first_did():
    g = governor()
    times_asked(g, HOUR)
    g.want(wish("Junk", "New"))
    assert g.due(HOUR + 20) == [(*NODE, Reason.UNKNOWN_METRIC)]


def test_a_person_waits_for_nothing_of_it():
    g = governor()
    times_asked(g, HOUR)
    g.want(wish("Junk"))
    g.want(RebirthRequest(*NODE, Reason.ASKED_BY_USER))
    assert g.due(HOUR + 10) == [(*NODE, Reason.ASKED_BY_USER)]


def test_other_nodes_are_asked_as_ever():
    g = governor()
    times_asked(g, HOUR)
    g.want(RebirthRequest("Plant", "Other", Reason.UNKNOWN_METRIC, ("Junk",)))
    assert g.due(HOUR + 1) == [("Plant", "Other", Reason.UNKNOWN_METRIC)]


def test_it_is_forgotten_after_an_hour_without():
    g = governor()
    times_asked(g, 2 * HOUR)
    if g.due(3 * HOUR - 20):
        g.born(*NODE)
    assert g.unmended
    g.due(3 * HOUR + 70)
    assert not g.unmended
    found = times_asked(g, 4 * HOUR, start=3 * HOUR + 75)
    assert pauses(found)[:3] == [10.0, 20.0, 40.0]
    assert len(g.take_unmended()) == 2


def test_a_birth_of_the_device_mends_what_was_said_of_the_device():
    g = governor()
    device = wish("Boiler", reason=Reason.DEVICE_DATA_BEFORE_BIRTH)
    times_asked(g, HOUR, wishes=lambda _: [device])
    g.device_born(*NODE, "Boiler")
    if g.due(2 * HOUR):
        g.born(*NODE)
    assert not g.unmended
    assert pauses(times_asked(g, 3 * HOUR, wishes=lambda _: [device], start=2 * HOUR))[0] == 10.0


def test_what_is_wrong_is_told_once_for_each_reason():
    g = governor()
    both = [wish("Junk"), wish("More"), wish("alias 7", reason=Reason.UNKNOWN_ALIAS)]
    times_asked(g, 6 * HOUR, wishes=lambda _: both)
    told = g.take_unmended()
    assert [(each.reason, each.subject) for each in told] == [
        (Reason.UNKNOWN_METRIC, "Junk"),
        (Reason.UNKNOWN_ALIAS, "alias 7"),
    ]
    assert not g.take_unmended()
    assert {(each.reason, each.subject) for each in g.unmended} == {
        (Reason.UNKNOWN_METRIC, "Junk"),
        (Reason.UNKNOWN_ALIAS, "alias 7"),
    }


def test_a_node_that_answers_for_good_is_told_of_nowhere():
    g = governor()
    g.want(wish("New"))
    g.due(0.0)
    g.born(*NODE)
    g.due(70.0)
    assert (g.unmended, g.take_unmended()) == ((), [])


def test_names_that_are_new_each_time_become_one_complaint():
    g = governor()
    found = times_asked(g, 4 * HOUR, wishes=lambda now: [wish(f"Junk {now}")])
    assert pauses(found)[-1] > 600.0


def test_invented_nodes_take_bounded_memory():
    g = governor()
    for number in range(11_000):
        g.want(RebirthRequest("Plant", f"E{number}", Reason.UNKNOWN_METRIC, ("Junk",)))
    assert len(g._complaints._nodes) == 10_000


# What is complained of


def subjects(heard, *messages):
    wishes = heard.fleet.feed(messages, 0.0).rebirths
    return {(str(each.reason), each.subjects) for each in wishes}


def test_a_wish_names_metrics_aliases_devices_and_topics():
    sine = metric("Sine", double_value=1.0)
    heard = listening(BIRTH, DEVICE_BIRTH)
    assert subjects(heard, message("NDATA", sine, change(7, 1.0), seq=2)) == {
        ("unknown_metric", ("Sine",)),
        ("unknown_alias", ("alias 7",)),
    }
    assert subjects(heard, message("DDATA", sine, seq=3)) == {("unknown_metric", ("Boiler/Sine",))}
    fan = level(4)._replace(topic="spBv1.0/Plant/DDATA/Edge/Fan")
    assert subjects(heard, fan) == {("device_data_before_birth", ("Fan",))}
    topic = "spBv1.0/Plant/NDATA/Edge"
    assert subjects(heard, Message(topic, b"\xff", 1)) == {("bad_payload", (topic,))}


def test_a_wish_names_members_of_templates_by_their_paths():
    heard = listening(message("NBIRTH", instance("Motor", member("speed"), alias=3)))
    current = message("NDATA", part(3, reading("current", 1.0)), seq=1)
    assert subjects(heard, current) == {("unknown_metric", ("Motor/current",))}


def test_of_one_batch_there_is_one_wish_for_each_reason_with_some_of_the_names():
    junk = [metric(f"Junk {n}", double_value=1.0) for n in range(40)]
    heard = listening(message("NBIRTH", tag("Ramp", 0)))
    data = [message("NDATA", *junk[n : n + 10], seq=1 + n // 10) for n in range(0, 40, 10)]
    [(reason, names)] = subjects(heard, *data)
    assert reason == "unknown_metric"
    assert len(names) == 16
    assert names[0] == "Junk 0"
