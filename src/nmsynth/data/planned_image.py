"""An image as a plan wants it: of one modality, in one unit."""

from __future__ import annotations

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import FittedNormalisation
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import SuvKind
from nmsynth.core.volume import Volume
from nmsynth.data.resampling import plan_grid, resample


def as_planned(volume: Volume, image: ImagePlan, *, where: str = "", remedy: str) -> Volume:
    """Convert an image to the unit of a plan, or leave it in its own where it is normalised by its level.

    Parameters
    ----------
    volume
        Axes ``(z, y, x)``.
    image
        What the plan says of it.
    where
        Begins the message of an error, such as ``"Case 'c1': "``.
    remedy
        Ends it: what to do.

    Raises
    ------
    InputError
        If the image is of another modality, or of a unit that is not converted.
    SuvError
        If an SUV is planned and none can be stated.
    """
    if volume.modality != image.modality:
        raise InputError(
            f"{where}the plan wants {image.modality} as {image.name}; the image is {volume.modality:.16}. {remedy}"
        )
    if image.normalisation.kind == "level" and volume.unit.is_proportional:
        return volume  # its level stands for any scale
    if image.unit.is_suv and volume.unit is not image.unit:
        volume = volume.to_suv(next(kind for kind in SuvKind if kind.unit is image.unit))
    if volume.unit is not image.unit:
        raise InputError(
            f"{where}the plan wants {image.name} in {image.unit.value}; the image is in {volume.unit.value}. {remedy}"
        )
    return volume


def fitted_to(volume: Volume, moved: Volume, image: ImagePlan) -> FittedNormalisation:
    """The normalisation of a source, which hangs on nothing that lies beside it.

    Parameters
    ----------
    volume
        In the unit of the plan, on its own grid.
    moved
        The same on the grid of a case, which may show less of it: a scale of its own is that of its whole field.
    image
        What the plan says of it.
    """
    if not image.normalisation.is_of_each_image:
        return image.normalisation.typical()
    affine, shape = plan_grid(volume, moved.spacing_mm)
    if shape != moved.spatial_shape or not np.allclose(affine, moved.affine, atol=1e-3):
        moved = resample(volume, affine, shape, fill=image.fill)
    return image.normalisation.fit(moved.array, moved.spacing_mm)
