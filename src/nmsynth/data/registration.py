"""Registration of images of one patient: rigid or deformable, by body contours, intensities or a synthetic image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

import nmsynth
from nmsynth.core.errors import InputError, NumericalError
from nmsynth.core.geometry import directions_of, is_orthogonal
from nmsynth.core.volume import ACTIVITY_MODALITIES, Volume
from nmsynth.data.body_contours import (
    Body,
    FloatArray,
    Image,
    Mask,
    contour_agreement,
    find_body,
    on_grid,
    same_size,
    signed_distance_mm,
)
from nmsynth.data.contour_matching import match_contours
from nmsynth.data.image_matching import match_images
from nmsynth.data.itk_images import (
    combined,
    displacement_mm,
    displacement_transform,
    moved,
    moved_mask,
    sitk,
    smallest_volume_ratio,
    to_itk,
    transform_record,
)

LEAST_VOLUME = 0.2
"""Smallest local ratio of volumes; what squeezes more is no motion of a body."""
DICE_LOSS = 0.003
"""Of the bodies, that a registration by intensities may cost."""
BRIGHTEST = 99.0
"""Percentile of uptake in the body beyond which values count as it: over the range up to a bladder, a histogram of few
bins has all tissue in its first."""
SMOOTHER = (1.0, 1.5, 2.0)
"""Times the smoothness of a displacement that follows a synthetic image, tried until one is taken."""
Synthesise = Callable[[Volume], Volume]
"""From an image of the moving kind to a synthetic one of the fixed kind, on the same grid."""
_Signal = Literal["contour", "intensity", "synthesis"]
_STAGES: dict[str, tuple[_Signal, ...]] = {
    "contour": ("contour",),
    "intensity": ("intensity",),
    "both": ("contour", "intensity"),
    "synthesis": ("contour", "synthesis"),
}


class RegistrationSettings(BaseModel):
    """How images are registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["rigid", "deformable"] = "rigid"
    """Six parameters, or a smooth displacement."""
    by: Literal["contour", "intensity", "both", "synthesis"] = "both"
    """The contours of the body; Mattes' mutual information; one after the other; or contours and after them a synthetic
    image of the fixed one's kind, made from the moving one."""
    mesh_mm: float = Field(default=60.0, ge=10.0)
    """Distance of the control points of the B-spline that follows intensities [mm]."""
    smoothness_mm: float = Field(default=20.0, gt=0.0)
    """FWHM by which the displacement that follows contours is smoothed at each iteration [mm]."""
    synthesis_smoothness_mm: float = Field(default=12.0, gt=0.0)
    """The same of the displacement that follows a synthetic image, which sees bones and organs [mm]."""
    working_mm: float = Field(default=3.5, gt=0.0)
    """Spacing of the grid on which images are compared [mm]."""
    reach_mm: float = Field(default=12.0, gt=0.0)
    """Contours further apart than this do not attract each other [mm]."""
    largest_mm: float = Field(default=25.0, gt=0.0)
    """Along each axis, no voxel is moved further than this by contours [mm]."""
    bins: int = Field(default=32, ge=8)
    """Of the histogram that gives the mutual information."""
    iterations: int = Field(default=40, ge=1)
    """At most, at each resolution."""
    keep_mm: float = Field(default=20.0, ge=0.0)
    """Distance from what is to stay in place over which the displacement grows to its full size [mm]."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A transform found, and its record."""

    transform: Any
    """From points of the fixed image to points of the moving one, LPS [mm]."""
    record: dict[str, Any]
    """JSON values: settings, parameters, agreement before and after, displacement, versions."""

    def apply(self, moving: Volume, grid: Volume, *, order: int = 1) -> Volume:
        """An image of the moving space, or a mask, on a grid of the fixed space; see ``itk_images.moved``."""
        return moved(moving, grid, self.transform, order=order)


