"""A defect in reading costs what came together, and `tail` goes on."""

from __future__ import annotations

import pytest
from support.columnar import change, message, tag
from support.unconnected import configuration

from consumer.tap.changes import NO_BIRTH, ChangeReader
from consumer.tap.listening import HeardBatch
from consumer.tap.table_rows import RowReader
from consumer.tap.tail import Mode, Tail, TailOptions
from sparkplug import MessageBatch

BIRTH = message("NBIRTH", tag("Ramp", 0, 1.0), seq=0)
DATA = message("NDATA", change(0, 2.0), seq=1)
CURSED = message("NDATA", change(0, 3.0), seq=2)


class Heard:
    """What was heard of one server, a batch each turn."""

    def __init__(self, servers, *batches):
        self.servers = servers
        self._batches = [HeardBatch("plant", MessageBatch(each), (), None) for each in batches]

    @property
    def is_over(self):
        return not self._batches

    def batches(self, _timeout):
        return [self._batches.pop(0)] if self._batches else []


@pytest.fixture
def tail_of(tmp_path, monkeypatch):
    """What is shown of batches, when readers of a kind fail at some messages."""

    def make(kind, mode, *batches):
        read = kind.read

        def cursed(self, batch, now):
            yield from read(self, batch, now)
            if CURSED in batch.messages:
                raise ZeroDivisionError("by whoever wrote this")

        monkeypatch.setattr(kind, "read", cursed)
        config = configuration(tmp_path)
        heard = Heard(config.servers, *batches)
        tail = Tail(heard, config, TailOptions(mode, seconds=1), lambda: 2.0 * heard.is_over)
        shown = [item for items in tail.turns() for item in items]
        return tail, shown

    return make


def test_a_batch_that_cannot_be_read_is_counted_and_the_next_one_is_shown(tail_of):
    tail, shown = tail_of(ChangeReader, Mode.CHANGES, [BIRTH], [CURSED], [DATA], [BIRTH, DATA])
    assert [(each.metric, each.value) for each in shown][-2:] == [("Ramp", 1.0), ("Ramp", 2.0)]
    # What was known may be half of the truth now: births are heard anew.
    assert NO_BIRTH in [each.note for each in shown]
    assert (tail.defects, tail.defect) == (
        {"plant": 1},
        "ZeroDivisionError: by whoever wrote this",
    )


def test_so_it_is_with_rows(tail_of):
    tail, shown = tail_of(RowReader, Mode.ROWS, [BIRTH], [CURSED], [BIRTH, DATA])
    assert shown
    assert tail.defects == {"plant": 1}
