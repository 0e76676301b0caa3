"""Packages of methods: the weights that an answer needs, with the plan by which they were trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.models.card import Card
from nmsynth.models.envelope import printable
from nmsynth.models.methods import build_method, load_shipped, shipped_state
from nmsynth.models.package import check_fit, read_state, write_package
from nmsynth.models.plan_envelope import envelope_from_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nmsynth.models.method import Method

__all__ = ["envelope_from_plan", "load_method", "save_method_package"]

SPARE_ELEMENTS = 2**26
"""Elements that building may take beyond four times those of the weights, such as for tables of positions."""


def save_method_package(
    folder: Path | str, *, method: Method, card: Card, half: bool = True, overwrite: bool = False
) -> Card:
    """Write the package of a method, at once or not at all.

    Only the weights that :meth:`~nmsynth.models.method.Method.shipped` names are stored.

    Parameters
    ----------
    folder
        Folder to make, usually named as the model.
    method
        Built for the ``method`` and ``plan`` of the card.
    card
        Its ``sha256`` is filled in.
    half
        Store floating-point weights as fp16; they are used as fp32.
    overwrite
        Replace a package that exists.

    Returns
    -------
        The card as written.

    Raises
    ------
    InputError
        If the folder exists and ``overwrite`` is not set, or the method is not what the card describes.
    """
    weights = shipped_state(method)
    expected = shipped_state(_build(card, weights, allow_import=True))
    if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in weights.items()}:
        raise InputError(
            "The card must describe the method by its family, arguments and plan; weights of another are given. "
            "Take the plan and arguments it was trained with."
        )
    return write_package(Path(folder), weights, card, half=half, overwrite=overwrite)


def load_method(folder: Path | str, card: Card, *, allow_import: bool = False) -> Method:
    """Build the method of a package with its weights as fp32, in evaluation mode, without gradients.

    Parameters
    ----------
    folder
        Of the package.
    card
        As :func:`~nmsynth.models.package.read_card` gave it.
    allow_import
        Whether the card may name a class of another package, which is then imported: it can run any program.

    Raises
    ------
    InputError
        If the card describes no method, or a class of another package and that is not allowed.
    UnsafeInputError
        If the weights are damaged, changed, of another format or of another method.
    """
    if card.method is not None and card.method.is_import_path and not allow_import:
        raise InputError(
            f"The model {card.name} names a class of another package, '{printable(card.method.name)}', which is only "
            "imported on request. Allow it with allow_import if you trust that package."
        )
    state = read_state(folder, card)
    try:
        method = _build(card, state, allow_import=allow_import)
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError, OverflowError) as error:
        raise UnsafeInputError(
            f"The plan and arguments of {card.name} must suit its method; they do not ({printable(error, length=120)})."
        ) from None
    check_fit(state, shipped_state(method), card)
    load_shipped(method, state)
    return method.eval().requires_grad_(False)


def _build(card: Card, weights: Mapping[str, torch.Tensor], *, allow_import: bool) -> Method:
    """The method of a card with fresh weights; nothing is allocated that the weights do not account for."""
    if card.method is None or card.plan is None:
        raise InputError(f"The card of {card.name} must name a method and its plan; it names a network.")
    budget = 4 * sum(value.numel() for value in weights.values()) + SPARE_ELEMENTS
    with _AllocationLimit(budget):
        return build_method(card.method, card.plan, allow_import=allow_import, for_training=False)


class _AllocationLimit(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses, before they are allocated, tensors of more elements in all than a budget, whatever a card claims.

    Methods are not built on the meta device: tables that are computed in a constructor would have no values there.
    """

    def __init__(self, budget: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = budget

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, if what it makes of sizes alone is within the budget."""
        del types
        sizes = args[0] if args and isinstance(args[0], list | tuple) else ()
        if sizes and all(isinstance(size, int) for size in sizes):
            self.left -= math.prod(sizes)
            if self.left < 0:
                raise UnsafeInputError(
                    "The weights must be those of the model that the card describes; it would be far larger than they "
                    "are. Get the package again."
                )
        return func(*args, **(kwargs or {}))
