"""What a target is, and how one is found by its name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Target(NamedTuple):
    """One target. `run` raises where a property does not hold."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    largest: int = 4096


def target_of(name: str) -> Target:
    """A target by its name, or by `module:attribute`, as tests of the fuzzer give it."""
    if ":" not in name:
        from fuzz.targets import TARGETS  # noqa: PLC0415 - loads all that is tested

        return TARGETS[name]
    module, attribute = name.split(":")
    found = getattr(import_module(module), attribute)
    assert isinstance(found, Target)
    return found
