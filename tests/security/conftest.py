"""The parties, made once for all tests that change nothing about them."""

from pathlib import Path

import pytest
from parties import Parties

__all__ = ["parties"]


@pytest.fixture(scope="session")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    return Parties.meet(Path(tmp_path_factory.mktemp("parties")))
