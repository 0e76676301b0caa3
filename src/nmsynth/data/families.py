"""Families of simulated patients: who can be scanned, and over which length of the body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.io.nifti import read_nifti
from nmsynth.physics.phantom import (
    Grid,
    LesionPlan,
    Organ,
    Phantom,
    WholeBodySettings,
    from_brain_labels,
    from_organ_labels,
    whole_body_patient,
)
from nmsynth.physics.psf import FWHM_PER_SIGMA


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A patient that can be drawn on any grid."""

    name: str
    """Pseudonym; one subject never stands in two splits."""
    body_mass_kg: float
    field_mm: float
    """Width of the field of view that holds the body [mm]."""
    z_range_mm: tuple[float, float]
    """First and last plane worth scanning [mm]."""
    render: Callable[[Grid], Phantom] = field(repr=False)
    height_m: float = 1.72
    sex: str = "O"
    diaphragm_mm: float | None = None
    """Height of the diaphragm, of one that breathes [mm]."""
    trunk_half_width_mm: float = 190.0


def whole_body_subject(seed: int, *, randomised: bool = False, head: bool = False) -> Subject:
    """A procedural adult, plausible or with uptakes and shapes randomised beyond it; one in six without lesions.

    Parameters
    ----------
    seed
        Of the patient.
    randomised
        Draw uptakes, contrasts and additional structures wider than is plausible.
    head
        Only head and neck, arms down, in a small field of view.
    """
    rng = np.random.default_rng((seed, 17))
    arms = "down" if head else str(rng.choice(("up", "down")))
    settings = replace(WholeBodySettings.training() if randomised else WholeBodySettings(), arms=arms)
    count = 0 if rng.random() < 1 / 6 else int(rng.integers(60, 220))
    plan = LesionPlan(count=count, diameter_mm=(6.0, 40.0), contrast=(1.4, 8.0))
    patient = whole_body_patient(seed, lesions=plan, settings=settings)
    low, high = patient.extent_mm
    girth = float(np.clip((patient.frame.bmi / 25.0) ** 0.5, 0.85, 1.25))
    width = 260.0 if head else min(600.0, (430.0 if arms == "up" else 540.0) * girth)
    kind = "head" if head else "randomised" if randomised else "whole-body"
    return Subject(
        name=f"{kind}-{seed}",
        body_mass_kg=patient.body_mass_kg,
        field_mm=width,
        z_range_mm=(high - 250.0 if head else low, high),
        render=patient.render,
        height_m=patient.frame.height_m,
        sex=patient.frame.sex,
        diaphragm_mm=patient.diaphragm_mm,
        trunk_half_width_mm=patient.trunk_half_width_mm,
    )


def families_available(data: Path | None) -> dict[str, bool]:
    """Whether each family can be made: procedural ones always, others where their folder is present."""
    present = {
        name: data is not None and (data / name).is_dir() for name in ("brain_labels", "torso_ct", "sts_triples")
    }
    procedural = dict.fromkeys(("whole-body", "randomised", "head"), True)
    return {**procedural, **{name.replace("_", "-"): ok for name, ok in present.items()}}


def make_subject(family: str, subject_seed: int, case_seed: int, data: Path | None) -> Subject:
    """Make a subject of a family.

    Parameters
    ----------
    family
        Name of the family.
    subject_seed
        Seed of a procedural patient, or the number of a real anatomy in its folder.
    case_seed
        Seed of what differs between the cases of one real anatomy: uptakes, lesions.
    data
        Folder of real data, for the families that need it.

    Raises
    ------
    InputError
        If the family is unknown.
    """
    if family in ("whole-body", "randomised", "head"):
        return whole_body_subject(subject_seed, randomised=family == "randomised", head=family == "head")
    if family not in _REAL_ANATOMY or data is None:
        raise InputError(f"A patient family must be one of {sorted(families_available(data))}; found '{family}'.")
    return _REAL_ANATOMY[family](data / family.replace("-", "_"), subject_seed, case_seed)


