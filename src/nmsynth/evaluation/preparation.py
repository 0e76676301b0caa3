"""Bringing the images and masks of an evaluation to one grid, one unit and named regions, or refusing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError, SuvError, UnsafeInputError
from nmsynth.core.units import SuvKind, Unit
from nmsynth.core.volume import SPATIAL_AXES, Volume
from nmsynth.evaluation.settings import SUV_DATA_RANGE, EvaluationSettings
from nmsynth.metrics.homogeneous import HomogeneousSphere, find_homogeneous_sphere, grow_region
from nmsynth.metrics.regions import Mask, Spacing, body_mask, numbered_lesions, ring_mask, sphere_weights

Image = npt.NDArray[np.float32]
LESION_PREFIX = "lesion"
"""Masks whose name starts so are lesions."""
BODY_NAME, LIVER_NAME, BLOOD_POOL_NAME = "body", "liver", "blood_pool"
"""Masks that have a meaning of their own."""
BEST_GAUSSIAN = "best Gaussian of the source"
"""Name of the arm that is the source smoothed by the width of least error."""
BEST_SCALED_GAUSSIAN = "best Gaussian of the source, scaled"
"""Name of the arm that is the source smoothed and multiplied by the width and the factor of least error."""
EQUAL_NOISE_GAUSSIAN = "Gaussian of the source at equal noise"
"""Name of the arm that has as much noise as the image in question."""
RESIDUAL_NOISE = "residual noise"
"""Name of the measurement of what differs from a noise-free reference in a homogeneous region, over its mean there."""
FULL_COUNTS, BEST_FULL_GAUSSIAN = "full counts", "best Gaussian of full counts"
"""Names of the controls at full counts."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion and its ring."""

    name: str
    mask: Mask
    ring: Mask


@dataclass(frozen=True, slots=True)
class Scene:
    """All that the arms of an evaluation share."""

    reference: Image
    unit: Unit
    modality: str
    spacing_mm: Spacing
    body: Mask
    body_name: str
    organs: dict[str, Mask]
    slabs: dict[str, Mask]
    lesions: tuple[Lesion, ...]
    sphere: HomogeneousSphere | None
    sphere_name: str
    sphere_weights: npt.NDArray[np.float64] | None
    noise_region: Mask | None
    """Homogeneous region around the sphere."""
    data_range: float | None
    settings: EvaluationSettings
    warnings: tuple[str, ...] = field(default=())

    @property
    def quiet_region(self) -> Mask | None:
        """Where noise is measured against a noise-free reference: the homogeneous region, or else the sphere."""
        if self.noise_region is not None and self.noise_region.any():
            return self.noise_region
        return None if self.sphere_weights is None else np.asarray(self.sphere_weights >= 0.5)

    @property
    def value_prefix(self) -> str:
        """``"SUV"`` where the images are in SUV, to name uptakes."""
        return "SUV" if self.unit.is_suv else ""


def check_images(volumes: Mapping[str, Volume]) -> None:
    """Refuse images that are not on one grid, not of one frame of reference, not three-dimensional or not finite.

    Raises
    ------
    InputError
        Naming the images by their role.
    UnsafeInputError
        For NaN or infinity, or images of different patients or positions.
    """
    _check_frames(volumes)
    first_name, first = next(iter(volumes.items()))
    for name, volume in volumes.items():
        if volume.axes != SPATIAL_AXES:
            raise InputError(f"Images to evaluate must have axes {SPATIAL_AXES}; the {name} has {volume.axes}.")
        if not volume.has_grid_of(first):
            raise InputError(
                f"Images to evaluate must share a grid; the {first_name} has shape {first.shape} and spacing "
                f"{_round(first.spacing_mm)} mm, the {name} {volume.shape} and {_round(volume.spacing_mm)} mm, or "
                f"their positions differ. Resample the {name} first: --resample, or resample_to()."
            )
        if not np.isfinite(volume.array).all():
            raise UnsafeInputError(
                f"Images to evaluate must be finite; the {name} has NaN or infinity. Repair it first."
            )


def _check_frames(volumes: Mapping[str, Volume]) -> None:
    """Refuse images whose frames of reference differ: they show another patient, or one who has moved."""
    frames = {name: volume.acquisition.frame_of_reference_uid for name, volume in volumes.items()}
    stated = {name: frame for name, frame in frames.items() if frame is not None}
    if len(set(stated.values())) > 1:
        raise UnsafeInputError(
            f"Images to evaluate must share a frame of reference; those of {', '.join(stated)} differ. Give images of "
            "one scan, or register them and give the registered one as NIfTI without a sidecar."
        )