def register(
    fixed: Volume,
    moving: Volume,
    settings: RegistrationSettings | None = None,
    *,
    keep: Volume | None = None,
    synthesise: Synthesise | None = None,
) -> Registration:
    """Find the transform that lays a moving image over a fixed one of the same patient.

    Contours are compared where both images see the body; that of PET is taken at the level at which the body has the
    volume of the other image. The start is the position that the headers give. A stage that does not raise its own
    measure (the Dice coefficient of the bodies; the mutual information), that spoils the other, or that folds space is
    not taken; the record names those that were. What follows a synthetic image is judged by the mutual information of
    the two real images, which it has not seen.

    Parameters
    ----------
    fixed, moving
        Axes ``(z, y, x)``, orthogonal grids.
    keep
        Mask in the space of the fixed image, of what is already in place, such as a lesion: a deformation is faded to
        nothing there, over ``keep_mm``.
    synthesise
        Makes, from the moving image on the fixed grid, the synthetic image that is compared where settings say
        ``synthesis``. Its model must not have been trained on this patient, or it knows where the fixed image lies.

    Raises
    ------
    InputError
        If a grid is oblique to itself, the fields of view do not overlap, or a synthetic image is asked for and cannot
        be had or serves a rigid registration.
    NumericalError
        If the optimiser fails.
    """
    settings = settings or RegistrationSettings()
    check_synthesis(settings, given=synthesise is not None)
    pair = _Pair.of(fixed, moving, settings)
    before = pair.agreement(sitk.Transform(3, sitk.sitkIdentity))
    try:
        transform, taken = _find(pair, settings, keep, lambda found: _synthetic(fixed, moving, found, synthesise))
    except RuntimeError as error:
        raise NumericalError(
            "The registration must come to a result; its optimiser failed. Look at both images: they must show one "
            "part of one patient."
        ) from error
    record = {
        "settings": settings.model_dump(),
        "taken": taken,
        "before": before,
        "after": pair.agreement(transform),
        "displacement": _displacement(transform, pair, keep),
        "transform": transform_record(transform),
        "versions": {"nmsynth": nmsynth.__version__, "SimpleITK": sitk.Version_VersionString()},
    }
    return Registration(transform, record)


def check_synthesis(settings: RegistrationSettings, *, given: bool) -> None:
    """Refuse a registration by a synthetic image without a model for it, or of six parameters."""
    if settings.by == "synthesis" and settings.how == "rigid":
        raise InputError("A synthetic image guides a deformation; the registration is rigid. Ask for a deformable one.")
    if (settings.by == "synthesis") != given:
        raise InputError(
            "A model is needed where a synthetic image is compared, and only there; found "
            f"'{settings.by}' {'with' if given else 'without'} one. Give both or neither."
        )


def _synthetic(fixed: Volume, moving: Volume, found: Any, synthesise: Synthesise | None) -> Volume:
    """The synthetic image of the moving one as it has been laid on the fixed grid."""
    there = moved(moving, fixed, found)
    image = there if synthesise is None else synthesise(there)
    if image.modality != fixed.modality or image.unit is not fixed.unit:
        raise InputError(
            f"A synthetic image must be of the kind it is compared with; found {image.modality} "
            f"[{image.unit.value}] for {fixed.modality} [{fixed.unit.value}]. Give a model with that target."
        )
    return image


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Both images on working grids, with their bodies."""

    fixed: Body
    moving: Body
    """Both with uptake only up to its brightest tissue."""
    common: Mask
    """Where both have values, on the fixed grid, before registration."""
    settings: RegistrationSettings

    @classmethod
    def of(cls, fixed: Volume, moving: Volume, settings: RegistrationSettings) -> _Pair:
        """Bodies of both images, PET's at the level that gives it the volume of the other."""
        for volume in (fixed, moving):
            if not is_orthogonal(volume.affine):
                raise InputError("A grid must have axes at right angles to be registered; one has not. Resample it.")
        bodies = [find_body(v, spacing_mm=settings.working_mm) for v in (fixed, moving)]
        fields = [on_grid(bodies[1 - k].field, bodies[1 - k].image, bodies[k].image) & bodies[k].field for k in (0, 1)]
        if not fields[0].any():
            raise InputError(
                "The fields of view of both images must overlap; they do not. Check that they are of one frame of "
                "reference and one part of the body."
            )
        for k in (0, 1):
            other = bodies[1 - k]
            if other.image.modality in ("CT", "MR"):
                bodies[k] = same_size(bodies[k], on_grid(other.mask, other.image, bodies[k].image), fields[k])
        return cls(_tissue(bodies[0]), _tissue(bodies[1]), fields[0], settings)

    @property
    def near(self) -> Mask:
        """The body of the fixed image and what is next to it."""
        return np.asarray(ndimage.binary_dilation(self.fixed.mask, iterations=2))

    def agreement(self, transform: Any) -> dict[str, float]:
        """Dice, distance of the contours and mutual information, where both images have values."""
        grid = self.fixed.image
        body = moved_mask(self.moving.mask, self.moving.image, grid, transform)
        field = moved_mask(self.moving.field, self.moving.image, grid, transform) & self.fixed.field
        measures = contour_agreement(self.fixed.mask, body, field, grid.spacing_mm)
        method = self.method(field & self.near)
        method.SetInitialTransform(sitk.Transform(3, sitk.sitkIdentity))
        there = moved(self.moving.image, grid, transform)
        information = -method.MetricEvaluate(to_itk(grid), to_itk(there))
        return {k: round(float(v), 5) for k, v in (measures | {"mutual_information": float(information)}).items()}

    def method(self, inside: Mask) -> Any:
        """Mutual information of both images inside a mask of the fixed one, one thread, always the same samples."""
        method = _method(inside, self.fixed.image)
        method.SetMetricAsMattesMutualInformation(self.settings.bins)
        return method


