"""For all tests of this directory."""

from support.posting import served  # noqa: F401 - a fixture
