"""What the cards of nmsynth's own models say in words."""

from __future__ import annotations

from typing import Any

from nmsynth.core.config import read_toml
from nmsynth.workflows.bundled import bundled_file

FOLDER = "cards"
"""Folder that holds a TOML file for each card."""


def read_card_text(name: str) -> dict[str, Any]:
    """Summary, version, licence, failures, data, and what differs of the envelope."""
    with bundled_file(name, FOLDER) as path:
        return read_toml(path)
