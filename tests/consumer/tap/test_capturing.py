"""What is heard goes into the file in the order in which the consumer would read it."""

from support.captures import messages_in

from consumer.tap.capture_format import CapturedServer
from consumer.tap.capturing import Capturing
from consumer.tap.listening import HeardBatch
from sparkplug import Message


def test_births_that_a_server_keeps_stand_first(tmp_path):
    path = tmp_path / "wire.spz"
    data = Message("spBv1.0/G/NDATA/E", b"data", 1)
    kept = Message("$sparkplug/certificates/spBv1.0/G/NBIRTH/E", b"birth", 2, retained=True)
    capturing = Capturing(path, [CapturedServer("a"), CapturedServer("b")])
    with capturing.writer:
        capturing.take(HeardBatch("b", [data], [kept], None))
    assert messages_in(path) == [kept, data]
    assert capturing.messages == 2
