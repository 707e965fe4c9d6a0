"""Names that give no row need no declaration in data (docs/decoding.md)."""

import pytest
from oracle import Oracle
from oracle.arrivals import Arrival
from oracle.messages import ARRIVED
from support.columnar import Columnar, change, message, metric, tag
from support.listener import BIRTH, DEVICE_BIRTH, data, listening, numbers, reasons, told
from support.template_messages import instance, member, part, reading

from sparkplug.datatypes import DataType
from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX

CONTROLS = ["bdSeq", "Node Control/Rebirth", "Node Control/Next Server", "Device Control/Reboot"]


def control(name):
    return metric(name, DataType.Boolean, boolean_value=False)


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize(("verb", "seq"), [("NDATA", 2), ("DDATA", 2)])
def test_an_undeclared_name_that_gives_no_row_is_no_fault(name, verb, seq):
    heard = listening(BIRTH, DEVICE_BIRTH)
    alias = 0 if verb == "NDATA" else 1
    rows = heard.feed(message(verb, control(name), change(alias, 7.0), seq=seq))
    assert numbers(rows) == [7]
    assert (heard.counts, heard.rebirths, heard.fleet.gauges.held_messages) == ({}, [], 0)


def test_messages_out_of_order_may_have_such_names_too():
    heard = listening(BIRTH, message("NDATA", control(CONTROLS[1]), seq=2))
    heard.feed(data(1))
    assert (heard.counts, heard.rebirths, heard.fleet.gauges.held_messages) == ({}, [], 0)


def test_what_was_held_for_a_birth_leaves_no_dead_letter_of_such_names():
    heard = listening(message("NDATA", control(CONTROLS[1]), metric("Ramp", double_value=5.0)))
    assert numbers(heard.feed(BIRTH)) == [5]
    assert not reasons(heard)


def test_an_alias_that_the_birth_gave_to_such_a_name_is_known_and_gives_no_row():
    rebirth = metric(CONTROLS[1], DataType.Boolean, alias=7, boolean_value=False)
    heard = listening(message("NBIRTH", rebirth, tag("Ramp", 0)), DEVICE_BIRTH)
    rows = heard.feed(
        message("NDATA", metric(alias=7, boolean_value=False), seq=2),
        message("DDATA", metric(alias=7, boolean_value=False), change(1, 3.0), seq=3),
    )
    assert told(rows) == {("DDATA", "Boiler/Level", 3.0)}
    assert (heard.counts, heard.rebirths) == ({}, [])


@pytest.mark.parametrize(
    "name", ["/Node Control/Rebirth", "node control/rebirth", "Node Control", "BDSEQ", "bdSeq/1"]
)
def test_names_that_only_look_like_it_need_a_declaration(name):
    heard = listening(BIRTH)
    heard.feed(message("NDATA", control(name), seq=1))
    assert heard.counts == {"unknown_metric": 1}
    assert heard.rebirths == ["unknown_metric"]


def test_members_under_such_a_path_need_no_declaration_either():
    motor = instance("Node Control/Motor", member("speed"), alias=3)
    heard = listening(message("NBIRTH", motor))
    heard.feed(message("NDATA", part(3, reading("current", 1.0)), seq=1))
    assert (heard.counts, heard.rebirths, heard.fleet.gauges.held_messages) == ({}, [], 0)


def test_what_the_configuration_leaves_out_needs_no_declaration():
    heard = Columnar(wanted=lambda path: not path.startswith("Plant/Edge/Junk"))
    junk = metric("Junk", double_value=1.0)
    heard.feed(BIRTH, message("NDATA", junk, change(0, 2.0), seq=1))
    assert (heard.counts, heard.rebirths) == ({}, [])
    heard.feed(message("NDATA", metric("Other", double_value=1.0), seq=2))
    assert heard.counts == {"unknown_metric": 1}


def test_a_template_that_is_left_out_itself_may_have_members_that_are_not():
    heard = Columnar(wanted=lambda path: path.endswith("/speed"))
    heard.feed(BIRTH, message("NDATA", instance("Motor", member("speed")), seq=1))
    assert heard.counts == {"unknown_metric": 1}


def test_under_a_kept_birth_such_names_do_not_wait():
    heard = listening()
    kept = BIRTH._replace(topic=CERTIFICATE_PREFIX + BIRTH.topic, retained=True)
    heard.fleet.memory.warm_start([kept], 0.0)
    ramp = metric("Ramp", double_value=5.0)
    rows = heard.feed(message("NDATA", control(CONTROLS[1]), ramp, seq=9))
    assert numbers(rows) == [5]
    assert heard.fleet.gauges.held_messages == 0


@pytest.mark.parametrize("name", CONTROLS)
def test_the_oracle_says_the_same(name):
    oracle = Oracle()
    messages = [BIRTH, message("NDATA", control(name), change(0, 7.0), seq=1)]
    oracle.feed([Arrival(each.topic, each.payload, ARRIVED) for each in messages])
    assert (len(oracle.rows), oracle.counts, oracle.rebirth_requests) == (2, {}, [])
