"""Registration of images of one patient: rigid or deformable, by intensities, body contours or both.

The only module outside ``io`` that uses SimpleITK, whose images and transforms do not leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import SimpleITK
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

import nmsynth
from nmsynth.core.errors import InputError, NumericalError
from nmsynth.core.geometry import directions_of, is_orthogonal
from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import (
    Body,
    FloatArray,
    Image,
    Mask,
    antialiased,
    contour_agreement,
    find_body,
    on_grid,
    same_size,
    signed_distance_mm,
)
from nmsynth.data.contour_matching import match_contours

sitk: Any = SimpleITK
"""The package, whose functions have no types."""
LEAST_VOLUME = 0.2
"""Smallest local ratio of volumes; what squeezes more is no motion of a body."""
DICE_LOSS = 0.003
"""Of the bodies, that a registration by intensities may cost."""
_Signal = Literal["contour", "intensity"]
_OUTSIDE = {"CT": -1024.0}
"""Value outside the field of view, by modality; 0 for others."""


class RegistrationSettings(BaseModel):
    """How images are registered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["rigid", "deformable"] = "rigid"
    """Six parameters, or a smooth displacement."""
    by: Literal["contour", "intensity", "both"] = "both"
    """The contours of the body; Mattes' mutual information; one after the other."""
    mesh_mm: float = Field(default=60.0, ge=10.0)
    """Distance of the control points of the B-spline that follows intensities [mm]."""
    smoothness_mm: float = Field(default=20.0, gt=0.0)
    """FWHM by which the displacement that follows contours is smoothed at each iteration [mm]."""
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
        """An image of the moving space on a grid of the fixed space.

        Parameters
        ----------
        moving
            The image that was registered, or a mask on any grid in its space; axes ``(z, y, x)``.
        grid
            Volume whose grid is taken. Where it is coarser, the image is smoothed first.
        order
            0 for labels, 1 linear, 3 a B-spline of third order.
        """
        interpolator = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}[order]
        image = _to_itk(antialiased(moving, grid.spacing_mm) if order else moving)
        fill = _OUTSIDE.get(moving.modality, 0.0)
        resample = sitk.ResampleImageFilter()
        resample.SetNumberOfThreads(1)
        resample.SetReferenceImage(_to_itk(grid))
        resample.SetInterpolator(interpolator)
        resample.SetDefaultPixelValue(fill)
        resample.SetTransform(self.transform)
        array = sitk.GetArrayFromImage(resample.Execute(image))
        return moving.with_array(array, affine=grid.affine, source=None)


