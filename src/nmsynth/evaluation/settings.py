"""Settings of an evaluation, every one with its unit, and the definitions that are printed with the numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nmsynth.core.errors import InputError
from nmsynth.core.units import SuvKind

SUV_DATA_RANGE = 7.0
"""Data range of PSNR and SSIM for SUV images: the reading window SUV 0-7, the same for every patient."""


class EvaluationSettings(BaseModel):
    """What an evaluation is done with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference_kind: Literal["T0", "T1", "T2"] = "T2"
    """T0 the true activity, T1 the reconstruction of noise-free data, T2 one scan with its own noise."""
    suv_kind: SuvKind = SuvKind.BODY_WEIGHT
    """SUV to which images in Bq/mL are converted."""
    data_range: float | None = Field(default=None, gt=0)
    """Of PSNR and SSIM [unit of the images]; 7 for SUV, else the maximum of the reference in the body."""
    body_threshold: float | None = None
    """Of the smoothed reference [unit of the images]; by its own level where not given."""
    body_smoothing_fwhm_mm: float = Field(default=8.0, ge=0)
    """Before that threshold [mm]."""
    body_closing_mm: float = Field(default=10.0, ge=0)
    """Radius of the closing of the body mask in each slice [mm]."""
    n_slabs: int = Field(default=6, ge=0)
    """Equal axial parts of the body in which activity is compared; 0 for none."""
    ring_inner_mm: float = Field(default=7.0, ge=0)
    """Smallest distance of a lesion's ring to the lesion [mm]."""
    ring_outer_mm: float = Field(default=14.0, gt=0)
    """Largest distance of a lesion's ring to the lesion [mm]."""
    liver_sphere_mm: float = Field(default=30.0, gt=0)
    """Diameter of the sphere in the liver, or in the most homogeneous liver-like place [mm]."""
    structure_smoothing_fwhm_mm: float = Field(default=6.0, ge=0)
    """Of the difference in which structures are counted [mm]."""
    structure_fraction: float = Field(default=0.35, gt=0)
    """Of the liver level and of the reference that a structure exceeds."""
    structure_min_voxels: int = Field(default=4, ge=1)
    """Voxels of the smallest structure."""
    end_slices: int = Field(default=2, ge=1)
    """Slices left out at each end where structures are counted."""
    omission_recovery: float = 0.25
    """Contrast recovery below which a lesion is omitted."""
    shift_fraction: float = 0.25
    """Relative SUVpeak bias above which a lesion that is not omitted is shifted."""
    fraction_of_maximum: float = Field(default=0.41, gt=0, le=1)
    """Relative threshold of MTV and TLG."""
    fixed_threshold_suv: float = Field(default=4.0, gt=0)
    """Fixed threshold of MTV and TLG [SUV]."""
    reference_scale: float | None = Field(default=None, gt=0)
    """What counts of a reference are multiplied by before planar views are compared with it; when unset by the count
    fractions that the images state."""
    with_best_gaussian: bool = True
    """Put the source's best Gaussian beside the prediction."""
    with_equal_noise_gaussian: bool = True
    """Put beside it the Gaussian of the source that leaves as much noise in the liver sphere as the prediction."""
    with_ssim: bool = True
    """Compute SSIM, the slowest image metric."""


def resolve_settings(settings: EvaluationSettings | Mapping[str, Any] | None) -> EvaluationSettings:
    """Resolve settings from a mapping; an unknown key is an error that names the nearest valid one."""
    if settings is None:
        return EvaluationSettings()
    if isinstance(settings, EvaluationSettings):
        return settings
    valid = list(EvaluationSettings.model_fields)
    for key in settings:
        if key not in valid:
            near = difflib.get_close_matches(str(key), valid, n=1, cutoff=0.0)[0]
            raise InputError(f"Settings of an evaluation must be known; found '{key}'. Did you mean '{near}'?")
    try:
        return EvaluationSettings(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"Setting '{name}' must be valid; found {first.get('input')!r}: {first['msg']}. Change it."
        ) from error


def definitions(settings: EvaluationSettings, *, unit: str, data_range: float | None) -> dict[str, str]:
    """Say what each number means, with the settings filled in."""
    return _image_definitions(settings, unit, data_range) | _noise_definitions(settings) | _lesion_definitions(settings)


