"""Settings that every test module shares."""

# ruff: noqa: E402 - assertions are rewritten in what is imported after it was registered

from typing import Any

import pytest

# What these say of a failed assertion is what a test module would say.
pytest.register_assert_rewrite("support", "oracle.comparison", "faults", "end_to_end")

from support import generated
from support.certificates import Authority
from support.grouping import Grouping

generated.register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    """Know by which seed others cases are tried than those of the suite, if they are."""
    generated.explore(config)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for the tests of one module."""
    return Authority(tmp_path_factory.mktemp("certificates"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouping | None:
    """Let `--dist loadgroup` group as `grouping` says."""
    return Grouping(config, log) if config.getvalue("dist") == "loadgroup" else None
