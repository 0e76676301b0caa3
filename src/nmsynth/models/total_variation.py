"""Total-variation denoising, the classical filter that keeps edges and flattens what lies between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nmsynth.models.filters import FloatImage, Spacing, noise_level

MAX_ITERATIONS = 60
"""Of Chambolle's algorithm; the image changes little after."""


@dataclass(frozen=True, slots=True)
class TotalVariation:
    """Total-variation denoising in 3-D, with the noise measured in each image.

    The minimiser of ``|u - f|^2 / 2 + strength * noise * TV(u)``, by Chambolle's dual algorithm. The noise is
    :func:`~nmsynth.models.filters.noise_level`, so twice the input gives twice the output. The gradient is taken in
    voxels, whatever their size.

    References
    ----------
    L. I. Rudin et al., Physica D 60:259-268, 1992. A. Chambolle, J Math Imaging Vis 20:89-97, 2004.
    """

    strength: float = 1.0
    """Weight of the total variation over the noise."""

    @property
    def name(self) -> str:
        """Name with the strength, as printed in tables."""
        return f"total variation {self.strength:.2f}"

    def __call__(self, image: npt.ArrayLike, spacing_mm: Spacing) -> FloatImage:
        """Filter an image, shape ``(z, y, x)``."""
        from skimage.restoration import denoise_tv_chambolle

        array = np.asarray(image, dtype=np.float32)
        noise = noise_level(array, spacing_mm)
        if noise <= 0 or self.strength <= 0:
            return array
        scaled = array / np.float32(noise)
        filtered = denoise_tv_chambolle(scaled, weight=self.strength, eps=1e-3, max_num_iter=MAX_ITERATIONS)
        return np.asarray(filtered * np.float32(noise), dtype=np.float32)