def _image_definitions(s: EvaluationSettings, unit: str, data_range: float | None) -> dict[str, str]:
    """Reference, voxel-wise metrics and body."""
    scale = "not defined" if data_range is None else f"{data_range:g} {unit}"
    return {
        "reference": {
            "T0": "T0: the true activity",
            "T1": "T1: the reconstruction of noise-free data with the same settings",
            "T2": "T2: one scan, with noise of its own, which no prediction can or should reproduce",
        }[s.reference_kind],
        "NRMSE": "RMS error in the mask over RMS of the reference there",
        "PSNR": f"20 log10(data range / RMS error in the mask), data range {scale}",
        "SSIM": f"mean in the mask of 3-D SSIM, Gaussian window of 1.5 voxels, data range {scale}, not rescaled",
        "MAE": "mean absolute error in the mask",
        "bias": "mean error in the mask",
        "relative bias": "sum over the mask over the sum of the reference there, minus 1 (activity conservation)",
        "body": (
            f"reference smoothed by {s.body_smoothing_fwhm_mm:g} mm FWHM, above "
            + (
                "0.2 of the mean of the voxels above the mean"
                if s.body_threshold is None
                else f"{s.body_threshold:g} {unit}"
            )
            + f", closed by {s.body_closing_mm:g} mm and filled in each slice, largest component; or the mask given"
        ),
    }


def _lesion_definitions(s: EvaluationSettings) -> dict[str, str]:
    """Uptake, recovery and decisions."""
    return {
        "ring": f"voxels {s.ring_inner_mm:g} to {s.ring_outer_mm:g} mm from the lesion, in the body, in no lesion",
        "recovery": (
            "(lesion - ring) over (lesion - ring) of the reference; median and quartiles over lesions. With recovery R "
            "of contrast c, SUVmean is off by (1 + R(c - 1))/c - 1: one fact, not two"
        ),
        "diameter": "of the sphere with the lesion's volume",
        "SUVpeak": "highest mean of a 1 mL sphere with partial-volume weights, centred in the region in steps of 1 mm",
        "SUVmax": "largest voxel; against a noisy reference biased by definition",
        "MTV and TLG": (
            f"voxels of the lesion mask at or above {s.fraction_of_maximum:.0%} of its maximum, or SUV "
            f"{s.fixed_threshold_suv:g}"
        ),
        "omissions": f"lesions whose recovery is below {s.omission_recovery:g}",
        "intensity shifts": f"other lesions whose SUVpeak is off by more than {s.shift_fraction:.0%}",
        "Deauville category": (
            "of SUVpeak in its own image: 2 up to the blood pool, 3 up to the liver sphere, 4 above it, 5 above twice "
            "the liver; a ratio, not a reading, and without a blood pool mask never 2"
        ),
        "PERCIST measurable": "SUVpeak at or above 1.5 times the mean plus 2 SD of its own image's liver sphere",
        "flips": "lesions whose category or measurability differs from the reference's",
        "Bland-Altman": "mean of the relative differences of lesion SUVpeak, limits 1.96 SD",
        "concordance": "Lin's concordance correlation of lesion SUVpeak",
    }


def _noise_definitions(s: EvaluationSettings) -> dict[str, str]:
    """Noise and structures."""
    return {
        "liver sphere": (
            f"{s.liver_sphere_mm:g} mm sphere where the 8 mm smoothed reference varies least, in the liver mask or, "
            "without one, at 1.5 to 5 times the body's median; COV is SD over mean"
        ),
        "noise reduction": "1 - SD over the SD of the source, in the liver sphere",
        "residual noise": (
            "of SPECT against a noise-free reference: SD of the difference to it over its mean, in the region of the "
            "noise autocorrelation; the Gaussian at equal noise is then the narrowest that leaves no more of it"
        ),
        "noise autocorrelation": (
            "mean product of deviations from the region's mean, voxels apart, over the mean square; the region is "
            "connected to the sphere's centre within 60 mm and 15 % of its level in the 12 mm smoothed reference"
        ),
        "false structures": (
            f"face-connected components of at least {s.structure_min_voxels} voxels where the difference to the "
            f"reference, smoothed by {s.structure_smoothing_fwhm_mm:g} mm FWHM, exceeds {s.structure_fraction:g} of "
            f"the liver level and of the reference, outside {s.end_slices} slices at each end, per 100 slices"
        ),
        "missing structures": "the same of reference minus image",
    }
