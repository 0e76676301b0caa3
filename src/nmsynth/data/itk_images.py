"""Volumes and displacements as images and transforms of SimpleITK.

Only this module, ``image_matching`` and ``registration`` use that package outside ``io``; its images and transforms do
not leave them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

from nmsynth.core.volume import Volume
from nmsynth.data.body_contours import FloatArray, Mask, antialiased

sitk: Any = SimpleITK
"""The package, whose functions have no types."""
OUTSIDE = {"CT": -1024.0}
"""Value outside the field of view, by modality; 0 for others."""


def moved(moving: Volume, grid: Volume, transform: Any, *, order: int = 1) -> Volume:
    """An image of the moving space on a grid of the fixed space.

    Parameters
    ----------
    moving
        Axes ``(z, y, x)``. Where the grid is coarser, it is smoothed first, unless it holds labels.
    grid
        Volume whose grid is taken.
    transform
        From points of the fixed space to points of the moving one, LPS [mm].
    order
        0 for labels, 1 linear, 3 a B-spline of third order.
    """
    interpolator = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}[order]
    image = to_itk(antialiased(moving, grid.spacing_mm) if order else moving)
    resample = sitk.ResampleImageFilter()
    resample.SetNumberOfThreads(1)
    resample.SetReferenceImage(to_itk(grid))
    resample.SetInterpolator(interpolator)
    resample.SetDefaultPixelValue(OUTSIDE.get(moving.modality, 0.0))
    resample.SetTransform(transform)
    array = sitk.GetArrayFromImage(resample.Execute(image))
    return moving.with_array(array, affine=grid.affine, source=None)


def moved_mask(mask: Mask, image: Volume, grid: Volume, transform: Any) -> Mask:
    """A mask of the moving space on the fixed grid."""
    return np.asarray(moved(image.with_array(mask, modality="MR"), grid, transform).array > 0.5)


def displacement_mm(transform: Any, grid: Volume) -> FloatArray:
    """Displacements, shape ``(z, y, x, 3)``, in LPS [mm]."""
    filter_ = sitk.TransformToDisplacementFieldFilter()
    filter_.SetNumberOfThreads(1)
    filter_.SetReferenceImage(to_itk(grid))
    return np.asarray(sitk.GetArrayFromImage(filter_.Execute(transform)), dtype=np.float64)


def displacement_transform(field_mm: FloatArray, grid: Volume) -> Any:
    """Transform from displacements, shape ``(z, y, x, 3)``, in LPS [mm]."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(field_mm, dtype=np.float64), isVector=True)
    image.CopyInformation(to_itk(grid))
    return sitk.DisplacementFieldTransform(image)


def combined(first: Any, second: Any, grid: Volume) -> Any:
    """One field of displacements that does a transform after a field of displacements that precedes it.

    Unlike a composition it goes on beyond the grid as at its border, and does not tear there.

    Parameters
    ----------
    first
        From points of the second's moving space on.
    second
        Field of displacements on the grid, from fixed points.
    grid
        Volume on that grid.
    """
    own, before = displacement_mm(second, grid), displacement_mm(first, grid)
    voxels = np.einsum("iw,zyxw->izyx", np.linalg.inv(grid.affine[:3, :3]), own)
    places = np.indices(grid.shape, dtype=np.float64) + voxels
    there = [ndimage.map_coordinates(before[..., axis], places, order=1, mode="nearest") for axis in range(3)]
    return displacement_transform(own + np.stack(there, axis=-1), grid)


def smallest_volume_ratio(transform: Any, grid: Volume, inside: Mask | None = None) -> float:
    """Smallest determinant of the Jacobian on a grid: below 0 space is folded."""
    field = displacement_mm(transform, grid)
    # d(displacement)/d(index), then by the inverse of the steps d/d(position)
    slopes = np.stack([np.gradient(field, axis=axis) for axis in range(3)], axis=-1)
    jacobian = np.linalg.det(np.eye(3) + slopes @ np.linalg.inv(grid.affine[:3, :3]))
    return float(jacobian.min() if inside is None else jacobian[inside].min())


def transform_record(transform: Any) -> list[dict[str, Any]]:
    """Kind and parameters of each transform in turn; of a field of displacements its grid alone."""
    if isinstance(transform, sitk.CompositeTransform):
        parts = (transform.GetNthTransform(k) for k in range(transform.GetNumberOfTransforms()))
        return [record for part in parts for record in transform_record(part)]
    kind = transform.GetName()
    record: dict[str, Any] = {"kind": kind, "fixed_parameters": list(transform.GetFixedParameters())}
    if kind != "DisplacementFieldTransform":
        record["parameters"] = [round(p, 6) for p in transform.GetParameters()]
    return [record]


def to_itk(volume: Volume, array: npt.ArrayLike | None = None, *, kind: Any = np.float32) -> Any:
    """Image of SimpleITK on the grid of a volume, with its values or others."""
    values = np.ascontiguousarray(volume.array if array is None else array, dtype=kind)
    image = sitk.GetImageFromArray(values)
    spacing = volume.spacing_mm[::-1]
    image.SetSpacing(spacing)
    image.SetOrigin(volume.affine[:3, 3].tolist())
    # (z, y, x) of the array are (x, y, z) of the image
    image.SetDirection((volume.affine[:3, [2, 1, 0]] / np.array(spacing)).ravel().tolist())
    return image
