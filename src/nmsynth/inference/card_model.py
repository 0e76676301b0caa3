"""What every model that is ready to use says of itself: the facts of its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nmsynth.models.card import Card
from nmsynth.models.envelope import Envelope

Progress = Callable[[int, int], None]
"""Told how many of how many parts (tiles, windows) are done."""


@dataclass(eq=False)
class CardModel:
    """A model with its card."""

    card: Card

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.card.version

    @property
    def sha256(self) -> str:
        """Hash of the file of weights."""
        return self.card.sha256

    @property
    def envelope(self) -> Envelope:
        """Bounds, of the first source where there are several, outside which the model refuses."""
        return self.card.envelope