def _tissue(body: Body) -> Body:
    """A body whose uptake is cut off at its brightest tissue; CT and MR as they are."""
    image = body.image
    if image.modality not in ACTIVITY_MODALITIES or not body.mask.any():
        return body
    values = np.minimum(image.array, np.percentile(image.array[body.mask], BRIGHTEST))
    return replace(body, image=image.with_array(values.astype(np.float32)))


def _find(
    pair: _Pair, settings: RegistrationSettings, keep: Volume | None, synthetic: Callable[[Any], Volume]
) -> tuple[Any, list[str]]:
    """Transform by one signal after the other, and which of them made the images agree better."""
    stages: Sequence[_Signal] = _STAGES[settings.by]
    found: Any = sitk.Transform(3, sitk.sitkIdentity)
    taken: list[str] = []
    free = _free(pair, keep, settings.keep_mm) if settings.how == "deformable" else None
    start = before = pair.agreement(found)
    for stage in stages:
        for transform in _candidates(stage, pair, settings, found, free, synthetic):
            tried = transform if not taken else _after(found, transform, stage, pair.fixed.image)
            after = pair.agreement(tried)
            where = pair.near if stage == "synthesis" else None
            kept = _better(stage, start, before, after)
            if kept and smallest_volume_ratio(tried, pair.fixed.image, where) > LEAST_VOLUME:
                found, before = tried, after
                taken.append(stage)
                break
    return found, taken


def _candidates(
    stage: _Signal,
    pair: _Pair,
    settings: RegistrationSettings,
    found: Any,
    free: Image | None,
    synthetic: Callable[[Any], Volume],
) -> Iterator[Any]:
    """Transforms by a signal that precede the one found before, the likeliest first."""
    grid = pair.fixed.image
    if stage == "contour" and free is not None:
        yield _by_contours(pair, settings, free)
    elif stage == "synthesis" and free is not None:
        image = synthetic(found)
        for factor in SMOOTHER:
            yield _faded(_by_synthesis(pair, settings, found, image, factor), grid, free)
    else:
        transform = _by_optimiser(pair, stage, found, settings)
        yield transform if free is None else _faded(transform, grid, free)


def _after(found: Any, transform: Any, stage: _Signal, grid: Volume) -> Any:
    """A transform that precedes the one found before, and that one."""
    return combined(found, transform, grid) if stage == "synthesis" else sitk.CompositeTransform([found, transform])