def _round(values: tuple[float, ...]) -> tuple[float, ...]:
    """Spacing as printed."""
    return tuple(round(value, 3) for value in values)


def on_scale_of(volumes: Mapping[str, Volume], reference: Volume) -> tuple[dict[str, Volume], tuple[str, ...]]:
    """Images of another unit, or of an unknown scale, multiplied so that they differ least from a reference.

    The factor is that of least squares over the voxels where the reference is positive; numbers that follow speak of
    the distribution alone.

    Returns
    -------
        The images, and a warning that names those that were scaled.
    """
    scaled, names = {}, []
    expected = np.asarray(reference.array, dtype=np.float64)
    inside = expected > 0
    for name, volume in volumes.items():
        scaled[name] = volume
        if volume is reference or (volume.unit is reference.unit and volume.unit is not Unit.RELATIVE):
            continue
        values = np.asarray(volume.array, dtype=np.float64)[inside]
        square = float(np.square(values).sum())
        if square > 0 and volume.unit.is_proportional:
            factor = float((values * expected[inside]).sum()) / square
            scaled[name] = volume.with_array(volume.array * np.float32(factor), unit=reference.unit, suv_rule=None)
            names.append(name)
    if not names:
        return scaled, ()
    told = f"Of unknown scale and brought to the reference's by least squares: {', '.join(names)}; no number of them "
    return scaled, (f"{told}speaks of the level.",)


def to_one_unit(
    volumes: Mapping[str, Volume], settings: EvaluationSettings
) -> tuple[dict[str, Volume], tuple[str, ...]]:
    """Convert PET to SUV where all images allow it; else leave them in the unit that they share, as those of SPECT.

    Returns
    -------
        The images, and a warning where they stay without SUV.

    Raises
    ------
    InputError
        Where the units differ and an SUV cannot be had for all.
    """
    units = {volume.unit for volume in volumes.values()}
    if len(units) == 1 and (next(iter(units)).is_suv or {v.modality for v in volumes.values()} == {"NM"}):
        return dict(volumes), ()
    wanted = SuvKind(settings.suv_kind).unit
    try:
        return {
            name: volume if volume.unit is wanted else volume.to_suv(settings.suv_kind)  # an imitated SUV is one
            for name, volume in volumes.items()
        }, ()
    except SuvError as error:
        if len(units) == 1:
            return dict(volumes), (f"Values stay in {next(iter(units)).value}, not SUV: {error}",)
        found = ", ".join(f"{name} in {volume.unit.value}" for name, volume in volumes.items())
        raise InputError(
            f"Images to evaluate must be in one unit or allow an SUV; found {found}. {error} Convert them first."
        ) from error


def as_mask_array(name: str, mask: Volume | npt.ArrayLike, reference: Volume) -> npt.NDArray[Any]:
    """Mask on the grid of the reference, as an array of labels."""
    if isinstance(mask, Volume):
        if not mask.has_grid_of(reference):
            raise InputError(
                f"Masks must share the grid of the reference {reference.shape}; mask '{name}' has {mask.shape} or "
                "another position. Resample it first: --resample, or resample_to(reference, order=0)."
            )
        return mask.array
    array = np.asarray(mask)
    if array.shape != reference.shape:
        raise InputError(
            f"Masks must have the shape of the reference {reference.shape}; mask '{name}' has {array.shape}. "
            "Resample it first."
        )
    return array


