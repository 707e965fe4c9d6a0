"""Sample tags in the form in which Ignition exports and imports them: something to be published.

The form is that of exports of 8.1 and 8.3; it was never imported into a live gateway here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from consumer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = "Edge Nodes"
"""The folder below which MQTT Transmission looks for group, edge node and device by default."""

_NAME: Final = re.compile(r"\w[\w '\-:()]{0,126}")
_SECONDS: Final = "toMillis(now(1000)) % 86400000 / 1000.0"
"""Seconds of the day, UTC, in Ignition's expression language."""
_PI: Final = "3.141592653589793"
_OPC_SERVER: Final = "Ignition OPC UA Server"


def sample_tags(
    group: str, node: str, devices: Sequence[str], opc_device: str = ""
) -> dict[str, Any]:
    """The folder `Edge Nodes/<group>/<node>` with sample tags for each device.

    Args:
        group: group id that MQTT Transmission makes of it.
        node: edge node id.
        devices: device ids.
        opc_device: a simulator among the gateway's device connections, of which Ramp and Sine
            are read; without one they are computed.

    Raises:
        ConfigurationError: a name cannot be one of a folder of tags.
    """
    for name in (group, node, *devices):
        _check(name)
    if re.search(r"[\x00-\x1f\x7f\[\]]", opc_device):
        raise ConfigurationError(f"{opc_device!r} cannot be the name of a device connection")
    made = [_folder(each, _of_device(opc_device)) for each in dict.fromkeys(devices)]
    return _folder(ROOT, [_folder(group, [_folder(node, made)])])


def _of_device(opc_device: str) -> list[dict[str, Any]]:
    return [
        _folder(
            "Ramp", [_ramp(number, period, opc_device) for number, period in enumerate(_PERIODS)]
        ),
        _folder(
            "Sine", [_sine(number, period, opc_device) for number, period in enumerate(_PERIODS)]
        ),
        _folder("Realistic", _realistic()),
        _folder("Writeable", _writeable()),
    ]


_PERIODS: Final = (10, 60, 600)
"""Seconds."""


def _ramp(number: int, period: int, opc_device: str) -> dict[str, Any]:
    tag = _measured(f"Ramp{number}", "%", 0, 100, f"rises from 0 to 100 in {period} s")
    expression = f"({_SECONDS}) % {period} * {100 / period!r}"
    return tag | _source(expression, f"_Meta:Ramp/Ramp{number}", opc_device)


def _sine(number: int, period: int, opc_device: str) -> dict[str, Any]:
    tag = _measured(f"Sine{number}", "V", -100, 100, f"swings between -100 and 100 in {period} s")
    expression = f"100 * sin(({_SECONDS}) * 2 * {_PI} / {period})"
    return tag | _source(expression, f"_Meta:Sine/Sine{number}", opc_device)


def _realistic() -> list[dict[str, Any]]:
    slow, fast = f"sin(({_SECONDS}) / 571)", f"sin(({_SECONDS}) / 7.3)"
    running = f"({_SECONDS}) % 300 < 270"
    of = {
        "Temperature": _measured("Temperature", "°C", 0, 150, "as of a bearing")
        | _computed(f"70 + 8 * {slow} + 0.6 * {fast}"),
        "Pressure": _measured("Pressure", "bar", 0, 10, "as of a pump")
        | _computed(f"6 + 0.8 * {slow} + 0.15 * {fast}"),
        "Count": _tag("Count", "Int8", "parts since midnight, UTC")
        | _computed(f"floor(({_SECONDS}) / 4)"),
        "Running": _tag("Running", "Boolean", "off for 30 s in 5 minutes") | _computed(running),
    }
    return list(of.values())


def _writeable() -> list[dict[str, Any]]:
    values = {
        "WriteableBoolean": ("Boolean", False),
        "WriteableInteger": ("Int4", 0),
        "WriteableFloat": ("Float8", 0.0),
        "WriteableString": ("String", "write to me"),
    }
    return [
        _tag(name, kind, "to be written by hand") | {"valueSource": "memory", "value": value}
        for name, (kind, value) in values.items()
    ]


def _folder(name: str, tags: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "tagType": "Folder", "tags": tags}


def _tag(name: str, kind: str, text: str) -> dict[str, Any]:
    return {"name": name, "tagType": "AtomicTag", "dataType": kind, "documentation": text}


def _measured(name: str, unit: str, low: float, high: float, text: str) -> dict[str, Any]:
    return _tag(name, "Float8", text) | {"engUnit": unit, "engLow": low, "engHigh": high}


def _source(expression: str, item: str, opc_device: str) -> dict[str, Any]:
    if not opc_device:
        return _computed(expression)
    return {
        "valueSource": "opc",
        "opcServer": _OPC_SERVER,
        "opcItemPath": f"ns=1;s=[{opc_device}]{item}",
    }


def _computed(expression: str) -> dict[str, Any]:
    # It names no tag whose change would make it be computed again.
    return {
        "valueSource": "expr",
        "expression": expression,
        "executionMode": "FixedRate",
        "executionRate": 1000,
    }


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip():
        raise ConfigurationError(
            f"{name!r} cannot be the name of a folder of tags: letters, digits, underscores, and "
            "behind the first one also blanks and ' - : ( )"
        )
