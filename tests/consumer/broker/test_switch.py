"""The way to a server: shut and opened by others, obeyed by the connection's thread."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from support.clock import Clock
from support.services import PATIENCE, wait_until

from consumer.broker.switch import DRILL, ConnectionSwitch


@contextlib.contextmanager
def waiting(switch):
    """A thread at the switch; yields what it was told, once it was."""
    told = []
    thread = threading.Thread(target=lambda: told.append(switch.wait()), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        switch.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_it_is_open_at_first():
    switch = ConnectionSwitch()
    assert switch.wait()
    assert not switch.barred.is_set()
    assert not switch.away


def test_shut_it_keeps_its_thread_until_it_is_opened():
    switch = ConnectionSwitch()
    switch.shut(2.0)
    assert switch.barred.is_set()
    assert not switch.stopping.is_set()
    assert switch.drain == 2.0
    assert not switch.away
    with waiting(switch) as told:
        wait_until(lambda: switch.away)
        assert told == []
        switch.open()
        wait_until(lambda: told)
        assert told == [True]
    assert not switch.away


def test_opened_and_shut_at_once_it_keeps_its_thread():
    switch = ConnectionSwitch()
    switch.shut(0.0)
    with waiting(switch) as told:
        wait_until(lambda: switch.away)
        switch.open()
        switch.shut(0.0)
        # Whether the thread noticed or not, it knows that no connection may be.
        assert switch.barred.is_set()
        assert told in ([], [True])


@pytest.mark.parametrize("shut", [True, False])
def test_a_stop_ends_every_wait_for_good(shut):
    switch = ConnectionSwitch()
    if shut:
        switch.shut(0.0)
        with waiting(switch) as told:
            wait_until(lambda: switch.away)
            switch.stop()
            wait_until(lambda: told)
            assert told == [False]
    switch.stop()
    switch.open()
    assert switch.barred.is_set()
    assert switch.stopping.is_set()
    assert not switch.wait()


def test_what_is_shut_until_a_time_opens_by_itself():
    switch = ConnectionSwitch()
    switch.shut(0.0, by=DRILL, until=time.monotonic() + 0.2)
    assert switch.barred.is_set()
    with waiting(switch) as told:
        wait_until(lambda: told)
        assert told == [True]
        assert not switch.barred.is_set()


def test_it_stays_shut_while_anybody_wants_that():
    clock = Clock()
    switch = ConnectionSwitch(clock)
    switch.shut(0.0)
    switch.shut(0.0, by=DRILL, until=clock.now + 10)
    with waiting(switch) as told:
        wait_until(lambda: switch.away)
        switch.open(by=DRILL)
        assert switch.barred.is_set()
        switch.shut(0.0, by=DRILL, until=clock.now + 10)
        switch.open()
        assert switch.barred.is_set()
        assert told == []
        switch.open(by=DRILL)
        wait_until(lambda: told)
        assert not switch.barred.is_set()


def test_an_end_that_comes_while_others_want_it_shut_opens_nothing():
    clock = Clock()
    switch = ConnectionSwitch(clock)
    switch.shut(0.0)
    switch.shut(0.0, by=DRILL, until=clock.now + 10)
    clock.now += 11
    assert not switch.hurries
    switch.open()
    assert switch.hurries
    assert not switch.barred.is_set()


def test_who_leaves_has_no_more_time_when_it_stops_or_may_stay():
    clock = Clock()
    switch = ConnectionSwitch(clock)
    switch.shut(5.0, by=DRILL, until=clock.now + 10)
    assert not switch.hurries
    clock.now += 11
    assert switch.hurries
    assert switch.wait()
    assert not switch.barred.is_set()
    switch.shut(5.0)
    assert not switch.hurries
    switch.stop()
    assert switch.hurries
