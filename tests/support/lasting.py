"""Cases of a test that are run with the tests that take long."""

from __future__ import annotations

import pytest


def long(*values: object) -> list[object]:
    """Values for `parametrize`, of which another one stands for their kind in the suite."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]
