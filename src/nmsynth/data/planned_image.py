"""An image as a plan wants it: of one modality, in one unit."""

from __future__ import annotations

from nmsynth.core.errors import InputError
from nmsynth.core.plan import ImagePlan
from nmsynth.core.units import SuvKind
from nmsynth.core.volume import Volume


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
