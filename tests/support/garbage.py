"""Garbage of tests that use the SDK is cleared on the thread of the test."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_garbage() -> Iterator[None]:
    """Clear what a test leaves in a circle, as the traceback of an expected error is one.

    If the SDK's object is in it and is freed on a thread of the SDK, where Python happens to look
    for garbage, it panics: "Cannot drop a runtime in a context where blocking is not allowed".

    What was there before the test is none of its garbage, and is not looked through: of a worker
    that has all tests that is a quarter of a second, for each of a thousand tests.
    """
    gc.freeze()
    yield
    gc.collect()
