"""The way to a server: shut and opened by others, obeyed by the connection's thread."""

from __future__ import annotations

import contextlib
import threading

import pytest
from support.services import PATIENCE, wait_until

from consumer.broker.switch import ConnectionSwitch


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
