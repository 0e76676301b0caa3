"""One patient of the independent test set: truth, noise-free, full-count and low-count images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.independent.lesions import Lesion, add_lesions
from benchmarks.independent.phantom import AIR, HOT_ORGANS, LIVER, FloatArray, make_phantom
from benchmarks.independent.reconstruction import Reconstructor, draw_reconstruction
from benchmarks.independent.scanner import Expectation, Scanner, count, draw_scanner, expect, mix_planes
from scipy import ndimage

SCHEMA_VERSION = 1

FRACTIONS = (0.25, 0.1, 0.05, 0.02, 0.01)
"""Count fractions of the low-count scans."""

SPACINGS_MM = ((3.0, 4.07, 4.07), (3.27, 3.65, 3.65), (2.78, 4.3, 4.3))
"""Voxel sizes ``(z, y, x)`` [mm], taken in turn."""

FULL_COUNT_COV = (0.08, 0.14)
"""Range of the liver's coefficient of variation at full counts."""

SPHERE_RADIUS_MM = 15.0
"""Radius of the sphere in the liver where noise is measured [mm]."""

_PAD = 4
_KEPT_PAD = 1


@dataclass(frozen=True, slots=True, eq=False)
class IndependentCase:
    """Images of one simulated patient, all ``(z, y, x)`` in SUV on the grid of the reconstruction.

    ``z`` grows to the head, ``y`` to the back, ``x`` to the left. The scans are independent of each other and of
    ``full``, as separate acquisitions are; the noise of one seed, fraction and realisation is always the same.
    """

    case_id: str
    spacing_mm: tuple[float, float, float]
    truth: FloatArray
    """True activity (T0), averaged to the voxels."""
    noise_free: FloatArray
    """Reconstruction of the expected counts with the same settings and mismatches (T1)."""
    full: FloatArray
    """One full-count scan (T2)."""
    scans: dict[float, tuple[FloatArray, ...]]
    """Count fraction to its noise realisations."""
    liver_mask: npt.NDArray[np.bool_]
    """Voxels wholly in the liver, 10 mm and more from any lesion."""
    body_mask: npt.NDArray[np.bool_]
    lesion_labels: npt.NDArray[np.uint8]
    """Index of the lesion that fills at least half of the voxel; 0 elsewhere."""
    lesions: tuple[dict[str, Any], ...]
    """``index``, ``diameter_mm``, ``contrast`` (to the ring 7-14 mm outside), ``centre`` (voxels), ``shape``, ..."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What was drawn; ``liver_centre`` [voxels] is the centre of the 3 cm sphere."""


