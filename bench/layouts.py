"""CPU time per row under the columns of other tables, beside that of all of ours.

`python bench/layouts.py` prints it alone, in half a minute. All take turns by the block, so that
the ratios hold on a noisy machine.
"""

from __future__ import annotations

import gc
import statistics
import time
from typing import Final

import fleet as generated

from consumer.rows import (
    COLUMNS,
    DEFAULT_LAYOUT,
    SourceNames,
    TagColumns,
    layout_of_columns,
    layout_of_module,
    normalize,
)
from sparkplug import Fleet, Message, MessageBatch

LAYOUTS: Final = {
    "default": DEFAULT_LAYOUT,
    "ignition-module, 14 columns": layout_of_module(14, "source_system_id", "BIGINT"),
    "ignition-module, 18 columns": layout_of_module(18, "source_system", "TIMESTAMP"),
    "all columns, renamed": layout_of_columns([(c.name, f"x_{c.name}") for c in COLUMNS]),
    "five columns": layout_of_columns(
        [
            (name, name)
            for name in ("event_id", "event_time", "tag_path", "numeric_value", "quality")
        ]
    ),
}
_WARM_UP: Final = 2
_METRICS: Final = 10


def measure_all(batches: int = 24) -> dict[str, float]:
    """CPU microseconds per row from observations to encoded rows, by layout; printed, too."""
    count = batches + _WARM_UP
    raw = generated.batches(_METRICS, count, names=False, datatypes=False)
    messages = [MessageBatch(Message(*each) for each in batch) for batch in raw]
    fleets, tags = {}, {}
    for name, layout in LAYOUTS.items():
        fleets[name] = Fleet()
        tags[name] = TagColumns(fleets[name].catalogue, SourceNames(), layout)
        births = MessageBatch(Message(*each) for each in generated.births())
        for observations in fleets[name].feed(births).observations:
            list(normalize(observations, tags[name], 1).encode())
    seconds: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    gc.collect()
    gc.disable()
    for number, batch in enumerate(messages):
        names = list(LAYOUTS)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            (observations,) = fleets[name].feed(batch).observations
            for _ in range(2):  # the second time with its own data in the processor's cache
                started = time.process_time()
                list(normalize(observations, tags[name], 1).encode())
                spent = time.process_time() - started
            seconds[name].append(spent)
    gc.enable()
    rows = _METRICS * generated.MESSAGES_PER_BATCH
    costs = {
        name: statistics.median(each[_WARM_UP:]) / rows * 1e6 for name, each in seconds.items()
    }
    for name, cost in costs.items():
        print(f"{name:>28}: {cost:.3f} us per row, {cost / costs['default']:.2f} of the default")
    return {name: round(cost, 3) for name, cost in costs.items()}


if __name__ == "__main__":
    measure_all()
