"""A SPECT model on a real series: what it leaves of the activity of organs, and of the noise. Numbers only.

    python -m benchmarks.real_spect --series ../shared/data/spect_lu177 --model lowcount-spect --tracer DOTATATE \
        --out benchmarks/results/real_spect

The series has no truth and cannot be thinned, as its counts are not in it. What can be told: an organ's activity must
stay, and noise in a homogeneous region must fall. Organs are found without masks, in the source smoothed by 10 mm: what
exceeds 42 % of its own maximum, more than 10 mL each, the hottest first; activity is summed out to 12 mm beyond, so
that no blur takes it outside, and voxels belong to the nearest organ. The homogeneous region is the liver-like one of
`benchmarks.spect_realism`. Beside the model stands the Gaussian of the same noise in that region: how far it widens the
edges, and what it takes out of organs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.noise_realism import residual_of
from benchmarks.spect_realism import edge_width
from scipy import ndimage

from nmsynth import read, synthesize
from nmsynth.metrics.homogeneous import find_homogeneous_sphere, grow_region
from nmsynth.metrics.regions import body_mask
from nmsynth.models.registry import show_model
from nmsynth.physics.psf import FWHM_PER_SIGMA

Image = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]

LEAST_ML, BEYOND_MM, MOST = 10.0, 12.0, 8


def smoothed(image: Image, fwhm_mm: float, spacing_mm: Spacing) -> Image:
    """After a Gaussian."""
    found: Image = ndimage.gaussian_filter(image, [fwhm_mm / FWHM_PER_SIGMA / s for s in spacing_mm])
    return found


def hot_organs(image: Image, spacing_mm: Spacing) -> npt.NDArray[np.int32]:
    """Number of the hot organ that each voxel belongs to, out to some way beyond its edge; 0 for none."""
    smooth = smoothed(image, 10.0, spacing_mm)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    found = np.zeros(image.shape, np.int32)
    free = smooth.copy()
    is_peak = smooth == ndimage.maximum_filter(smooth, 3)  # the slope beside an organ is no organ
    n = 0
    while n < MOST:
        peak = np.unravel_index(np.where(is_peak, free, 0.0).argmax(), free.shape)
        if free[peak] < 0.05 * smooth.max():
            break
        parts, _ = ndimage.label(free > 0.42 * free[peak])
        own = parts == parts[peak]
        # as far as its activity is counted, or what spills out of it would be the next organ
        free[ndimage.distance_transform_edt(~own, sampling=spacing_mm) < BEYOND_MM] = 0.0
        if own.sum() * voxel_ml > LEAST_ML:
            n += 1
            found[own] = n
    distance, nearest = ndimage.distance_transform_edt(found == 0, sampling=spacing_mm, return_indices=True)
    grown: npt.NDArray[np.int32] = np.where(distance < BEYOND_MM, found[tuple(nearest)], 0)
    return grown


def noise(image: Image, region: Mask) -> float:
    """Coefficient of variation in a region, its slow course taken off."""
    return float(residual_of(image.astype(np.float32), region)[region].std() / image[region].mean())


def equal_gaussian(image: Image, region: Mask, spacing_mm: Spacing, wanted: float) -> float:
    """Width of the narrowest Gaussian that leaves as little noise there, or of the one that leaves least [mm]."""
    left = {float(width): noise(smoothed(image, width, spacing_mm), region) for width in np.arange(0.0, 24.5, 1.0)}
    return next((width for width, found in left.items() if found <= wanted), min(left, key=lambda w: left[w]))


def compare(source: Image, synthetic: Image, spacing_mm: Spacing) -> dict[str, Any]:
    """All numbers."""
    body = body_mask(source.astype(np.float32), spacing_mm)
    sphere = find_homogeneous_sphere(source.astype(np.float32), spacing_mm, body)
    if sphere is None:
        raise SystemExit("No homogeneous sphere was found.")
    region = grow_region(source.astype(np.float32), spacing_mm, sphere, body)
    organs = hot_organs(source, spacing_mm)
    numbers = range(1, organs.max() + 1)
    after = noise(synthetic, region)
    width = equal_gaussian(source, region, spacing_mm, after)
    gaussian = smoothed(source, width, spacing_mm)
    arms = {"source": source, "synthetic": synthetic, "Gaussian of equal noise": gaussian}
    activity = {name: np.array([image[organs == n].sum() for n in numbers]) for name, image in arms.items()}
    change = {name: (found / activity["source"] - 1).tolist() for name, found in activity.items()}
    return {
        "organs_ml": [float((organs == n).sum() * np.prod(spacing_mm) / 1000) for n in numbers],
        "organ_activity_change": change["synthetic"],
        "organ_activity_change_gaussian": change["Gaussian of equal noise"],
        "body_activity_change": float(synthetic.sum() / source.sum() - 1),
        "region_ml": float(region.sum() * np.prod(spacing_mm) / 1000),
        "region_mean_change": float(synthetic[region].mean() / source[region].mean() - 1),
        "noise": {name: noise(image, region) for name, image in arms.items()},
        "edge_mm": {name: edge_width(image.astype(np.float32), spacing_mm, body) for name, image in arms.items()},
        "gaussian_fwhm_mm": width,
    }


def main() -> None:
    """Synthesise, compare, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--model", default="lowcount-spect")
    parser.add_argument("--tracer", default="", help="What the series does not state itself.")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    source = read(given.series)
    result = synthesize(source, model=given.model, settings={"tracer": given.tracer} if given.tracer else None)
    card = show_model(given.model)
    record: dict[str, Any] = {
        "schema_version": 1,
        "model": {"name": card.name, "sha256": card.sha256},
        "tracer": given.tracer,
        **compare(source.array.astype(np.float64), result.image.array.astype(np.float64), source.spacing_mm),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "real_spect.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
