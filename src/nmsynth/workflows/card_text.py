"""What the cards of nmsynth's own models say in words."""

from __future__ import annotations

from importlib import resources
from typing import Any

from nmsynth.core.config import read_toml

CARDS = "nmsynth.recipes.cards"
"""Package that holds a TOML file for each card."""


def read_card_text(name: str) -> dict[str, Any]:
    """Summary, version, licence, failures, data, and what differs of the envelope."""
    with resources.as_file(resources.files(CARDS) / f"{name}.toml") as path:
        return read_toml(path)
