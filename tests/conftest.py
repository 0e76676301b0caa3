"""Fixtures for all tests."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of development data next to the project; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the development data in ../shared/data")
    return SHARED_DATA
