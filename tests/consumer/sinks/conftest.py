"""For all tests of this directory."""

from support.garbage import _no_garbage  # noqa: F401 - a fixture