def _average(fine: npt.NDArray[Any]) -> FloatArray:
    """Mean over blocks of 2 x 2 x 2 voxels."""
    z, y, x = (n // 2 for n in fine.shape)
    return fine.reshape(z, 2, y, 2, x, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def _rng(seed: int, *key: int) -> np.random.Generator:
    """Independent generator of a seed and a purpose."""
    return np.random.default_rng(np.random.SeedSequence((20260, seed, *key)))


def sphere_mask(
    shape: tuple[int, ...], centre: Sequence[float], spacing_mm: Sequence[float], radius_mm: float
) -> npt.NDArray[np.bool_]:
    """Voxels whose centre is within ``radius_mm`` [mm] of ``centre`` [voxels], shape ``(z, y, x)``."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    squares = (((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing_mm, strict=True))
    return np.asarray(sum(squares) <= radius_mm**2)


def liver_cov(case: IndependentCase, image: FloatArray) -> float:
    """Standard deviation over mean of an image in the 3 cm sphere of the case's liver."""
    sphere = sphere_mask(image.shape, case.settings["liver_centre"], case.spacing_mm, SPHERE_RADIUS_MM)
    return float(image[sphere].std() / image[sphere].mean())


def _label_lesions(
    fine_labels: npt.NDArray[np.uint8], lesions: Sequence[Lesion]
) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    """Lesion labels and records on the grid of the reconstruction, ends included."""
    labels = np.zeros(tuple(n // 2 for n in fine_labels.shape), np.uint8)
    records = []
    for lesion in lesions:
        part = _average(fine_labels == lesion.index)
        labels[part >= min(0.5, float(part.max()))] = lesion.index
        centre = [(c - 0.5) / 2 for c in lesion.centre]
        centre[0] -= _PAD
        records.append({**asdict(lesion), "centre": centre})
    return labels, records


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """All that is needed to scan and reconstruct one patient again."""

    expectation: Expectation
    scanner: Scanner
    reconstructor: Reconstructor
    n_slices: int

    def kept(self, sinogram: FloatArray) -> FloatArray:
        """Planes that are reconstructed: the slab and one more at each end."""
        first = _PAD - _KEPT_PAD
        return sinogram[first : first + self.n_slices + 2 * _KEPT_PAD]

    def noise_free(self) -> FloatArray:
        """Image of the expected counts (T1)."""
        mean = self.expectation.trues + self.expectation.scatter + self.expectation.randoms
        prompts = mix_planes(np.ascontiguousarray(mean.transpose(1, 0, 2)), self.scanner.plane_mixing)
        return self.reconstructor.reconstruct(self.kept(prompts))[_KEPT_PAD:-_KEPT_PAD]

    def scan(self, rng: np.random.Generator, exposure: float) -> FloatArray:
        """Image of one scan."""
        prompts = self.kept(count(rng, self.expectation, self.scanner, exposure))
        return self.reconstructor.reconstruct(prompts)[_KEPT_PAD:-_KEPT_PAD]

    def calibrate(
        self, seed: int, target_cov: float, noise_free: FloatArray, centre: Sequence[int], plane_mm: float
    ) -> float:
        """Exposure at which the noise in the liver's sphere has the wanted coefficient of variation."""
        total = self.expectation.trues + self.expectation.scatter + self.expectation.randoms
        exposure = 2e6 * total.shape[1] / float(total.sum())
        reach = int(np.ceil(SPHERE_RADIUS_MM / plane_mm)) + 1
        first, last = max(0, centre[0] - reach), min(self.n_slices, centre[0] + reach + 1)
        spacing = (plane_mm, self.scanner.bin_mm, self.scanner.bin_mm)
        sphere = sphere_mask(noise_free.shape, centre, spacing, SPHERE_RADIUS_MM)[first:last]
        expected = noise_free[first:last][sphere]
        planes = slice(first, last + 2 * _KEPT_PAD)
        for step in range(2):
            variances = []
            for repeat in range(3):
                prompts = count(_rng(seed, 5, step, repeat), self.expectation, self.scanner, exposure)
                image = self.reconstructor.reconstruct(self.kept(prompts)[planes], planes)[_KEPT_PAD:-_KEPT_PAD]
                variances.append(float(np.var(image[sphere] - expected)))
            ratio = np.sqrt(np.mean(variances)) / float(expected.mean()) / target_cov
            exposure *= float(ratio) ** 2
            if 0.67 < ratio < 1.5:
                break
        return exposure


def make_case(
    seed: int,
    *,
    fractions: Sequence[float] = FRACTIONS,
    n_realisations: int = 1,
    n_slices: int = 40,
    lesions: bool = True,
    n_pixels: int = 128,
    target_cov: float | None = None,
) -> IndependentCase:
    """Simulate one patient; the same arguments give the same case.

    Parameters
    ----------
    seed
        Patient, scanner, reconstruction and noise follow from it.
    fractions
        Count fractions of the low-count scans.
    n_realisations
        Noise realisations of each fraction; more of them leave the first ones as they are.
    n_slices, n_pixels
        Planes of the slab; pixels along each side of a plane. A narrow field of view makes a small patient.
    lesions
        Without them the patient, scanner and liver are the same, lesion-free.
    target_cov
        Coefficient of variation in the liver at full counts; drawn between 8 and 14 % by default.
    """
    # Taken in turn, so that a few patients in sequence hold every voxel size and hot organ.
    spacing_mm = SPACINGS_MM[seed % 3]
    hot_organ = HOT_ORGANS[seed // 3 % 3]
    plane_mm, pixel_mm, _ = spacing_mm
    fine_shape = (2 * (n_slices + 2 * _PAD), 2 * n_pixels, 2 * n_pixels)
    fine_spacing_mm = (plane_mm / 2, pixel_mm / 2, pixel_mm / 2)
    phantom, drawn = make_phantom(_rng(seed, 1), fine_shape, fine_spacing_mm, hot_organ)
    inner = slice(_PAD, _PAD + n_slices)
    whole_liver = _average(phantom.labels == LIVER) > 0.99
    edges = np.zeros_like(whole_liver)
    edges[inner] = whole_liver[inner]
    depth = ndimage.distance_transform_edt(edges, sampling=spacing_mm)
    centre = np.unravel_index(int(depth.argmax()), depth.shape)
    activity, fine_labels, found = phantom.activity, np.zeros(fine_shape, np.uint8), ()
    if lesions:
        fine_centre = [2 * int(c) + 0.5 for c in centre]
        keep_out = sphere_mask(fine_shape, fine_centre, phantom.spacing_mm, SPHERE_RADIUS_MM + 1)
        end_mm = (_PAD + 2) * plane_mm
        activity, fine_labels, found = add_lesions(_rng(seed, 2), phantom, keep_out=keep_out, end_mm=end_mm)
    labels, records = _label_lesions(fine_labels, found)

    scanner = draw_scanner(_rng(seed, 3), n_bins=n_pixels, bin_mm=pixel_mm, plane_mm=plane_mm)
    settings = draw_reconstruction(_rng(seed, 4))
    radius_mm = 1.15 * float(drawn["half_width_mm"]) + 5
    expectation = expect(activity, phantom.mu_map, scanner, radius_mm=radius_mm)
    estimate = (1 + settings.scatter_error) * expectation.scatter + (1 + settings.randoms_error) * expectation.randoms
    kept = slice(_PAD - _KEPT_PAD, _PAD + n_slices + _KEPT_PAD)
    reconstructor = Reconstructor(
        settings,
        mu_map=_average(phantom.mu_map)[kept],
        background=estimate.transpose(1, 0, 2)[kept],
        n_views=scanner.n_views,
        pixel_mm=pixel_mm,
    )
    bench = _Bench(expectation, scanner, reconstructor, n_slices)
    noise_free = bench.noise_free()
    low, high = FULL_COUNT_COV
    wanted = float(_rng(seed, 6).uniform(low, high)) if target_cov is None else target_cov
    liver_centre = [int(centre[0]) - _PAD, int(centre[1]), int(centre[2])]
    exposure = bench.calibrate(seed, wanted, noise_free, liver_centre, plane_mm)
    near_lesion = ndimage.distance_transform_edt(labels == 0, sampling=spacing_mm) < 10.0 if found else labels > 0
    return IndependentCase(
        case_id=f"independent-{seed:04d}" + ("" if lesions else "-free"),
        spacing_mm=spacing_mm,
        truth=_average(activity)[inner],
        noise_free=noise_free,
        full=bench.scan(_rng(seed, 7, 1_000_000, 0), exposure),
        scans={
            float(fraction): tuple(
                bench.scan(_rng(seed, 8, round(fraction * 1e6), k), fraction * exposure) for k in range(n_realisations)
            )
            for fraction in fractions
        },
        liver_mask=(whole_liver & ~near_lesion)[inner],
        body_mask=(_average(phantom.labels != AIR) >= 0.5)[inner],
        lesion_labels=labels[inner],
        lesions=tuple(records),
        settings={
            "seed": seed, "phantom": drawn, "scanner": asdict(scanner), "reconstruction": asdict(settings),
            "target_cov": wanted, "exposure": exposure, "liver_centre": liver_centre,
            "scatter_fraction": expectation.scatter_fraction,
            "prompts_full": float((expectation.trues + expectation.scatter + expectation.randoms).sum() * exposure),
        },
    )  # fmt: skip


def save_case(case: IndependentCase, path: Path) -> None:
    """Write a case as one compressed npz; it appears under its name only when complete."""
    record = {
        "schema_version": SCHEMA_VERSION, "case_id": case.case_id, "spacing_mm": case.spacing_mm,
        "lesions": case.lesions, "settings": case.settings,
        "scans": {str(fraction): len(images) for fraction, images in case.scans.items()},
    }  # fmt: skip
    arrays: dict[str, Any] = {
        name: getattr(case, name)
        for name in ("truth", "noise_free", "full", "liver_mask", "body_mask", "lesion_labels")
    }
    for fraction, images in case.scans.items():
        arrays |= {f"scan_{fraction}_{k}": image for k, image in enumerate(images)}
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, record=json.dumps(record), **arrays)
    partial.replace(path)


def load_case(path: Path) -> IndependentCase:
    """Read a case that :func:`save_case` wrote."""
    with np.load(path) as stored:
        record = json.loads(str(stored["record"]))
        if record["schema_version"] != SCHEMA_VERSION:
            raise ValueError(
                f"A stored case must have schema_version {SCHEMA_VERSION}; found {record['schema_version']}. "
                "Make the case again."
            )
        scans = {
            float(fraction): tuple(stored[f"scan_{fraction}_{k}"] for k in range(number))
            for fraction, number in record["scans"].items()
        }
        z, y, x = record["spacing_mm"]
        names = ("truth", "noise_free", "full", "liver_mask", "body_mask", "lesion_labels")
        return IndependentCase(
            case_id=record["case_id"],
            spacing_mm=(z, y, x),
            scans=scans,
            lesions=tuple(record["lesions"]),
            settings=record["settings"],
            **{name: stored[name] for name in names},
        )
