"""The way to a server: shut and opened by others, obeyed by the connection's thread."""

from __future__ import annotations

import contextlib
import threading

import pytest
from support.services import wait_until

from consumer.broker.passage import Passage


@contextlib.contextmanager
def waiting(passage):
    """A thread at the passage; yields what it was told, once it was."""
    told = []
    thread = threading.Thread(target=lambda: told.append(passage.wait()), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        passage.stop()
        thread.join(10)
        assert not thread.is_alive()


def test_it_is_free_at_first():
    passage = Passage()
    assert passage.wait()
    assert not passage.barred.is_set()
    assert not passage.away


def test_shut_it_keeps_its_thread_until_it_is_opened():
    passage = Passage()
    passage.shut(2.0)
    assert passage.barred.is_set()
    assert not passage.stopping.is_set()
    assert passage.drain == 2.0
    assert not passage.away
    with waiting(passage) as told:
        wait_until(lambda: passage.away)
        assert told == []
        passage.open()
        wait_until(lambda: told)
        assert told == [True]
    assert not passage.away


def test_opened_and_shut_at_once_it_keeps_its_thread():
    passage = Passage()
    passage.shut(0.0)
    with waiting(passage) as told:
        wait_until(lambda: passage.away)
        passage.open()
        passage.shut(0.0)
        # Whether the thread noticed or not, it knows that no connection may be.
        assert passage.barred.is_set()
        assert told in ([], [True])


@pytest.mark.parametrize("shut", [True, False])
def test_a_stop_ends_every_wait_for_good(shut):
    passage = Passage()
    if shut:
        passage.shut(0.0)
        with waiting(passage) as told:
            wait_until(lambda: passage.away)
            passage.stop()
            wait_until(lambda: told)
            assert told == [False]
    passage.stop()
    passage.open()
    assert passage.barred.is_set()
    assert passage.stopping.is_set()
    assert not passage.wait()
