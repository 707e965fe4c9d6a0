"""Which tests one worker runs together, because they share running systems.

By the names of files: what `--dist loadgroup` goes by, a suffix that it gives to the ids of
tests, pytest 9.2 does not let it give any more, and it then says nothing and groups nothing
(pytest-xdist issue 1386).
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

MODULES = {"end_to_end", "conformance"}
"""Directories whose modules are groups."""

APART = {"test_multiple_servers"}
"""Modules of conformance/ that share nothing with the others."""

SHARING = {"test_demo"}
"""Other modules that are groups."""


def group_of(test: str) -> str:
    """The group of a test, by its id; a test that shares nothing is one of its own."""
    path = PurePosixPath(test.partition("::")[0])
    if path.parent.name == "conformance" and path.stem not in APART:
        return "conformance"
    if path.parent.name in MODULES or path.stem in SHARING:
        return str(path)
    return test


class Grouping(LoadScopeScheduling):
    """Gives a worker all tests of a group; large groups first."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
