"""A PET scan reconstructed at several count fractions: the counts drawn, and OSEM with what is believed of the scan."""

from __future__ import annotations

import math

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.noise import poisson
from nmsynth.physics.pet import ExpectedScan
from nmsynth.physics.psf import GaussianBlur, PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings, osem


def reconstruct_fractions(
    scan: ExpectedScan,
    fractions: tuple[float | None, ...],
    settings: OsemSettings,
    generator: torch.Generator,
    *,
    filtered: bool = True,
    attenuation_corrected: bool = True,
) -> torch.Tensor:
    """Reconstruct independent scans at several count fractions, all in one pass.

    Parameters
    ----------
    fractions
        Counts of each scan over those of the full scan; ``None`` for noise-free data at full counts.
    attenuation_corrected
        Without it neither attenuation nor scatter is in the reconstruction, only randoms, as scanners make such images;
        the same generator draws the same counts for both.

    Returns
    -------
        Activity concentration at the start of the scan [Bq/mL], shape ``(fraction, plane, y, x)``. Without attenuation
        correction the values are lower, most so in the middle of the body, and are no activity concentration.
    """
    n_planes = scan.prompts.shape[-1]
    prompts, background, efficiency = measured_counts(
        scan, fractions, generator, attenuation_corrected=attenuation_corrected
    )
    image = osem(
        prompts, background, efficiency, scan.scanner.geometry, settings, filtered=False,
        timing=scan.scanner.time_of_flight,
    )  # fmt: skip
    return stack_of_scans(image, n_planes, settings if filtered else None)


def measured_counts(
    scan: ExpectedScan,
    fractions: tuple[float | None, ...],
    generator: torch.Generator,
    *,
    attenuation_corrected: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Counts, believed background and believed efficiency of scans at several fractions, one after another in planes.

    Arguments of :func:`reconstruct_fractions`, results as :func:`nmsynth.physics.reconstruction.osem` takes them.
    """
    mixing = PlaneMixing(scan.scanner.mixing)
    believed_background, believed_efficiency = scan.background, scan.efficiency
    if not attenuation_corrected:
        believed_background = mixing.forward(scan.randoms)
        believed_efficiency = torch.ones_like(scan.efficiency) * scan.counts_per_line
    prompts, background, efficiency = [], [], []
    for fraction in fractions:
        share = 1.0 if fraction is None else fraction
        if not (math.isfinite(share) and share > 0):
            raise InputError(f"A count fraction must be finite and above 0; found {fraction}.")
        expected = scan.prompts * share
        counts = expected if fraction is None else poisson(expected, generator)
        prompts.append(mixing.forward(counts))
        background.append(believed_background * share)
        efficiency.append(believed_efficiency * share)
    return torch.cat(prompts, -1), torch.cat(background, -1), torch.cat(efficiency, -1)


def stack_of_scans(image: torch.Tensor, n_planes: int, filters: OsemSettings | None) -> torch.Tensor:
    """Scans one after another in planes as ``(fraction, plane, y, x)``, filtered by the settings if given."""
    stack = image.reshape(*image.shape[:2], -1, n_planes)
    if filters is not None:
        widths = (filters.filter_fwhm_mm, filters.filter_fwhm_mm, 0.0, filters.axial_filter_fwhm_mm)
        stack = GaussianBlur(widths, (filters.pixel_mm, filters.pixel_mm, 1.0, filters.plane_mm)).forward(stack)
    return stack.permute(2, 3, 0, 1).contiguous()  # (y, x, fraction, plane) -> (fraction, plane, y, x)
