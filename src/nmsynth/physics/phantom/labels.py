"""Phantoms from organ or brain label maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray, Grid, Phantom
from nmsynth.physics.phantom.label_tables import BRAIN_REGIONS, ORGAN_REGIONS, mu_of
from nmsynth.physics.phantom.lesions import LesionPlan, paint_lesions, place_lesions
from nmsynth.physics.phantom.organs import UPTAKE, Organ


@dataclass(frozen=True, eq=False)
class LabelSource:
    """Truth on the voxels of the label map: uptake [g/mL], attenuation [1/cm], organ, and their grid."""

    grid: Grid
    activity: FloatArray
    mu_map: FloatArray
    organs: NDArray[np.uint8]


def from_organ_labels(
    label_array: NDArray[np.integer],
    spacing_mm: tuple[float, float, float],
    *,
    seed: int,
    ct_hu: NDArray[np.number] | None = None,
    grid: Grid | None = None,
    lesions: LesionPlan | None = None,
    body_mass_kg: float = 75.0,
    height_m: float = 1.72,
    sex: str = "O",
) -> Phantom:
    """Make an FDG phantom from a body label map.

    Parameters
    ----------
    label_array
        TotalSegmentator v2 numbers, shape ``(z, y, x)`` with z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    seed
        Number that draws the uptakes; the same seed gives the same phantom.
    ct_hu
        CT of the same shape [HU]. It tells fat from muscle outside the labels and gives the attenuation; without it
        the body is the labels closed up and covered with 15 mm of fat.
    grid
        Where to render; None for the label map's own voxels. The map's first plane lies at z = 0, its middle at
        ``(y, x) = (0, 0)``.
    lesions
        Lesions to add, none by default.
    body_mass_kg, height_m, sex
        Habitus to record.

    Returns
    -------
        Uptake by organ with smooth texture; hollow organs get a wall, kidneys a hot centre. Limit: the heart is one
        region, so its wall does not stand out.

    References
    ----------
    .. [Wasserthal2023] J. Wasserthal et al., Radiol Artif Intell 5(5):e230024, 2023 (numbering).
    .. [Carney2006] J. P. J. Carney et al., Med Phys 33:976-983, 2006 (attenuation from CT).
    """
    _check_seed(seed)
    labels = checked_labels(label_array, spacing_mm, ORGAN_REGIONS, "TotalSegmentator v2")
    if ct_hu is not None and ct_hu.shape != labels.shape:
        raise InputError(f"The CT must have the labels' shape {labels.shape}, found {ct_hu.shape}.")
    rng = np.random.default_rng([seed, 10])
    own = Grid.centred(labels.shape, spacing_mm)
    source = _organ_source(labels, ct_hu, own, rng)
    return render_source(source, grid, lesions, (seed, "organ_labels", body_mass_kg, height_m, sex))


def from_brain_labels(
    label_array: NDArray[np.number],
    spacing_mm: tuple[float, float, float],
    *,
    seed: int,
    tracer: str = "FDG",
    disease: str | None = None,
    severity: float = 0.0,
    atrophy: float = 0.0,
    grid: Grid | None = None,
    lesions: LesionPlan | None = None,
    body_mass_kg: float = 75.0,
    height_m: float = 1.72,
    sex: str = "O",
) -> Phantom:
    """Make a brain phantom from a whole-head label map.

    Parameters
    ----------
    label_array
        FreeSurfer numbers, cortical parcels 1000-2999 included, and 502-530 outside the brain; shape ``(z, y, x)``
        with z upwards, y to posterior, x to the left.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    seed
        Number that draws the uptakes; the same seed gives the same phantom.
    tracer
        One of :data:`nmsynth.physics.phantom.brain_tracers.BRAIN_TRACERS`.
    disease
        ``"normal"``, ``"alzheimer"`` or ``"parkinson"``. Without it and without atrophy FDG has one uptake for all of
        the cortex; everything else is a `nmsynth.physics.phantom.brain.brain_patient`, which also gives its regions
        and their true means.
    severity
        Of the disease's uptake pattern, from 0 to 1.
    atrophy
        Of cortex, hippocampus and amygdala into cerebrospinal fluid, from 0 to 1.
    grid
        Where to render; None for the label map's own voxels, placed as in `from_organ_labels`.
    lesions
        Lesions to add, none by default.
    body_mass_kg, height_m, sex
        Habitus to record.

    Returns
    -------
        Grey over white matter of about 3 to 4, each region varied per subject.

    References
    ----------
    .. [Heiss2004] W.-D. Heiss et al., J Nucl Med 45:1811-1815, 2004 (regional glucose metabolism).
    """
    if tracer.upper() != "FDG" or disease is not None or severity or atrophy:
        # imported here, as that module builds on this one
        from nmsynth.physics.phantom.brain import brain_patient
        from nmsynth.physics.phantom.brain_disease import BrainSubject

        return brain_patient(
            label_array, spacing_mm, seed=seed, tracer=tracer, lesions=lesions, body_mass_kg=body_mass_kg,
            subject=BrainSubject(disease or "normal", severity, atrophy, None), height_m=height_m, sex=sex,
        ).render(grid)  # fmt: skip
    _check_seed(seed)
    labels = checked_labels(label_array, spacing_mm, BRAIN_REGIONS, "FreeSurfer")
    rng = np.random.default_rng([seed, 11])
    source = _brain_source(labels, Grid.centred(labels.shape, spacing_mm), rng)
    return render_source(source, grid, lesions, (seed, "brain_labels", body_mass_kg, height_m, sex))


def _check_seed(seed: int) -> None:
    """Refuse negative seeds."""
    if seed < 0:
        raise InputError(f"A phantom seed must not be negative, found {seed}.")


def checked_labels(
    label_array: NDArray[np.number],
    spacing_mm: tuple[float, float, float],
    known: Collection[int],
    name: str,
    *,
    parcels: bool = False,
) -> NDArray[np.int32]:
    """Labels as integers, refused where they are not the expected numbering; cortical parcels kept or made one."""
    if label_array.ndim != 3:
        raise InputError(f"A label map needs three axes (z, y, x), found shape {label_array.shape}.")
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise InputError(f"Voxel spacing must be three positive numbers, found {spacing_mm}.")
    labels = np.asarray(label_array).astype(np.int32)
    if not np.array_equal(labels, label_array):
        raise InputError("Labels must be whole numbers, found fractions; resample the map with nearest neighbour.")
    numbers = set(np.unique(labels).tolist())
    if name == "FreeSurfer":
        if not parcels:
            labels[(labels >= 1000) & (labels < 3000)] = 3
            labels[labels == 31], labels[labels == 63] = 4, 43  # choroid plexus counts as ventricle
        numbers = {3 if 1000 <= number < 3000 else number for number in numbers} - {31, 63}
    unknown = sorted(numbers - set(known) - {0})
    if unknown:
        raise InputError(f"Labels must follow the {name} numbering, found unknown numbers {unknown[:8]}.")
    if not labels.any():
        raise InputError("The label map is empty; it needs at least one labelled voxel.")
    return labels


def _organ_source(
    labels: NDArray[np.int32], ct_hu: NDArray[np.number] | None, grid: Grid, rng: np.random.Generator
) -> LabelSource:
    """Uptake and attenuation on the voxels of a body label map."""
    activity, organs = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.uint8)
    _fill_rest(labels, ct_hu, grid, rng, activity, organs)
    drawn: dict[str, float] = {}
    depths: dict[str, FloatArray] = {}
    spacing = grid.spacing_mm
    for label in np.unique(labels[labels > 0]).tolist():
        organ, key = ORGAN_REGIONS[label]
        level = drawn.setdefault(key, UPTAKE[key].draw(rng)) * float(np.exp(0.05 * rng.standard_normal()))
        mask = labels == label
        activity[mask], organs[mask] = level, organ
        if key in ("kidney_cortex", "stomach_wall", "colon", "small_bowel"):
            depth = depths.setdefault(
                str(label), ndimage.distance_transform_edt(mask, sampling=spacing).astype(np.float32)
            )
            if key == "kidney_cortex":
                core = depth > np.percentile(depth[mask], 96)
                activity[core], organs[core] = UPTAKE["renal_pelvis"].draw(rng), Organ.URINE
            else:
                lumen = depth > rng.uniform(4, 7)
                activity[lumen] = UPTAKE["stomach_lumen" if key == "stomach_wall" else "bowel_content"].draw(rng)
    activity *= texture(grid, rng, float(rng.uniform(0.04, 0.10)))
    mu_map = mu_of(organs)
    if ct_hu is not None:
        hu = np.clip(np.asarray(ct_hu, dtype=np.float32), -1000, 2000)
        low, high = 9.6e-5 * (hu + 1000), 5.1e-5 * (hu + 1000) + 4.71e-2
        mu_map = np.where(organs > 0, np.clip(np.where(hu < 47, low, high), 0, 0.19), 0).astype(np.float32)
    return LabelSource(grid, activity, mu_map, organs)


def _fill_rest(
    labels: NDArray[np.int32],
    ct_hu: NDArray[np.number] | None,
    grid: Grid,
    rng: np.random.Generator,
    activity: FloatArray,
    organs: NDArray[np.uint8],
) -> None:
    """Fat and muscle where the body has no label, in place."""
    spacing = grid.spacing_mm
    if ct_hu is not None:
        solid = ndimage.binary_opening(np.asarray(ct_hu) > -400)
        parts, n = ndimage.label(solid)
        sizes = np.bincount(parts.ravel())[1:] if n else np.zeros(1)
        body = (parts == 1 + int(np.argmax(sizes))) if n else labels > 0
        body = np.stack([ndimage.binary_fill_holes(plane) for plane in body]) | (labels > 0)
        air = body & (np.asarray(ct_hu) < -400)
        fat = body & (np.asarray(ct_hu) < -30) & ~air
    else:
        far = ndimage.distance_transform_edt(labels == 0, sampling=spacing)
        near = np.pad(far < 25.0, 20, mode="edge")
        deep = ndimage.distance_transform_edt(near, sampling=spacing)[20:-20, 20:-20, 20:-20]
        body = (deep > 10.0) | (labels > 0)
        fat, air = body & (deep < 25.0), np.zeros_like(body)
    for mask, key, organ in ((body, "muscle", Organ.MUSCLE), (fat, "fat", Organ.FAT)):
        activity[mask], organs[mask] = UPTAKE[key].draw(rng), organ
    activity[air], organs[air] = 0.15, Organ.AIR


def _brain_source(labels: NDArray[np.int32], grid: Grid, rng: np.random.Generator) -> LabelSource:
    """Uptake and attenuation on the voxels of a head label map."""
    grey = UPTAKE["grey"].draw(rng)
    white = UPTAKE["white_ratio"].draw(rng)
    size = int(labels.max()) + 1
    uptake, organ_of = np.zeros(size, np.float32), np.zeros(size, np.uint8)
    groups: dict[tuple[int, float], float] = {}
    for label, (organ, ratio) in BRAIN_REGIONS.items():
        if label >= size:
            continue
        spread = groups.setdefault((int(organ), ratio), float(np.exp(0.08 * rng.standard_normal())))
        side = float(np.exp(0.025 * rng.standard_normal()))
        # Negative ratios are absolute uptakes [g/mL] of tissue outside the brain; white matter has a ratio of its own.
        level = -ratio if ratio < 0 else grey * (white if organ == Organ.BRAIN_WHITE and ratio == 0 else ratio)
        uptake[label], organ_of[label] = level * spread * side, organ
    organs = organ_of[labels]
    activity = uptake[labels] * texture(grid, rng, float(rng.uniform(0.04, 0.09)))
    return LabelSource(grid, activity, mu_of(organs), organs)


def texture(grid: Grid, rng: np.random.Generator, sd: float) -> FloatArray:
    """Factor about 1 from a fine and a coarse smooth field."""
    coarse = SmoothField.random(rng, float(rng.uniform(18, 35))).on_axes(*grid.axes())
    fine = SmoothField.random(rng, float(rng.uniform(6, 10)), 48).on_axes(*grid.axes())
    factor: FloatArray = np.clip(1 + sd * (0.8 * coarse + 0.6 * fine), 0.4, 1.6).astype(np.float32)
    return factor


def overlap_matrix(target: NDArray[np.float64], source: NDArray[np.float64], width: float, step: float) -> FloatArray:
    """Fraction of each target voxel (centres ``target``, edge ``width``) that each source voxel fills, ``(n, m)``."""
    low = np.maximum(target[:, None] - width / 2, source[None, :] - step / 2)
    high = np.minimum(target[:, None] + width / 2, source[None, :] + step / 2)
    matrix: FloatArray = (np.maximum(high - low, 0) / width).astype(np.float32)
    return matrix


def overlap_matrices(target: Grid, source: Grid) -> tuple[FloatArray, ...]:
    """Fraction of each voxel of a grid that each voxel of another fills, by axis; see :func:`overlap_matrix`."""
    return tuple(
        overlap_matrix(t, s, w, d)
        for t, s, w, d in zip(target.axes(), source.axes(), target.spacing_mm, source.spacing_mm, strict=True)
    )


def averaged(image: FloatArray, matrices: Sequence[FloatArray]) -> FloatArray:
    """Mean of an image over the voxels of another grid, one axis at a time."""
    image = np.tensordot(matrices[0], image, axes=(1, 0))
    image = np.matmul(matrices[1], image)
    result: FloatArray = np.matmul(image, matrices[2].T)
    return result


def largest_label(labels: NDArray[np.uint8], matrices: Sequence[FloatArray]) -> NDArray[np.uint8]:
    """Label that fills most of each voxel of another grid, 0 where none fills more than what has no label."""
    best = 1 - averaged((labels > 0).astype(np.float32), matrices)
    found = np.zeros(best.shape, np.uint8)
    for label, where in enumerate(ndimage.find_objects(labels), start=1):
        if where is None:
            continue
        part = (labels[where] == label).astype(np.float32)
        filled = averaged(part, [m[:, s] for m, s in zip(matrices, where, strict=True)])
        wins = filled > best
        best[wins], found[wins] = filled[wins], label
    return found


def render_source(
    source: LabelSource, grid: Grid | None, plan: LesionPlan | None, record: tuple[int, str, float, float, str]
) -> Phantom:
    """Average the source over a grid's voxels and add lesions."""
    seed, family, body_mass_kg, height_m, sex = record
    own, grid = source.grid, grid or source.grid
    matrices = overlap_matrices(grid, own)
    activity, mu_map = averaged(source.activity, matrices), averaged(source.mu_map, matrices)
    labels = largest_label(source.organs, matrices)
    origin, spacing = np.array(own.origin_mm), np.array(own.spacing_mm)

    def sample(points_mm: NDArray[np.float64]) -> tuple[FloatArray, NDArray[np.uint8]]:
        index = np.floor((points_mm - origin) / spacing + 0.5).astype(int)
        inside = ((index >= 0) & (index < np.array(own.shape))).all(axis=1)
        z, y, x = np.where(inside[:, None], index, 0).T
        return np.where(inside, source.activity[z, y, x], 0), np.where(inside, source.organs[z, y, x], 0)

    box = tuple((float(a[0]), float(a[-1])) for a in own.axes())
    placed = place_lesions(
        np.random.default_rng([seed, 12]), sample, plan or LesionPlan(count=0), (box[0], box[1], box[2])
    )
    lesion_labels, found = paint_lesions(grid, activity, mu_map, placed)
    return Phantom(grid, activity, mu_map, labels, lesion_labels, found, body_mass_kg, height_m, sex, seed, family)
