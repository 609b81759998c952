"""A catalog for each test, which ends with the product's own check."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lrc.catalog import Catalog
from lrc.check import check


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.create(tmp_path / "store", "SITE") as catalog:
        yield catalog
        assert check(catalog).findings == []
