"""Messages that came together are a batch as those that came one by one."""

from hypothesis import given
from hypothesis import strategies as st
from support.generated import examples

from sparkplug.messages import Message, MessageBatch

PAYLOADS = st.sampled_from([b"", b"x", b"\xff" * 4, b"\xff" * 5, b"ab\xff\xff", bytes(20_000)])
COLUMNS = MessageBatch.__slots__


@given(
    runs=st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(["a", "spBv1.0/P/NDATA/E"]), PAYLOADS), max_size=5),
            st.integers(0, 2**62),
            st.booleans(),
        ),
        max_size=4,
    )
)
@examples(150)
def test_a_batch_that_is_extended_is_one_that_was_appended_to(runs):
    extended, appended = MessageBatch(), MessageBatch()
    for messages, at_us, retained in runs:
        extended.extend(
            [topic for topic, _ in messages],
            [payload for _, payload in messages],
            at_us,
            retained=retained,
        )
        for topic, payload in messages:
            appended.append(Message(topic, payload, at_us, retained))
    for name in COLUMNS:
        assert getattr(extended, name) == getattr(appended, name), name


TOPICS = st.sampled_from(["a", "spBv1.0/P/NDATA/E", "spBv1.0/P/NDEATH/E"])
MESSAGES = st.builds(Message, TOPICS, PAYLOADS, st.integers(0, 2**62), st.booleans())


@given(messages=st.lists(st.tuples(MESSAGES, st.booleans()), max_size=12))
@examples(150)
def test_a_batch_of_which_messages_are_left_out_is_one_of_the_others(messages):
    batch = MessageBatch(message for message, _ in messages)
    batch.leave_out([position for position, (_, gone) in enumerate(messages) if gone][::-1])
    rest = MessageBatch(message for message, gone in messages if not gone)
    for name in COLUMNS:
        assert getattr(batch, name) == getattr(rest, name), name
