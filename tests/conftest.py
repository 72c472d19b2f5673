"""What every test shares: examples without a time limit, a garbage collector that does not look at imports again."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# No test measures time: on a machine with other work an example of 3 ms took 600, and the limit is 200.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports make 900,000 objects that all stay: looking at them took 5 of the 27 s of CPU time of collecting.

    Frozen they are looked at no more, which took 22 of 145 s of tests of models and statistics, many of whose
    libraries ask for a whole collection each time (Dynamo's reset, multiple tests of statsmodels).
    """
    gc.disable()
    try:
        found = yield
        gc.collect()
        gc.freeze()
        return found
    finally:
        gc.enable()
