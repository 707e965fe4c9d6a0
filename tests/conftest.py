"""Settings every test module shares. Being here also puts `tests/` on the import path."""

from pathlib import Path

import pytest
from certificates import Authority
from hypothesis import HealthCheck, settings

# Modules that share running systems among their tests: one worker runs all of a module.
TOGETHER = ("conformance", "end_to_end")

# Machines that run the suite are slow and shared: an example that takes long is
# no finding. Failures print what is needed to reproduce them.
settings.register_profile(
    "project",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("project")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for the tests of one module."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of some modules for `--dist loadgroup`."""
    for item in items:
        if Path(item.path).parent.name in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(Path(item.path).stem))
