"""Hypothesis strategies for fleets: lists of batches of arrivals.

Hypothesis draws the structure (features, batches, one seed per message), and
random.Random fills in each message, which is faster by far than drawing every
field and still shrinks: messages drop out one by one, and features that do not
matter disappear from the report.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from hypothesis import note
from hypothesis import strategies as st

from oracle.features import ALL_FEATURES
from oracle.network import Batch, Network
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oracle.decoder import Arrival

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
MOSTLY = st.sampled_from((False, True, True, True))  # shrinks to False


@st.composite
def fleets(
    draw: st.DrawFn,
    features: Iterable[str] = ALL_FEATURES,
    max_batches: int = 4,
    max_messages: int = 40,
) -> list[Batch]:
    """Batches of messages from a fleet that has some of `features`.

    Most features are on, since hostile messages find more in company; a failing
    example keeps only those it needs.
    """
    chosen = [name for name in sorted(features) if draw(MOSTLY)]
    network = Network(draw(SEEDS), chosen)
    seeds = draw(st.lists(st.lists(SEEDS, min_size=1, max_size=max_messages), max_size=max_batches))
    batches = [network.batch(batch) for batch in seeds]
    note(f"features: {chosen}")
    for number, batch in enumerate(batches):
        before = ", ".join(f"{what} at {when}" for what, when in batch.before)
        note(f"{before}\nbatch {number} at {batch.now}:\n{describe(batch)}")
    return batches


def random_fleet(
    seed: int, batches: int = 4, messages: int = 200, features: Iterable[str] = ALL_FEATURES
) -> list[Batch]:
    """The same without hypothesis, for many messages at once."""
    rng = random.Random(seed)
    network = Network(rng.getrandbits(32), features)
    return [network.batch([rng.getrandbits(32) for _ in range(messages)]) for _ in range(batches)]


def describe(arrivals: Iterable[Arrival]) -> str:
    """What the arrivals say, for a person to read."""
    lines = []
    for arrival in arrivals:
        flags = (" retained" if arrival.retained else "") + f" from {arrival.server}"
        try:
            body = str(Payload.FromString(arrival.payload)).strip()
        except (DecodeError, UnicodeDecodeError):
            body = repr(arrival.payload)
        lines.append(f"{arrival.topic}{flags} at {arrival.received_at_us}")
        lines += [f"    {line}" for line in body.splitlines()]
    return "\n".join(lines)


def some_of(features: Iterable[str], seed: int) -> list[str]:
    """About half of the features."""
    rng = random.Random(f"features {seed}")
    return [name for name in sorted(features) if rng.random() < 0.5]
