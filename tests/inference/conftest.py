"""A tiny model for inference."""

import pytest

from nmsynth.inference import Model
from tests.models.packages import make_card, tiny_network


@pytest.fixture
def model():
    """Two-level network with random weights."""
    return Model(make_card(sha256="0" * 64), tiny_network())
