"""For all tests of this directory."""

from support.delivering import plant, plant_for, server  # noqa: F401 - fixtures
from support.garbage import _no_garbage  # noqa: F401 - a fixture
