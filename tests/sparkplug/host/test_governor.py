"""When nodes are really asked for a rebirth."""

import itertools

import pytest

from sparkplug.host.governor import LONGEST_PAUSE, RebirthGovernor, reason_in_words
from sparkplug.messages import Reason, RebirthRequest

JITTER = 1.2


def governor(per_node=5.0, fleet=1000.0, random=lambda: 0.0):
    return RebirthGovernor(per_node, fleet, random)


def wish(node="Edge", reason=Reason.UNKNOWN_ALIAS):
    return RebirthRequest("Plant", node, reason)


def asked(governor, now):
    return [node for _, node, _ in governor.due(now)]


def times_asked(governor, until, step=0.5, born_at=()):
    """When a node that is wanted all the time is asked."""
    found = []
    for tick in range(int(until / step) + 1):
        now = tick * step
        if now in born_at:
            governor.born("Plant", "Edge")
        governor.want(wish())
        if governor.due(now):
            found.append(now)
    return found


def test_a_node_that_is_wanted_is_asked_at_once_and_once():
    g = governor()
    g.want(wish(reason=Reason.SEQUENCE_GAP))
    assert g.due(100.0) == [("Plant", "Edge", Reason.SEQUENCE_GAP)]
    assert g.due(200.0) == []


def test_nothing_is_asked_when_nothing_is_wanted():
    g = governor()
    assert g.due(0.0) == []
    g.born("Plant", "Edge")
    assert g.due(1000.0) == []
    assert g.pending == 0


def test_any_number_of_wishes_is_one_request_with_the_first_reason():
    g = governor()
    g.want(wish(reason=Reason.DATA_BEFORE_BIRTH))
    for _ in range(1000):
        g.want(wish(reason=Reason.UNKNOWN_ALIAS))
    assert g.pending == 1
    assert g.due(0.0) == [("Plant", "Edge", Reason.DATA_BEFORE_BIRTH)]


def test_a_second_wish_waits_for_the_pause_of_its_node():
    g = governor(per_node=5.0)
    g.want(wish())
    g.due(10.0)
    g.want(wish())
    assert asked(g, 14.9) == []
    assert g.pending == 1
    assert asked(g, 15.0) == ["Edge"]


def test_a_node_that_never_answers_is_asked_ever_more_rarely():
    found = times_asked(governor(per_node=5.0), until=3000.0)
    pauses = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert pauses[:6] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0]
    assert set(pauses[6:]) == {LONGEST_PAUSE}


@pytest.mark.parametrize("number", [0.0, 0.5, 0.999])
def test_pauses_vary_by_a_fifth_at_most(number):
    found = times_asked(governor(per_node=100.0, random=lambda: number), until=5000.0, step=0.25)
    pauses = [later - earlier for earlier, later in itertools.pairwise(found)]
    for pause, plain in zip(pauses, [100.0, 200.0, *[LONGEST_PAUSE] * 20], strict=False):
        assert plain <= pause <= plain * JITTER + 0.25
        assert pause == pytest.approx(plain * (1 + 0.2 * number), abs=0.25)


def test_even_after_a_thousand_requests_the_pause_stays_bounded():
    g = governor(per_node=5.0, random=lambda: 0.999)
    for number in range(1000):
        g.want(wish())
        assert asked(g, number * LONGEST_PAUSE * JITTER) == ["Edge"]


def test_a_birth_takes_the_request_back():
    g = governor()
    g.want(wish())
    g.born("Plant", "Edge")
    assert g.pending == 0
    assert asked(g, 1000.0) == []


def test_a_birth_ends_the_back_off_but_not_the_pause():
    found = times_asked(governor(per_node=5.0), until=400.0, born_at={150.0})
    assert found[:6] == [0.0, 5.0, 15.0, 35.0, 75.0, 155.0]
    assert found[6:8] == [165.0, 185.0]


def test_a_node_with_broken_births_is_not_asked_at_the_rate_of_its_births():
    g = governor(per_node=5.0)
    found = []
    for tick in range(600):  # a birth, and at once a wish, ten times a second
        g.born("Plant", "Edge")
        g.want(wish())
        found += asked(g, tick / 10)
    assert len(found) <= 8


def test_the_fleet_shares_a_budget():
    g = governor(fleet=10.0)
    nodes = [f"E{n}" for n in range(100)]
    for node in nodes:
        g.want(wish(node))
    assert asked(g, 0.0) == nodes[:10]
    assert asked(g, 0.0) == []
    assert asked(g, 0.5) == nodes[10:15]
    assert g.pending == 85
    found = [asked(g, 0.5 + 0.1 * tick) for tick in range(1, 100)]
    assert [node for tick in found for node in tick] == nodes[15:]
    assert max(len(tick) for tick in found) <= 2


def test_an_idle_hour_does_not_pay_for_a_storm():
    g = governor(fleet=10.0)
    g.due(0.0)
    for n in range(100):
        g.want(wish(f"E{n}"))
    assert len(g.due(3600.0)) == 10


