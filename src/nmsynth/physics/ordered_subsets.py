"""Expectation maximisation over ordered subsets, for any system."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.operator import LinearOperator

_FLOOR = 1e-9
"""Expected counts below which a bin says nothing."""
FEW_COUNTS = 25.0
"""Counts of a plane in each subset, on average, below which subsets may empty it."""
EXPLAINED = 0.75
"""Share of the net counts of a plane that its image must explain."""
ALL_VIEW_PASSES = 8
"""Most passes over all views where subsets emptied a plane; more only sharpen noise."""


class WeightedOperator(LinearOperator):
    """An operator whose output is multiplied by a weight, ``diag(w) A``: efficiency, time, attenuation."""

    def __init__(self, weight: torch.Tensor, operator: LinearOperator) -> None:
        self.weight = weight
        self.operator = operator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply ``w A x``."""
        return self.weight * self.operator.forward(x)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Apply ``A' (w y)``."""
        return self.operator.adjoint(self.weight * y)


def log_likelihood(
    image: torch.Tensor,
    operators: Sequence[LinearOperator],
    counts: Sequence[torch.Tensor],
    background: Sequence[torch.Tensor],
) -> float:
    """Poisson log-likelihood of an image up to a constant, ``sum y log(A x + b) - (A x + b)``, in double precision."""
    total = 0.0
    for system, y, b in zip(operators, counts, background, strict=True):
        expected = (system.forward(image) + b).double().clamp_min(_FLOOR)
        total += float((y.double() * expected.log() - expected).sum())
    return total


def sensitivities(operators: Sequence[LinearOperator], counts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Back-projection of ones, ``A_s' 1``, of each subset."""
    return [system.adjoint(torch.ones_like(y)) for system, y in zip(operators, counts, strict=True)]


def count_ratio(counts: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Counts over expected counts, ``y / (A x + b)``; 0 where next to none are expected."""
    return torch.where(expected > _FLOOR, counts / expected.clamp_min(_FLOOR), 0.0)


def seen_voxels(sensitivity: torch.Tensor) -> torch.Tensor:
    """Mask of the voxels that some line sees."""
    return sensitivity > 1e-4 * sensitivity.max().clamp_min(1e-30)


def ordered_subsets(
    start: torch.Tensor,
    operators: Sequence[LinearOperator],
    counts: Sequence[torch.Tensor],
    background: Sequence[torch.Tensor],
    *,
    n_iterations: int,
    sensitivity: Sequence[torch.Tensor] | None = None,
    inside: torch.Tensor | None = None,
    after_each: Callable[[torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Reconstruct an image, ``x <- x / (A_s' 1) * A_s'(y / (A_s x + b))`` over the subsets ``s`` [Hudson1994]_.

    With one subset this is expectation maximisation [Shepp1982]_, whose likelihood never falls; with more it is faster
    and need not converge.

    Where a subset has next to no counts in a plane, its update empties every voxel that none of them crosses, and after
    a few subsets the plane, for good. Of a stack ``(y, x, plane)`` the planes of few counts whose image explains less
    than :data:`EXPLAINED` of them are therefore taken from passes over all views at once.

    Parameters
    ----------
    start
        Image to begin with, not negative, any shape; a voxel at zero stays there.
    operators
        The system of each subset.
    counts, background
        Counts and their expected background in each subset, shape of that system's output.
    n_iterations
        Passes over all subsets.
    sensitivity
        ``A_s' 1`` of each subset, where it is known already.
    inside
        Mask of the voxels that are reconstructed, broadcastable to the image; all that some line sees when unset.
    after_each
        Called with the image after every pass.

    Raises
    ------
    InputError
        If there is no iteration or no subset.

    References
    ----------
    .. [Hudson1994] H. M. Hudson, R. S. Larkin, IEEE Trans Med Imaging 13:601-609, 1994.
    .. [Shepp1982] L. A. Shepp, Y. Vardi, IEEE Trans Med Imaging 1:113-122, 1982.
    """
    if n_iterations < 1 or not operators:
        raise InputError(
            f"OSEM needs at least one iteration and one subset; found {n_iterations} and {len(operators)}."
        )
    norms = sensitivities(operators, counts) if sensitivity is None else sensitivity
    if inside is None:
        inside = seen_voxels(norms[0])
    image = start
    # what no line sees is divided by infinity
    divisors = [torch.where(inside, norm.clamp_min(1e-30), torch.inf) for norm in norms]
    for _ in range(n_iterations):
        for system, y, b, divisor in zip(operators, counts, background, divisors, strict=True):
            ratio = count_ratio(y, system.forward(image) + b)
            image = image.mul(system.adjoint(ratio)).div_(divisor)
        if after_each is not None:
            after_each(image)
    lost = _lost_planes(image, operators, counts, background)
    if lost is not None:
        norm = torch.stack(list(norms)).sum(0)
        divisor = torch.where(inside, norm.clamp_min(1e-30), torch.inf)
        whole = start
        for _ in range(min(n_iterations * len(operators), ALL_VIEW_PASSES)):
            whole = whole.mul(_back_projected_ratio(whole, operators, counts, background)).div_(divisor)
        image[..., lost] = whole[..., lost]
    return image


def _back_projected_ratio(
    image: torch.Tensor,
    operators: Sequence[LinearOperator],
    counts: Sequence[torch.Tensor],
    background: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Back-projection of counts over expected counts, of all subsets together."""
    total = torch.zeros_like(image)
    for system, y, b in zip(operators, counts, background, strict=True):
        total += system.adjoint(count_ratio(y, system.forward(image) + b))
    return total


def _lost_planes(
    image: torch.Tensor,
    operators: Sequence[LinearOperator],
    counts: Sequence[torch.Tensor],
    background: Sequence[torch.Tensor],
) -> torch.Tensor | None:
    """Planes of a stack whose few counts the image does not explain though they stand out from the background.

    Returns
    -------
        Indices of the planes; ``None`` if there are none, as with enough counts, or the image is no stack.
    """
    n_planes = image.shape[-1]
    if image.ndim != 3 or len(counts) < 2 or any(y.shape[-1] != n_planes for y in counts):
        return None
    total = torch.stack([_by_plane(y) for y in counts]).sum(0)
    net = total - torch.stack([_by_plane(b.expand_as(y)) for y, b in zip(counts, background, strict=True)]).sum(0)
    few = (total < FEW_COUNTS * len(counts)) & (net > 2 * total.sqrt())
    if not bool(few.any()):
        return None
    explained = torch.stack([_by_plane(system.forward(image)) for system in operators]).sum(0)
    lost = (few & (explained < EXPLAINED * net)).nonzero()[:, 0]
    return lost if lost.numel() else None


def _by_plane(counts: torch.Tensor) -> torch.Tensor:
    """Sum over all axes but the last."""
    return counts.reshape(-1, counts.shape[-1]).sum(0)
