"""Settings that every test module shares."""

# ruff: noqa: E402 - assertions are rewritten in what is imported after it was registered

import gc
from collections.abc import Generator, Iterator
from typing import Any

import pytest

# What these say of a failed assertion is what a test module would say.
pytest.register_assert_rewrite("support", "oracle.comparison", "faults", "end_to_end")

from support import generated
from support.certificates import Authority
from support.grouping import Grouping
from support.trust import NOBODY

generated.register_profiles()


def pytest_configure(config: pytest.Config) -> None:
    """Know by which seed others cases are tried than those of the suite, if they are."""
    generated.explore(config)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for the tests of one module."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def few_authorities() -> Iterator[None]:
    """Let the SDK trust nobody: the servers of the tests have no certificates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(NOBODY))
        patch.delenv("SSL_CERT_DIR", raising=False)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage: what is imported and collected stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Let everything be cleared away at the end: libraries take what is left for a leak."""
    gc.unfreeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouping | None:
    """Let `--dist loadgroup` group as `grouping` says."""
    return Grouping(config, log) if config.getvalue("dist") == "loadgroup" else None