@pytest.mark.parametrize("rate", [0.25, 1.0])
def test_a_budget_below_one_request_per_second_is_kept(rate):
    g = governor(fleet=rate)
    for n in range(50):
        g.want(wish(f"E{n}"))
    total = sum(len(g.due(float(second))) for second in range(101))
    assert total == min(50, 1 + int(100 * rate))


def test_a_clock_that_goes_back_pays_nothing():
    g = governor(fleet=1.0)
    for n in range(5):
        g.want(wish(f"E{n}"))
    assert len(g.due(100.0)) == 1
    assert g.due(50.0) == []


def test_nodes_that_never_answer_do_not_starve_those_behind_them():
    g = governor(per_node=1.0, fleet=1.0)
    nodes = [f"E{n}" for n in range(600)]
    served = []
    for second in range(600):
        for node in nodes:
            g.want(wish(node))
        served += asked(g, float(second))
    assert served == nodes


def test_ids_of_different_groups_are_different_nodes():
    g = governor()
    g.want(RebirthRequest("A", "Edge", Reason.SEQUENCE_GAP))
    g.want(RebirthRequest("B", "Edge", Reason.SEQUENCE_GAP))
    g.born("A", "Edge")
    assert [(group, node) for group, node, _ in g.due(0.0)] == [("B", "Edge")]


def test_forged_ids_do_not_grow_memory_without_bound():
    g = governor(fleet=1.0)
    for n in range(100_500):
        g.want(wish(f"forged {n}"))
    assert g.pending == 100_000
    g.want(wish("Edge"))
    g.born("Plant", "Edge")
    assert g.pending == 99_999


def test_forged_ids_that_were_asked_do_not_grow_memory_without_bound():
    g = governor(fleet=1e6)
    for n in range(100_500):
        g.want(wish(f"forged {n}"))
        g.due(0.0)
    assert g.pending == 0
    assert len(g._asked) == 100_000


# Suspended nodes, and wishes of the user


def by_user(node="Edge"):
    return wish(node, Reason.ASKED_BY_USER)


def test_a_suspended_node_is_not_asked_and_what_was_pending_is_dropped():
    g = governor()
    g.want(wish())
    g.suspend("Plant", "Edge")
    assert g.pending == 0
    for second in range(100):
        g.want(wish())
        g.want(wish("Other"))
        assert "Edge" not in asked(g, second * 10.0)
    assert g.pending == 1


def test_a_resumed_node_is_asked_when_there_is_a_reason_again():
    g = governor()
    g.suspend("Plant", "Edge")
    g.want(wish())
    g.resume("Plant", "Edge")
    assert asked(g, 0.0) == []
    g.want(wish())
    assert asked(g, 0.0) == ["Edge"]


def test_nodes_that_were_not_suspended_can_be_resumed():
    g = governor()
    g.resume("Plant", "Edge")
    g.want(wish())
    assert asked(g, 0.0) == ["Edge"]


@pytest.mark.parametrize("suspended_first", [True, False])
def test_the_user_may_ask_a_suspended_node(suspended_first):
    g = governor()
    if suspended_first:
        g.suspend("Plant", "Edge")
    g.want(by_user())
    if not suspended_first:
        g.suspend("Plant", "Edge")
    assert g.due(0.0) == [("Plant", "Edge", Reason.ASKED_BY_USER)]


def test_the_user_waits_for_the_shortest_pause_only():
    g = governor(per_node=5.0)
    times_asked(g, until=1000.0)  # ever more rarely, the last time at 915
    g.want(by_user())
    assert g.due(1000.5) == [("Plant", "Edge", Reason.ASKED_BY_USER)]
    g.want(by_user())
    assert asked(g, 1005.0) == []
    assert asked(g, 1005.5) == ["Edge"]


def test_the_user_goes_before_all_others_and_is_bound_by_the_budget():
    g = governor(fleet=1.0)
    for n in range(10):
        g.want(wish(f"E{n}"))
    g.want(by_user("E7"))
    assert g.pending == 10
    assert g.due(0.0) == [("Plant", "E7", Reason.ASKED_BY_USER)]
    assert asked(g, 0.0) == []
    assert asked(g, 1.0) == ["E0"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (Reason.SEQUENCE_GAP, "sequence gap"),
        (Reason.BAD_PAYLOAD, "unparsable payload"),
        (Reason.ASKED_BY_USER, "asked by user"),
        (Reason.LATE_BIRTH, "late birth"),
    ],
)
def test_reasons_have_the_words_that_operators_know(reason, words):
    assert reason_in_words(reason) == words


def test_a_wish_that_is_moot_when_its_time_comes_is_dropped_and_costs_nothing():
    g = governor(fleet=1.0)
    g.want(wish("Speaks", Reason.UNHEARD))
    g.want(wish("Silent", Reason.UNHEARD))
    found = g.due(0.0, lambda _, node, reason: (node, reason) == ("Speaks", Reason.UNHEARD))
    assert found == [("Plant", "Silent", Reason.UNHEARD)]
    assert g.pending == 0
