"""Encoded rows know when the first of them arrived: nobody has to read it for that."""

from support.columnar import change, message, tag
from support.unconnected import unconnected

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.pipeline.taken import Taken
from sparkplug.messages import Message

METRICS = 11_000
"""More than are encoded at a time."""

NAMES = [f"Tag {number}" for number in range(METRICS)]


def test_each_piece_of_rows_knows_when_its_first_row_arrived(tmp_path):
    with unconnected(tmp_path) as consumer:
        (source,) = consumer.sources
        birth = message("NBIRTH", *(tag(name, alias, 1.0) for alias, name in enumerate(NAMES)))
        source.fleet.feed([birth])
        half = METRICS // 2
        changes = [change(alias, 2.0) for alias in range(METRICS)]
        first = message("NDATA", *changes[:half], seq=1)
        second = message("NDATA", *changes[half:], seq=2)
        messages = [
            Message(each.topic, each.payload, received_us)
            for each, received_us in ((first, 1_000_000), (second, 2_000_000))
        ]
        decoded = source.fleet.feed(messages)
        taken = Taken(source, decoded, set())
        for observations in decoded.observations:
            taken.make_rows(observations, 1, dropping=False)
        pieces = [rows for made in taken.made for rows in made.encode()]
        assert len(pieces) == 2
        told = [TagEvent.FromString(piece.slice(0, 1)[0]).ingestion_timestamp for piece in pieces]
        assert [piece.arrived_us for piece in pieces] == told == [1_000_000, 2_000_000]