def prepare_scene(
    reference: Volume, masks: Mapping[str, Volume | npt.ArrayLike] | None, settings: EvaluationSettings
) -> Scene:
    """Regions of an evaluation from the reference and the masks given.

    Masks named ``body``, ``liver`` and ``blood_pool`` have a meaning; those starting with ``lesion`` are lesions, one
    for each label or, if binary, each connected component; every other is an organ.
    """
    arrays = {name: as_mask_array(name, mask, reference) for name, mask in (masks or {}).items()}
    image, spacing = reference.array, reference.spacing_mm
    warnings: list[str] = []
    if BODY_NAME in arrays:
        body, body_name = np.asarray(arrays[BODY_NAME] > 0), BODY_NAME
    else:
        body_name = "body (automatic)"
        body = body_mask(
            image,
            spacing,
            threshold=settings.body_threshold,
            closing_mm=settings.body_closing_mm,
            smoothing_fwhm_mm=settings.body_smoothing_fwhm_mm,
        )
    if not body.any():
        warnings.append("The body mask is empty: the reference is zero, or below the threshold, throughout.")
    lesions = _lesions(arrays, body, spacing, settings)
    organs = {
        name: np.asarray(array > 0)
        for name, array in arrays.items()
        if name != BODY_NAME and not name.startswith(LESION_PREFIX)
    }
    warnings += [f"Mask '{name}' is empty." for name, array in arrays.items() if not np.any(array > 0)]
    sphere, sphere_name = _liver_sphere(image, spacing, body, organs.get(LIVER_NAME), lesions, settings)
    weights, region = None, None
    if sphere is None:
        warnings.append("No homogeneous sphere fits in the body: noise and structures have no level.")
    else:
        n_z, n_y, n_x = reference.spatial_shape
        weights = sphere_weights(
            (n_z, n_y, n_x), spacing, centre_index=sphere.centre_index, diameter_mm=sphere.diameter_mm
        )
        allowed = body & ~np.any([lesion.mask for lesion in lesions], axis=0) if lesions else body
        region = grow_region(image, spacing, sphere, allowed)
    return Scene(
        reference=image,
        unit=reference.unit,
        modality=reference.modality,
        spacing_mm=spacing,
        body=body,
        body_name=body_name,
        organs=organs,
        slabs=_slabs(body, settings.n_slabs),
        lesions=lesions,
        sphere=sphere,
        sphere_name=sphere_name,
        sphere_weights=weights,
        noise_region=region,
        data_range=_data_range(image, body, reference.unit, settings),
        settings=settings,
        warnings=tuple(warnings),
    )


def _data_range(image: Image, body: Mask, unit: Unit, settings: EvaluationSettings) -> float | None:
    """Choose the data range of PSNR and SSIM; ``None`` where the reference has no positive value."""
    if settings.data_range is not None:
        return settings.data_range
    if unit.is_suv:
        return SUV_DATA_RANGE
    peak = float(image[body].max()) if body.any() else 0.0
    return peak if peak > 0 else None


def named_lesions(arrays: Mapping[str, npt.NDArray[Any]]) -> list[tuple[str, Mask]]:
    """Lesions of those masks whose name begins with ``lesion``, named by mask and number."""
    found: list[tuple[str, Mask]] = []
    for name, array in arrays.items():
        if not name.startswith(LESION_PREFIX):
            continue
        parts = numbered_lesions(array)
        one = name.removesuffix("s") if name == "lesions" else name
        found += [(f"{one} {number}" if len(parts) > 1 else one, part) for number, part in parts.items()]
    return found


def _lesions(
    arrays: Mapping[str, npt.NDArray[Any]], body: Mask, spacing: Spacing, settings: EvaluationSettings
) -> tuple[Lesion, ...]:
    """Lesions of all lesion masks under their numbers there, with rings that touch no lesion and stay in the body."""
    found = named_lesions(arrays)
    if not found:
        return ()
    every = np.any([mask for _, mask in found], axis=0)
    return tuple(
        Lesion(
            name,
            mask,
            ring_mask(
                mask,
                spacing,
                inner_mm=settings.ring_inner_mm,
                outer_mm=settings.ring_outer_mm,
                exclude=every,
                within=body,
            ),
        )
        for name, mask in found
    )


def _liver_sphere(
    image: Image,
    spacing: Spacing,
    body: Mask,
    liver: Mask | None,
    lesions: tuple[Lesion, ...],
    settings: EvaluationSettings,
) -> tuple[HomogeneousSphere | None, str]:
    """Sphere in the liver mask, or where the image is liver-like; falls back to the latter where it does not fit."""
    every = np.any([lesion.mask for lesion in lesions], axis=0) if lesions else None
    width = settings.liver_sphere_mm
    if liver is not None and liver.any():
        sphere = find_homogeneous_sphere(image, spacing, body, diameter_mm=width, exclude=every, within=liver)
        if sphere is not None:
            return sphere, f"liver sphere {width:g} mm"
    sphere = find_homogeneous_sphere(image, spacing, body, diameter_mm=width, exclude=every)
    return sphere, f"homogeneous sphere {width:g} mm (automatic)"


def _slabs(body: Mask, n_slabs: int) -> dict[str, Mask]:
    """Body cut into equal axial parts between its first and last slice."""
    slices = np.flatnonzero(body.any(axis=(1, 2)))
    if not n_slabs or slices.size < n_slabs:
        return {}
    edges = np.linspace(slices[0], slices[-1] + 1, n_slabs + 1).round().astype(int)
    slabs: dict[str, Mask] = {}
    for i in range(n_slabs):
        slab = np.zeros_like(body)
        slab[edges[i] : edges[i + 1]] = body[edges[i] : edges[i + 1]]
        slabs[f"body slab {i + 1} of {n_slabs}"] = slab
    return slabs
