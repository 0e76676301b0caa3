"""A volume from the raw projections of a gamma camera, without what their header does not tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from nmsynth.core.errors import InputError

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.io.dicom_nm_projections import NmProjections


class ReconstructionSettings(BaseModel):
    """Ordered subsets of views, and a filter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_iterations: int = Field(default=4, ge=1, le=50)
    n_subsets: int = Field(default=6, ge=1, le=60)
    """At most a quarter of the views."""
    filter_fwhm_mm: float = Field(default=8.0, ge=0, le=30)
    """Gaussian applied to the image [mm]."""


def reconstruct_projections(
    path: Path,
    output: Path,
    settings: ReconstructionSettings | None = None,
    *,
    series_uid: str | None = None,
    overwrite: bool = False,
) -> Volume:
    """Reconstruct raw projections by ordered subsets and write the volume as NIfTI.

    Nothing is corrected: neither attenuation, for which there is no map, nor scatter, nor the blur of the collimator,
    of which a header tells too little. Values are proportional to counts. Activity that decays during the scan, and a
    patient who moves, are not considered.

    Parameters
    ----------
    path
        DICOM NM object of the kind ``TOMO``, with one energy window.
    output
        ``.nii`` or ``.nii.gz``; the reconstruction is named in its sidecar.
    settings
        The usual ones when unset.
    series_uid
        Series to take, where there are several.
    overwrite
        Whether an existing output is replaced.

    Raises
    ------
    InputError
        If the output is no NIfTI file or exists.
    UnsafeInputError
        If there are no measured counts of evenly spaced views.
    """
    from nmsynth.io.dicom_reader import read_nm_projections
    from nmsynth.io.nifti import is_nifti, write_nifti

    if not is_nifti(output):
        raise InputError(f"A reconstruction is written as .nii or .nii.gz; found {output.name!r}. Rename it.")
    volume = reconstructed(read_nm_projections(path, series_uid), settings or ReconstructionSettings())
    write_nifti(volume, output, overwrite=overwrite)
    return volume


def reconstructed(projections: NmProjections, settings: ReconstructionSettings) -> Volume:
    """The volume of projections, axes ``(z, y, x)`` with the axis of the orbit in the middle [relative]."""
    from dataclasses import replace

    import torch

    from nmsynth.core.acquisition import NOT_CORRECTED
    from nmsynth.core.geometry import affine_from_axes
    from nmsynth.core.units import Unit
    from nmsynth.core.volume import Volume
    from nmsynth.physics.ordered_subsets import ordered_subsets, sensitivities
    from nmsynth.physics.psf import GaussianBlur
    from nmsynth.physics.spect import SpectOrbit, SpectProjector

    n_views, _, n_bins = projections.counts.shape
    plane_mm, bin_mm = projections.pixel_mm
    orbit = SpectOrbit(n_views, projections.arc_deg, projections.first_deg)
    n_subsets = max(1, min(settings.n_subsets, n_views // 4))
    subsets = [tuple(range(s, n_views, n_subsets)) for s in range(n_subsets)]
    counts = torch.from_numpy(projections.counts).permute(0, 2, 1)  # (view, bin, plane)
    systems = [SpectProjector(n_bins, bin_mm, plane_mm, orbit, views=views) for views in subsets]
    parts = [counts[list(views)].contiguous() for views in subsets]
    place = torch.arange(n_bins) - (n_bins - 1) / 2
    inside = ((place[:, None] ** 2 + place[None, :] ** 2) <= (n_bins / 2) ** 2)[..., None]
    norms = sensitivities(systems, parts)
    level = counts.sum().clamp_min(1.0) / sum(float((norm * inside).sum()) for norm in norms)
    image = ordered_subsets(
        inside.expand(-1, -1, counts.shape[2]).float() * level, systems, parts,
        [torch.zeros_like(part) for part in parts], n_iterations=settings.n_iterations, sensitivity=norms,
        inside=inside,
    )  # fmt: skip
    if settings.filter_fwhm_mm:
        spacing = (bin_mm, bin_mm, plane_mm)
        held = GaussianBlur((0.0, 0.0, settings.filter_fwhm_mm), spacing).forward(torch.ones(1, 1, image.shape[-1]))
        image = GaussianBlur((settings.filter_fwhm_mm,) * 3, spacing).forward(image) / held
    told = f"OSEM {settings.n_iterations}i{n_subsets}s, {settings.filter_fwhm_mm:g} mm, nmsynth"
    edge = -(n_bins - 1) / 2 * bin_mm
    return Volume(
        array=image.permute(2, 0, 1).numpy(),
        affine=affine_from_axes(spacing_mm=(plane_mm, bin_mm, bin_mm), origin_mm=(edge, edge, 0.0)),
        unit=Unit.RELATIVE,
        modality="NM",
        # the place is arbitrary, so that nothing is aligned with it; words of the raw series may tell of corrections
        acquisition=replace(
            projections.acquisition,
            reconstruction=told,
            corrections=(),
            attenuation_correction=NOT_CORRECTED,
            series_description=None,
            series_uid=None,
            frame_of_reference_uid=None,
        ),
        provenance=projections.provenance,
        warnings=projections.warnings,
    )
