"""A small patient with a liver and lesions, and scans of it."""

import numpy as np

from nmsynth.core.units import Unit
from nmsynth.metrics.regions import smooth
from tests.helpers import make_volume

SPACING = (4.0, 4.0, 4.0)
SHAPE = (30, 40, 44)
LESIONS_MM = (((-20.0, -20.0, -30.0), 12.0), ((20.0, 10.0, -35.0), 8.0), ((0.0, 30.0, -10.0), 6.5))
"""Centre along (z, y, x) and radius."""


def grid():
    axes = [(np.arange(n) - (n - 1) / 2) * size for n, size in zip(SHAPE, SPACING, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def masks():
    z, y, x = grid()
    lesions = np.zeros(SHAPE, dtype=np.uint8)
    for number, ((cz, cy, cx), radius) in enumerate(LESIONS_MM, start=1):
        lesions[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = number
    liver = (z / 40) ** 2 + ((y + 5) / 40) ** 2 + ((x - 35) / 32) ** 2 <= 1
    return {"liver": liver, "lesions": lesions}


def truth():
    """Noise-free scan, SUV: body 1, liver 2, lesions 5."""
    _, y, x = grid()
    image = 1.0 * ((y / 65) ** 2 + (x / 78) ** 2 <= 1)
    parts = masks()
    image[parts["liver"]] = 2.0
    image[parts["lesions"] > 0] = 5.0
    return smooth(image, 6.0, SPACING)


def scan(sigma=0.4, seed=0):
    """Noisy scan."""
    noise = smooth(np.random.default_rng(seed).normal(0, 1, SHAPE), 5.0, SPACING)
    clean = truth()
    return np.maximum(clean + sigma * noise / noise.std() * np.sqrt(clean), 0)


def volume(array, unit=Unit.SUV_BODY_WEIGHT, **fields):
    return make_volume(array=array, spacing_mm=SPACING, unit=unit, **fields)