def register(
    fixed: Volume, moving: Volume, settings: RegistrationSettings | None = None, *, keep: Volume | None = None
) -> Registration:
    """Find the transform that lays a moving image over a fixed one of the same patient.

    Contours are compared where both images see the body; that of PET is taken at the level at which the body has the
    volume of the other image. The start is the position that the headers give. A stage that does not raise its own
    measure (the Dice coefficient of the bodies; the mutual information), that spoils the other, or that folds space is
    not taken; the record names those that were.

    Parameters
    ----------
    fixed, moving
        Axes ``(z, y, x)``, orthogonal grids.
    keep
        Mask in the space of the fixed image, of what is already in place, such as a lesion: a deformation is faded to
        nothing there, over ``keep_mm``.

    Raises
    ------
    InputError
        If a grid is oblique to itself, or the fields of view do not overlap.
    NumericalError
        If the optimiser fails.
    """
    settings = settings or RegistrationSettings()
    pair = _Pair.of(fixed, moving, settings)
    before = pair.agreement(sitk.Transform(3, sitk.sitkIdentity))
    try:
        transform, taken = _find(pair, settings, keep)
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
        "transform": _described(transform),
        "versions": {"nmsynth": nmsynth.__version__, "SimpleITK": sitk.Version_VersionString()},
    }
    return Registration(transform, record)


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Both images on working grids, with their bodies."""

    fixed: Body
    moving: Body
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
        return cls(bodies[0], bodies[1], fields[0], settings)

    def agreement(self, transform: Any) -> dict[str, float]:
        """Dice, distance of the contours and mutual information, where both images have values."""
        grid = self.fixed.image
        moved = _moved_mask(self.moving.mask, self.moving.image, grid, transform)
        field = _moved_mask(self.moving.field, self.moving.image, grid, transform) & self.fixed.field
        measures = contour_agreement(self.fixed.mask, moved, field, grid.spacing_mm)
        method = self.method(field & ndimage.binary_dilation(self.fixed.mask, iterations=2))
        method.SetInitialTransform(sitk.Transform(3, sitk.sitkIdentity))
        there = Registration(transform, {}).apply(self.moving.image, grid)
        information = -method.MetricEvaluate(_to_itk(grid), _to_itk(there))
        return {k: round(float(v), 5) for k, v in (measures | {"mutual_information": float(information)}).items()}

    def method(self, inside: Mask) -> Any:
        """Mutual information of both images inside a mask of the fixed one, one thread, always the same samples."""
        method = _method(inside, self.fixed.image)
        method.SetMetricAsMattesMutualInformation(self.settings.bins)
        return method


def _find(pair: _Pair, settings: RegistrationSettings, keep: Volume | None) -> tuple[Any, list[str]]:
    """Transform by one or both kinds of signal, one after the other, and which of them made the images agree better."""
    stages: Sequence[_Signal] = ("contour", "intensity") if settings.by == "both" else (settings.by,)
    found: Any = sitk.Transform(3, sitk.sitkIdentity)
    taken: list[str] = []
    free = _free(pair, keep, settings.keep_mm) if settings.how == "deformable" else None
    before = pair.agreement(found)
    for stage in stages:
        if stage == "contour" and free is not None:
            transform = _by_contours(pair, settings, free)
        else:
            transform = _by_optimiser(pair, stage, found, settings)
            if free is not None:
                transform = _faded(transform, pair.fixed.image, free)
        tried = transform if not taken else sitk.CompositeTransform([found, transform])
        after = pair.agreement(tried)
        if _better(stage, before, after) and smallest_volume_ratio(tried, pair.fixed.image) > LEAST_VOLUME:
            found, before = tried, after
            taken.append(stage)
    return found, taken


def _better(stage: _Signal, before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether a stage has raised its own measure, and has not spoilt the other."""
    if stage == "contour":
        return after["dice"] > before["dice"]
    return after["mutual_information"] > before["mutual_information"] and after["dice"] >= before["dice"] - DICE_LOSS


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
    return _field_transform(np.einsum("wa,azyx->zyxw", directions_of(grid.affine), field), grid)


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
    seen = _moved_mask(pair.moving.field, pair.moving.image, grid, start)
    moved = Registration(start, {}).apply(moving, grid)
    method.SetMetricMovingMask(_to_itk(grid, seen, kind=np.uint8))
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
        transform = sitk.BSplineTransformInitializer(_to_itk(grid), mesh, 3)
        method.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-4, numberOfIterations=settings.iterations // 4,
            maximumNumberOfCorrections=5, maximumNumberOfFunctionEvaluations=settings.iterations // 2,
        )  # fmt: skip
    method.SetInitialTransform(transform, inPlace=True)
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([4.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(_to_itk(grid, fixed), _to_itk(moved))
    return transform


def _method(inside: Mask, grid: Volume) -> Any:
    """A registration with one thread and linear interpolation inside a mask."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(_to_itk(grid, inside, kind=np.uint8))
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
    return _field_transform(_field_mm(transform, grid) * free[..., None], grid)


def _field_transform(field_mm: FloatArray, grid: Volume) -> Any:
    """Transform from displacements, shape ``(z, y, x, 3)``, in LPS [mm]."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(field_mm, dtype=np.float64), isVector=True)
    image.CopyInformation(_to_itk(grid))
    return sitk.DisplacementFieldTransform(image)


def _distance_from(mask: Volume, grid: Volume) -> FloatArray:
    """Distance of the voxels of a grid from a mask [mm]."""
    inside = mask.with_array(mask.array != 0).resample_to(grid).array > 0.01
    return np.asarray(ndimage.distance_transform_edt(~inside, grid.spacing_mm))


def _field_mm(transform: Any, grid: Volume) -> FloatArray:
    """Displacements, shape ``(z, y, x, 3)``, in LPS [mm]."""
    filter_ = sitk.TransformToDisplacementFieldFilter()
    filter_.SetNumberOfThreads(1)
    filter_.SetReferenceImage(_to_itk(grid))
    return np.asarray(sitk.GetArrayFromImage(filter_.Execute(transform)), dtype=np.float64)


def smallest_volume_ratio(transform: Any, grid: Volume, inside: Mask | None = None) -> float:
    """Smallest determinant of the Jacobian on a grid: below 0 space is folded."""
    field = _field_mm(transform, grid)
    # d(displacement)/d(index), then by the inverse of the steps d/d(position)
    slopes = np.stack([np.gradient(field, axis=axis) for axis in range(3)], axis=-1)
    jacobian = np.linalg.det(np.eye(3) + slopes @ np.linalg.inv(grid.affine[:3, :3]))
    return float(jacobian.min() if inside is None else jacobian[inside].min())


def _displacement(transform: Any, pair: _Pair, keep: Volume | None) -> dict[str, float]:
    """How far the body moves [mm], the part to be kept too, and the smallest local change of volume."""
    grid = pair.fixed.image
    length = np.linalg.norm(_field_mm(transform, grid), axis=-1)
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


def _described(transform: Any) -> list[dict[str, Any]]:
    """Kind and parameters of each transform in turn; of a field of displacements its grid alone."""
    if isinstance(transform, sitk.CompositeTransform):
        return [d for k in range(transform.GetNumberOfTransforms()) for d in _described(transform.GetNthTransform(k))]
    kind = transform.GetName()
    described: dict[str, Any] = {"kind": kind, "fixed_parameters": list(transform.GetFixedParameters())}
    if kind != "DisplacementFieldTransform":
        described["parameters"] = [round(p, 6) for p in transform.GetParameters()]
    return [described]


def _moved_mask(mask: Mask, image: Volume, grid: Volume, transform: Any) -> Mask:
    """A mask of the moving space on the fixed grid."""
    moved = Registration(transform, {}).apply(image.with_array(mask, modality="MR"), grid)
    return np.asarray(moved.array > 0.5)


def _to_itk(volume: Volume, array: npt.ArrayLike | None = None, *, kind: Any = np.float32) -> Any:
    """Image of SimpleITK on the grid of a volume, with its values or others."""
    values = np.ascontiguousarray(volume.array if array is None else array, dtype=kind)
    image = sitk.GetImageFromArray(values)
    spacing = volume.spacing_mm[::-1]
    image.SetSpacing(spacing)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    # (z, y, x) of the array are (x, y, z) of the image
    image.SetDirection((volume.affine[:3, [2, 1, 0]] / np.array(spacing)).ravel().tolist())
    return image
