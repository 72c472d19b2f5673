from __future__ import annotations

from pathlib import Path

import pytest

from ablate.data import Prepared
from tests.training.tiny import tiny_data


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def data(cache: Path) -> Prepared:
    return tiny_data(cache)
