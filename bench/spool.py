"""What the spool costs beside decoding: CPU seconds per million rows, on minus off.

Each batch is decoded, normalized and encoded as in the pipeline, then committed to a real
file with the defaults of `run` and trimmed again as after an acknowledgement; the same
batches once more without a spool. The two take turns by the batch.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import fleet as generated

from consumer.rows import EncodedRows, SourceNames, TagColumns, descriptor_bytes, normalize
from consumer.rows.tables import TAG_EVENTS
from consumer.spool import NewBatch, Spool
from sparkplug import Fleet, Message, MessageBatch

MOST_CPU_SECONDS: Final = 0.5
"""Bound that the project keeps, per million rows."""

_TABLE: Final = "bench.plant.tag_events"
_TRIM_EVERY: Final = 4
"""Batches per trim: what gathers within the delivery's trim interval at a high rate."""
_ROUNDS: Final = 5
"""Files that are written for each size of messages; the median of them counts."""


def marginal_cost(metrics_per_message: int, messages: int, batches: int) -> dict[str, float]:
    """CPU seconds per million rows of the spool alone, and of everything before it."""
    found = generated.batches(metrics_per_message, batches + _TRIM_EVERY, messages)
    fleet = Fleet()
    tags = TagColumns(fleet.catalogue, SourceNames())
    fleet.feed(MessageBatch(Message(*each) for each in generated.births()))
    rows = metrics_per_message * messages
    decoding: list[float] = []
    spooling: list[float] = []
    with tempfile.TemporaryDirectory(prefix="spool-") as directory:
        spool = Spool.open(Path(directory) / "spool.db")
        schema_id = spool.schemas.register(descriptor_bytes(TAG_EVENTS.descriptor))
        waiting: list[int] = []
        arrival = 1
        for raw in found:
            batch = MessageBatch(Message(*each) for each in raw)
            started = time.process_time()
            (observations,) = fleet.feed(batch).observations
            events = normalize(observations, tags, arrival)
            encoded = [EncodedRows(part) for part in events.encode()]
            arrival += len(events)
            decoding.append(time.process_time() - started)
            started = time.process_time()
            new = [NewBatch(_TABLE, schema_id, part) for part in encoded]
            spooled = spool.commit(new, state={"next_arrival_number": arrival})
            waiting += [each.batch_id for each in spooled]
            if len(waiting) >= _TRIM_EVERY:
                spool.trim(waiting)
                waiting = []
            spooling.append(time.process_time() - started)
        spool.close()
    # A trim belongs to all batches before it: means over rounds, then the median of these.
    rounds = [
        statistics.mean(spooling[start : start + _TRIM_EVERY])
        for start in range(_TRIM_EVERY, len(spooling) - _TRIM_EVERY + 1, _TRIM_EVERY)
    ]
    return {
        "spool": round(statistics.median(rounds) / rows * 1e6, 3),
        "decode_and_encode": round(statistics.median(decoding[_TRIM_EVERY:]) / rows * 1e6, 3),
    }


def measure() -> dict[str, dict[str, float]]:
    """The cost at three sizes of messages, medians of some rounds, printed and returned."""
    print(f"spool, CPU seconds per million rows (bound {MOST_CPU_SECONDS}):")
    found = {}
    for metrics, messages, batches in ((1, 5000, 40), (10, 1000, 40), (100, 200, 40)):
        rounds = [marginal_cost(metrics, messages, batches) for _ in range(_ROUNDS)]
        cost = found[str(metrics)] = {
            "spool": statistics.median(each["spool"] for each in rounds),
            "spool_least": min(each["spool"] for each in rounds),
            "spool_most": max(each["spool"] for each in rounds),
            "decode_and_encode": statistics.median(each["decode_and_encode"] for each in rounds),
        }
        verdict = "within bounds" if cost["spool"] <= MOST_CPU_SECONDS else "BEYOND BOUNDS"
        print(
            f"  {metrics:>3} metrics per message, {metrics * messages:,} rows per commit: "
            f"{cost['spool']:.2f} ({cost['spool_least']:.2f} to {cost['spool_most']:.2f}), "
            f"{verdict} (all before it: {cost['decode_and_encode']:.2f})"
        )
    return found


if __name__ == "__main__":
    measure()
