"""Settings every test module shares. Being here also puts `tests/` on the import path."""

from hypothesis import HealthCheck, settings

# Machines that run the suite are slow and shared: an example that takes long is
# no finding. Failures print what is needed to reproduce them.
settings.register_profile(
    "project",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("project")
