"""Which family of models, with which arguments; readable without torch."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class MethodSpec(BaseModel):
    """A family with its arguments; JSON values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """A name of :data:`nmsynth.models.methods.METHODS`, or ``package.module:Class`` of any ``torch.nn.Module``, which
    is then taught the answer itself."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of the class."""

    @property
    def is_import_path(self) -> bool:
        """Whether the class is the user's own."""
        return ":" in self.name