def _better(stage: _Signal, start: dict[str, float], before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether a stage has raised its own measure, and has not spoilt the other.

    A synthetic image shows where the skin is, too, and knows better than contours of two kinds of image how the skin of
    one looks in the other: it may undo what contours did, but not leave bodies further apart than they were at first.
    """
    if stage == "contour":
        return after["dice"] > before["dice"]
    least = start["dice"] if stage == "synthesis" else before["dice"]
    return after["mutual_information"] > before["mutual_information"] and after["dice"] >= least - DICE_LOSS


def _by_contours(pair: _Pair, settings: RegistrationSettings, free: Image) -> Any:
    """Field of displacements from the contours of both bodies."""
    grid = pair.fixed.image
    fixed = signed_distance_mm(pair.fixed.mask, pair.common, grid.spacing_mm)
    moving = pair.moving.image.with_array(
        signed_distance_mm(pair.moving.mask, pair.moving.field, pair.moving.image.spacing_mm)
    )
    on_fixed = np.where(pair.common, moving.resample_to(grid).array, fixed)
    field = match_contours(
        fixed, on_fixed, spacing_mm=grid.spacing_mm, reach_mm=settings.reach_mm,
        smoothness_mm=settings.smoothness_mm, iterations=settings.iterations, free=free,
        largest_mm=settings.largest_mm,
    )  # fmt: skip
    return displacement_transform(np.einsum("wa,azyx->zyxw", directions_of(grid.affine), field), grid)


def _by_synthesis(pair: _Pair, settings: RegistrationSettings, start: Any, synthetic: Volume, smoother: float) -> Any:
    """Displacement that precedes the transform found before, from the fixed image and a synthetic one in its place."""
    grid = pair.fixed.image
    seen = moved_mask(pair.moving.field, pair.moving.image, grid, start) & pair.fixed.field & pair.near
    image = moved(synthetic, grid, sitk.Transform(3, sitk.sitkIdentity)).array
    width = settings.synthesis_smoothness_mm * smoother
    return match_images(grid.array, image, seen, grid, smoothness_mm=width, iterations=settings.iterations)


def _by_optimiser(pair: _Pair, stage: _Signal, start: Any, settings: RegistrationSettings) -> Any:
    """Parameters of a transform that precedes those found before, by SimpleITK."""
    inside = ndimage.binary_dilation(pair.fixed.mask, iterations=round(settings.reach_mm / settings.working_mm))
    grid = pair.fixed.image
    fixed, moving = grid.array, pair.moving.image
    if stage == "contour":
        method = _method(inside & pair.common, grid)
        method.SetMetricAsMeanSquares()
        fixed, values = (
            np.clip(signed_distance_mm(b.mask, b.field, b.image.spacing_mm), -settings.reach_mm, settings.reach_mm)
            for b in (pair.fixed, pair.moving)
        )
        moving = moving.with_array(values)
    else:
        method = pair.method(inside & pair.common)
    # a B-spline cannot follow another transform in ITK's metric: the moving image is laid on the fixed grid first
    seen = moved_mask(pair.moving.field, pair.moving.image, grid, start)
    there = moved(moving, grid, start)
    method.SetMetricMovingMask(to_itk(grid, seen, kind=np.uint8))
    if settings.how == "rigid":
        centre = ndimage.center_of_mass(pair.fixed.mask if pair.fixed.mask.any() else pair.common)
        transform: Any = sitk.Euler3DTransform()
        transform.SetCenter((grid.affine @ np.array([*centre, 1.0]))[:3].tolist())
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=1.0, minStep=1e-3, numberOfIterations=2 * settings.iterations, gradientMagnitudeTolerance=1e-6
        )
        method.SetOptimizerScalesFromPhysicalShift()
    else:
        extent = np.asarray(grid.spacing_mm)[::-1] * grid.shape[::-1]
        mesh = [max(1, round(float(length) / settings.mesh_mm)) for length in extent]
        transform = sitk.BSplineTransformInitializer(to_itk(grid), mesh, 3)
        method.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-4, numberOfIterations=settings.iterations // 4,
            maximumNumberOfCorrections=5, maximumNumberOfFunctionEvaluations=settings.iterations // 2,
        )  # fmt: skip
    method.SetInitialTransform(transform, inPlace=True)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([4.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(to_itk(grid, fixed), to_itk(there))
    return transform


def _method(inside: Mask, grid: Volume) -> Any:
    """A registration with one thread and linear interpolation inside a mask."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(to_itk(grid, inside, kind=np.uint8))
    return method


def _free(pair: _Pair, keep: Volume | None, keep_mm: float) -> Image:
    """Share of the displacement that a voxel may have: none in what is to stay, all of it ``keep_mm`` further on."""
    grid = pair.fixed.image
    if keep is None or not keep.array.any():
        return np.ones(grid.shape, dtype=np.float32)
    distance = _distance_from(keep, grid)
    share = np.clip(distance / keep_mm, 0.0, 1.0) if keep_mm > 0 else (distance > 0).astype(float)
    return np.asarray(share**2 * (3 - 2 * share), dtype=np.float32)


def _faded(transform: Any, grid: Volume, free: Image) -> Any:
    """A deformation as a field of displacements of which voxels have their share; as it is where all have all."""
    if float(free.min()) == 1.0:
        return transform
    return displacement_transform(displacement_mm(transform, grid) * free[..., None], grid)


def _distance_from(mask: Volume, grid: Volume) -> FloatArray:
    """Distance of the voxels of a grid from a mask [mm]."""
    inside = mask.with_array(mask.array != 0).resample_to(grid).array > 0.01
    return np.asarray(ndimage.distance_transform_edt(~inside, grid.spacing_mm))


def _displacement(transform: Any, pair: _Pair, keep: Volume | None) -> dict[str, float]:
    """How far the body moves [mm], the part to be kept too, and the smallest local change of volume."""
    grid = pair.fixed.image
    length = np.linalg.norm(displacement_mm(transform, grid), axis=-1)
    body = pair.fixed.mask & pair.common
    body = body if body.any() else pair.common
    found = {
        "mean_mm": float(length[body].mean()),
        "p95_mm": float(np.percentile(length[body], 95)),
        "largest_mm": float(length[body].max()),
        "smallest_volume_ratio": smallest_volume_ratio(transform, grid, body),
    }
    if keep is not None and keep.array.any():
        at = _distance_from(keep, grid) == 0
        found |= {"keep_mean_mm": float(length[at].mean()), "keep_largest_mm": float(length[at].max())}
    return {k: round(v, 4) for k, v in found.items()}