def read_upright(path: Path, *, unit: str, modality: str) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Array of a NIfTI image with z to the head, y to posterior and x to the left, and its spacing [mm]."""
    volume = read_nifti(path, unit=unit, modality=modality)
    array = np.asarray(volume.array)
    steps = np.array([volume.affine[2, 0], volume.affine[1, 1], volume.affine[0, 2]])
    array = np.flip(array, tuple(axis for axis in range(3) if steps[axis] < 0))
    return np.ascontiguousarray(array), volume.spacing_mm


def _lesion_plan(rng: np.random.Generator, most: int) -> LesionPlan:
    """Lesions for a real anatomy; none in one of six."""
    count = 0 if rng.random() < 1 / 6 else int(rng.integers(2, most))
    return LesionPlan(count=count, diameter_mm=(5.0, 35.0), contrast=(1.4, 8.0))


def _extent(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """First and last plane of a label map, whose first plane lies at z = 0 [mm]."""
    return 0.0, shape[0] * spacing_mm[0]


def brain_subject(folder: Path, number: int, seed: int) -> Subject:
    """A head from a label map, with FDG uptake drawn for this case."""
    path = sorted(folder.glob("*.nii.gz"))[number]
    labels, spacing = read_upright(path, unit="1", modality="MR")
    rng = np.random.default_rng((seed, 19))
    plan = _lesion_plan(rng, 8)
    inside = np.flatnonzero((labels > 0).any(axis=(1, 2))) * spacing[0]

    def render(grid: Grid) -> Phantom:
        """Draw the head on a grid."""
        return from_brain_labels(labels.astype(np.int32), spacing, seed=seed, grid=grid, lesions=plan)

    return Subject(f"brain-labels-{number}", 75.0, 256.0, (float(inside[0]), float(inside[-1])), render)


def torso_subject(folder: Path, number: int, seed: int) -> Subject:
    """The torso of a CT and its organ labels, with uptake drawn for this case."""
    del number
    label_path = next(p for p in sorted(folder.glob("*.nii.gz")) if "label" in p.name or "seg" in p.name)
    ct_path = next(p for p in sorted(folder.glob("*.nii.gz")) if p != label_path)
    labels, spacing = read_upright(label_path, unit="1", modality="CT")
    ct, _ = read_upright(ct_path, unit="HU", modality="CT")
    plan = _lesion_plan(np.random.default_rng((seed, 23)), 80)

    def render(grid: Grid) -> Phantom:
        """Draw the torso on a grid."""
        return from_organ_labels(labels.astype(np.int32), spacing, seed=seed, ct_hu=ct, grid=grid, lesions=plan)

    return Subject("torso-ct-0", 75.0, 420.0, _extent(labels.shape, spacing), render)


def sarcoma_subject(folder: Path, number: int, seed: int) -> Subject:
    """A limb with the texture of a real FDG scan: its SUV, smoothed, as activity and water inside its contour.

    The measured image is no truth of the patient; it serves as activity that has the texture of one.
    """
    path = sorted(p for p in folder.iterdir() if p.is_dir())[number] / "pet.nii.gz"
    image, spacing = read_upright(path, unit="SUVbw [g/mL]", modality="PT")
    image = ndimage.gaussian_filter(np.maximum(image, 0), [3.0 / s / FWHM_PER_SIGMA for s in spacing])
    body = ndimage.binary_fill_holes(ndimage.gaussian_filter(image, 1.0) > 0.1)
    low = [-(n - 1) / 2 * s for n, s in zip(image.shape[1:], spacing[1:], strict=True)]

    def render(grid: Grid) -> Phantom:
        """Interpolate the scan to a grid."""
        axes = [(a - o) / s for a, o, s in zip(grid.axes(), (0.0, *low), spacing, strict=True)]
        points = np.meshgrid(*axes, indexing="ij")
        activity = ndimage.map_coordinates(image, points, order=1, mode="constant").astype(np.float32)
        tissue = ndimage.map_coordinates(body.astype(np.float32), points, order=1, mode="constant")
        return Phantom(
            grid=grid, activity=activity, mu_map=(0.096 * tissue).astype(np.float32),
            labels=np.where(tissue > 0.5, np.uint8(Organ.SOFT_TISSUE), np.uint8(0)).astype(np.uint8),
            lesion_labels=np.zeros(grid.shape, dtype=np.uint8), lesions=(), body_mass_kg=75.0, height_m=1.72, sex="O",
            seed=seed, family="sts_triples",
        )  # fmt: skip

    width = max(n * s for n, s in zip(image.shape[1:], spacing[1:], strict=True))
    return Subject(f"sts-triples-{number}", 75.0, max(160.0, width), _extent(image.shape, spacing), render)


_REAL_ANATOMY: dict[str, Callable[[Path, int, int], Subject]] = {
    "brain-labels": brain_subject,
    "torso-ct": torso_subject,
    "sts-triples": sarcoma_subject,
}
"""Makers of subjects from real anatomy, by family."""
