"""Small bodies with lesions for the tests of the report."""

from typing import Any

import numpy as np

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.provenance import Provenance
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume

SHAPE = (24, 20, 28)
SPACING_MM = (6.0, 5.0, 4.0)
LESIONS: list[dict[str, Any]] = [
    {"index": 1, "centre_index": [14, 10, 8], "diameter_mm": 24.0, "contrast": 4.0},
    {"index": 2, "centre_index": [8, 9, 18], "diameter_mm": 18.0, "contrast": 3.0},
    {"index": 3, "centre_index": [18, 12, 17], "diameter_mm": 12.0, "contrast": 5.0},
]


def body() -> np.ndarray:
    """Ellipsoid of SUV 1, hot near the head (large z), with lesions; no symmetry between left and right."""
    z, y, x = np.indices(SHAPE)
    inside = ((z - 11.5) / 10) ** 2 + ((y - 9.5) / 8) ** 2 + ((x - 13.5) / 12) ** 2 < 1
    array = np.where(inside, 1.0, 0.0)
    array[20, 9:11, 12:16] = 6.0
    for lesion in LESIONS:
        offset = (np.stack([z, y, x], -1) - lesion["centre_index"]) * SPACING_MM
        array[(offset**2).sum(-1) <= (lesion["diameter_mm"] / 2) ** 2] = lesion["contrast"]
    return array


def volume(array: np.ndarray, **fields: Any) -> Volume:
    affine = affine_from_axes(spacing_mm=SPACING_MM, origin_mm=(-54.0, -50.0, -70.0))
    return Volume(array, affine, fields.pop("unit", Unit.SUV_BODY_WEIGHT), "PT", **fields)


def images() -> dict[str, Volume]:
    rng = np.random.default_rng(1)
    truth = body()
    noise = rng.normal(size=SHAPE)
    return {
        "source": volume(truth + 0.4 * noise * (truth > 0)),
        "synthetic": volume(
            0.9 * truth + 0.1 * noise, provenance=Provenance(synthetic=True, model="lowcount-pet 1.0.0")
        ),
        "reference": volume(truth, provenance=Provenance(simulated=True)),
    }


def turned(image: Volume, order: tuple[int, int, int], flips: tuple[int, ...]) -> Volume:
    """The same image in space with its axes permuted and flipped."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    array = np.transpose(image.array, order)
    for new, old in enumerate(order):
        matrix[old, new] = 1.0
    for axis in flips:
        array = np.flip(array, axis)
        old = order[axis]
        matrix[old, axis] = -1.0
        matrix[old, 3] = image.array.shape[old] - 1
    return Volume(array, image.affine @ matrix, image.unit, image.modality, provenance=image.provenance)
