"""The tags of a simulated gateway: names and values of Ignition's device simulator.

Values follow from a seeded random generator and a step count, never from the clock:
the n-th change of a gateway is the same in every run with the same seed.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sparkplug import INTEGER_WIDTH, DataType
from sparkplug.edge import NO_PROPERTIES, Metric, Properties, Update

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from sparkplug.edge import Scalar

    Signal = Callable[[int, random.Random, Scalar], Scalar]
    """Value number n of a tag, given the random generator and the value before."""

BAD_STALE: Final = -2147483132
BAD_NOT_CONNECTED: Final = -2147483126
TRANSMISSION_VERSION: Final = "4.0.10 (b2022020721)"

_BAD_ONE_IN: Final = 400
"""One of so many changes is a loss of quality."""
_PRODUCTS: Final = ("Valve body", "Gehäuse Größe 2", "Pièce n° 7", "轴承", 'Flange; 3/4"')
_EPOCH_MS: Final = 1_700_000_000_000


@dataclass(slots=True)
class SimulatedTag:
    """A tag, and how it changes; None if only commands change it, or nothing."""

    device_id: str | None
    metric: Metric
    signal: Signal | None = None
    step: int = 0
    bad: bool = False


def ramp(slope: float) -> Signal:
    """A ramp from 0 up to 100, again and again; it rises by `slope` with each change."""
    return lambda n, _rng, _last: round(n * slope % 100.0, 6)


def sine(period: int) -> Signal:
    """A sine between -100 and 100; `period` is the number of changes of one turn."""
    return lambda n, _rng, _last: 100.0 * math.sin(2.0 * math.pi * n / period)


def walk(low: float, high: float) -> Signal:
    """A random walk that stays within its range, like a measured quantity."""

    def step(_n: int, rng: random.Random, last: Scalar) -> Scalar:
        start = float(last) if isinstance(last, int | float) else (low + high) / 2
        moved = start + rng.gauss(0.0, (high - low) / 100.0)
        return min(max(moved, low), high - rng.random() * 1e-3)

    return step


def integers(data_type: DataType) -> Signal:
    """Any value of an integer type, negative and largest ones included."""
    width = INTEGER_WIDTH[data_type]
    low = 0 if data_type.name.startswith("U") else -(1 << (width - 1))
    return lambda _n, rng, _last: low + rng.getrandbits(width)


def floats(limit: float) -> Signal:
    """Finite numbers, and now and then NaN and the infinities."""

    def value(n: int, rng: random.Random, _last: Scalar) -> Scalar:
        if n % 50 == 49:
            return (math.nan, math.inf, -math.inf)[n // 50 % 3]
        return rng.uniform(-limit, limit)

    return value


def toggle(n: int, _rng: random.Random, _last: Scalar) -> Scalar:
    """A boolean that is true and false in turn."""
    return n % 2 == 1


def product(n: int, rng: random.Random, _last: Scalar) -> Scalar:
    """Text with letters of many alphabets."""
    return f"{rng.choice(_PRODUCTS)} #{n}"


def random_uuid(_n: int, rng: random.Random, _last: Scalar) -> Scalar:
    """A UUID."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def moment(n: int, rng: random.Random, _last: Scalar) -> Scalar:
    """A DateTime that moves on irregularly, in milliseconds."""
    return _EPOCH_MS + n * 60_000 + rng.randrange(60_000)


class Definition(NamedTuple):
    """A tag of a program, for any device. A tag with a signal gets its first value from it."""

    name: str
    data_type: DataType
    signal: Signal | None = None
    value: Scalar = None
    properties: Properties = NO_PROPERTIES
    writeable: bool = False


def _measured(
    name: str, unit: str, low: float, high: float, documentation: str | None = None
) -> Definition:
    properties = Properties(engUnit=unit, engLow=low, engHigh=high, documentation=documentation)
    return Definition(name, DataType.Double, walk(low, high), properties=properties)


_READ_ONLY: Final = Properties(readOnly=True)
_RAMP: Final = Properties(engUnit="%", engLow=0.0, engHigh=100.0)
_SINE: Final = Properties(engUnit="mm", engLow=-100.0, engHigh=100.0)

_EVERY_SCALAR: Final[dict[DataType, Signal]] = {each: integers(each) for each in INTEGER_WIDTH} | {
    DataType.Float: floats(1e6),
    DataType.Double: floats(1e12),
    DataType.Boolean: toggle,
    DataType.String: product,
    DataType.Text: product,
    DataType.UUID: random_uuid,
    DataType.DateTime: moment,
}

NODE: Final = (
    Definition("Node Control/Next Server", DataType.Boolean, value=False),
    Definition("Node Info/Transmission Version", DataType.String, value=TRANSMISSION_VERSION),
    Definition(
        "Cabinet/Temperature",
        DataType.Float,
        walk(15.0, 45.0),
        properties=Properties(engUnit="°C", engLow=-20.0, engHigh=80.0, tooltip="Cabinet"),
    ),
    Definition("Cabinet/Door Open", DataType.Boolean, toggle),
)
"""Tags of the edge node itself. Ignition sends the first two."""

