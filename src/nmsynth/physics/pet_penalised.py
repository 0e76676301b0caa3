"""A PET scan reconstructed by penalised likelihood, as departments do beside OSEM."""

from __future__ import annotations

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.ordered_subsets import ordered_subsets
from nmsynth.physics.penalised import RelativeDifferencePrior, penalised_likelihood
from nmsynth.physics.pet import ExpectedScan
from nmsynth.physics.pet_reconstruction import measured_counts, stack_of_scans
from nmsynth.physics.reconstruction import OsemSettings, subset_problem


def reconstruct_penalised(
    scan: ExpectedScan,
    fractions: tuple[float | None, ...],
    settings: OsemSettings,
    generator: torch.Generator,
    *,
    strength: float,
    gamma: float = 2.0,
    n_iterations: int = 20,
) -> torch.Tensor:
    """Reconstruct independent scans at several count fractions with the relative difference prior [Nuyts2002]_.

    Begins with the OSEM of the settings and their resolution model, and goes on with BSREM; no post-filter is applied.

    Parameters
    ----------
    fractions
        Counts of each scan over those of the full scan; ``None`` for noise-free data at full counts.
    settings
        Grid, subsets, resolution model, and the iterations before the prior sets in.
    strength
        Weight of the prior over the sensitivity, without unit: ``beta = strength mean(A' 1)``, the mean over voxels. So
        the balance of prior and data in a voxel is the same at any activity, time and count fraction.
    gamma
        How far edges are spared, see :class:`RelativeDifferencePrior`.
    n_iterations
        Passes after OSEM.

    Returns
    -------
        Activity concentration at the start of the series [Bq/mL], shape ``(fraction, plane, y, x)``.

    Raises
    ------
    InputError
        If the strength is negative.

    References
    ----------
    .. [Nuyts2002] J. Nuyts et al., A concave prior penalizing relative differences for maximum-a-posteriori
       reconstruction in emission tomography, IEEE Trans Nucl Sci 49:56-60, 2002.
    """
    if not strength >= 0:
        raise InputError(f"The strength of a prior must be at least 0; found {strength}.")
    prior = RelativeDifferencePrior((settings.pixel_mm, settings.pixel_mm, settings.plane_mm), gamma=gamma)
    timing = scan.scanner.time_of_flight
    images = []
    for fraction in fractions:
        measured = measured_counts(scan, (fraction,), generator, attenuation_corrected=True)
        problem = subset_problem(*measured, scan.scanner.geometry, settings, timing=timing)
        data = problem.systems, problem.counts, problem.background
        start = ordered_subsets(
            problem.start,
            *data,
            n_iterations=settings.n_iterations,
            sensitivity=problem.sensitivity,
            inside=problem.inside,
        )
        seen = torch.stack(problem.sensitivity).sum(0)
        beta = strength * float(seen[problem.inside.expand_as(seen)].mean()) if bool(problem.inside.any()) else 0.0
        images.append(penalised_likelihood(start, *data, prior, beta=beta, n_iterations=n_iterations))
    return stack_of_scans(torch.cat(images, -1), scan.prompts.shape[-1], None)
