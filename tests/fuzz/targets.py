"""The targets by name: the function of bytes, and inputs to begin with."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from fuzz import columns, orders, payloads, texts

if TYPE_CHECKING:
    from collections.abc import Callable


class Target(NamedTuple):
    """One target. `run` raises where a property does not hold."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    largest: int = 4096


TARGETS = {
    "columns": Target(columns.run, columns.seeds),
    "payloads": Target(payloads.run, payloads.seeds),
    "orders": Target(orders.run, orders.seeds, largest=240),
    "json": Target(texts.json_payloads, lambda: texts.JSON),
    "topics": Target(texts.topics, lambda: texts.TOPICS, largest=3000),
    "states": Target(texts.states, lambda: texts.STATES, largest=1000),
}


def target_of(name: str) -> Target:
    """A target by its name, or by `module:attribute`, as tests of the fuzzer give it."""
    if ":" not in name:
        return TARGETS[name]
    module, attribute = name.split(":")
    found = getattr(import_module(module), attribute)
    assert isinstance(found, Target)
    return found