SIMULATOR: Final = (
    *(
        Definition(f"Ramp/Ramp{i}", DataType.Double, ramp(0.37 * (i + 1)), properties=_RAMP)
        for i in range(4)
    ),
    *(
        Definition(f"Sine/Sine{i}", DataType.Double, sine(97 + 30 * i), properties=_SINE)
        for i in range(4)
    ),
    *(_measured(f"Realistic/Realistic{i}", "%", 0.0, 100.0) for i in range(4)),
    *(
        Definition(f"ReadOnly/ReadOnly{each.name}1", each, signal, properties=_READ_ONLY)
        for each, signal in _EVERY_SCALAR.items()
    ),
    Definition("Writeable/WriteableBoolean1", DataType.Boolean, value=False, writeable=True),
    Definition("Writeable/WriteableShort1", DataType.Int16, value=-1, writeable=True),
    Definition("Writeable/WriteableInteger1", DataType.Int32, value=0, writeable=True),
    Definition("Writeable/WriteableLong1", DataType.Int64, value=-(2**40), writeable=True),
    Definition("Writeable/WriteableFloat1", DataType.Float, value=0.1, writeable=True),
    Definition("Writeable/WriteableDouble1", DataType.Double, value=0.1, writeable=True),
    Definition("Writeable/WriteableString1", DataType.String, value="", writeable=True),
)
"""The program of Ignition's device simulator, and a tag of every scalar datatype."""

PRESS: Final = (
    _measured("Hydraulics/Pressure", "bar", 0.0, 250.0, "Behind the main pump"),
    _measured("Hydraulics/Oil Temperature", "°C", 20.0, 90.0, "Tank, lower third"),
    _measured("Ram/Position", "mm", 0.0, 800.0, "Above the table"),
    _measured("Ram/Force [kN]", "kN", 0.0, 2500.0, "Sum of both cylinders"),
    _measured("Température ambiante", "°C", 5.0, 45.0, "Beside the control cabinet"),
    Definition("Strokes", DataType.UInt32, lambda n, _rng, _last: n),
    Definition("Order/Product", DataType.String, product),
    Definition("Nameplate/Serial Number", DataType.String, value="HP-2500-0417"),
    Definition(
        "Nameplate/Rated Power",
        DataType.Double,
        value=132.0,
        properties=Properties(engUnit="kW", readOnly=True),
    ),
    Definition("Nameplate/Commissioned", DataType.DateTime, value=1_330_560_000_000),
    Definition("Nameplate/Last Inspection", DataType.DateTime, value=None),
)
"""A machine with measured quantities, and a nameplate that never changes."""


def _belt(path: str, current: float) -> tuple[Definition, ...]:
    return (
        _measured(f"{path}/Speed", "m/s", 0.0, 2.5, "Of the belt"),
        Definition(f"{path}/Running", DataType.Boolean, toggle),
        Definition(f"{path}/Parcels", DataType.Int64, lambda n, _rng, _last: n),
        Definition(f"{path}/Nameplate/Serial Number", DataType.String, value=f"CB-{path[-1]}"),
        _measured(f"{path}/Drive/Current", "A", 0.0, current),
        _measured(f"{path}/Drive/Bearing/Temperature", "°C", 20.0, 110.0, "Driven side"),
        Definition(f"{path}/Drive/Bearing/Lubricated", DataType.DateTime, moment),
    )


CONVEYOR: Final = (*_belt("Hall 3/Belt 1", 16.0), *_belt("Hall 3/Belt 2", 32.0))
"""Two machines of one kind, as a gateway has them as instances of a UDT."""

CONVEYOR_INSTANCES: Final = {
    f"Hall 3/Belt {number}{below}": template
    for number in (1, 2)
    for below, template in (("", "Conveyor"), ("/Drive", "Motor"), ("/Drive/Bearing", "Bearing"))
}
"""The instances among the tags of CONVEYOR, and their templates."""


def tags(device_id: str | None, program: Iterable[Definition], start_ms: int) -> list[SimulatedTag]:
    """The tags of a device, or of the node itself (None), as they are at `start_ms`."""
    return [
        SimulatedTag(
            device_id,
            Metric(
                name=each.name,
                data_type=each.data_type,
                value=each.value,
                timestamp_ms=start_ms,
                properties=each.properties,
                writeable=each.writeable,
            ),
            each.signal,
        )
        for each in program
    ]


class TagProgram:
    """Lets the tags of one edge node change by exception: in turn, in shuffled order."""

    def __init__(self, tags: list[SimulatedTag], rng: random.Random) -> None:
        self.tags = tags
        self._rng = rng
        self._changing = [tag for tag in tags if tag.signal is not None]
        self._position = 0
        for tag in self._changing:
            self._advance(tag)

    def changes(self, count: int, now_ms: int) -> dict[str | None, list[Update]]:
        """The next `count` changes, per device.

        The time of a change is `now_ms`, but always later than the tag's last: two
        changes are never one observation.
        """
        result: dict[str | None, list[Update]] = {}
        for _ in range(count):
            if self._position == 0:
                self._rng.shuffle(self._changing)
            tag = self._changing[self._position]
            self._position = (self._position + 1) % len(self._changing)
            metric = tag.metric
            metric.timestamp_ms = max(now_ms, metric.timestamp_ms + 1)
            value = self._change(tag)
            result.setdefault(tag.device_id, []).append(
                Update(metric.name, value, metric.timestamp_ms, metric.quality)
            )
        return result

    def _change(self, tag: SimulatedTag) -> Scalar:
        """Choose quality and value: good with a new value, or bad with the last or none."""
        metric = tag.metric
        tag.bad = not tag.bad and self._rng.randrange(_BAD_ONE_IN) == 0
        if not tag.bad:
            metric.quality = None
            self._advance(tag)
            return metric.value
        if self._rng.random() < 0.5:
            metric.quality = BAD_STALE
            return metric.value
        metric.quality = BAD_NOT_CONNECTED
        return None

    def _advance(self, tag: SimulatedTag) -> None:
        assert tag.signal is not None
        before = value = tag.metric.value
        moved = False
        while not moved:
            value = tag.signal(tag.step, self._rng, before)
            tag.step += 1
            moved = value != before  # NaN after NaN counts as a change
        tag.metric.value = value
