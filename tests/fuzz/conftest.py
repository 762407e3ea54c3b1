"""How long to search: `quick`, always the same examples, within `make test`; `long`, always new ones, for `make fuzz`."""

from hypothesis import HealthCheck, settings

# Machines differ, so no example has a deadline; what must take linear time is compared with itself at half the length.
_SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("quick", max_examples=100, derandomize=True, database=None, **_SHARED)
settings.register_profile("long", max_examples=5000, print_blob=True, **_SHARED)
settings.load_profile("quick")
