r"""Gain U-Net: the source times a smooth field, and a difference; for what was lost by attenuation.

Attenuation takes from every voxel a share that changes slowly from place to place, scatter adds a smooth rest. An image
that is corrected for both is close to the source times a field of gains, plus something small:

.. math:: \hat y = x \cdot \exp\bigl(S\,g(x)\bigr) + r(x)

:math:`S` is a mean over a small neighbourhood, so that edges and, where target and source come from the same counts,
noise are those of the source, and the network is left with what the correction changes. That networks can tell factors
of attenuation from emission was shown by [Arabi2020]_; direct networks give the corrected image itself [Shiri2020]_.
Both references are from memory.

References
----------
.. [Arabi2020] H. Arabi, H. Zaidi, Deep learning-guided estimation of attenuation correction factors from time-of-flight
   PET emission data, Med Image Anal 64:101718, 2020.
.. [Shiri2020] I. Shiri et al., Deep-JASC, Eur J Nucl Med Mol Imaging 47:2533-2548, 2020.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from nmsynth.core.errors import InputError
from nmsynth.models.method import MethodSetting, Regression
from nmsynth.models.residual_unet import Attention, unet_for

LARGEST_LOG_GAIN = 4.0
"""Bound of the logarithm of a gain: a factor of 55, more than the thickest body takes."""


class GainUNet(Regression):
    """Residual U-Net that gives a field of gains and a difference.

    Parameters
    ----------
    setting
        As the plan decides; a residual plan changes nothing, as the answer begins as the source in any case.
    smoothing
        Side of the square or cube over which the logarithm of the gain is averaged [voxel], odd; 1 for none.
    difference
        Whether there is a difference besides the gain.
    attention
        ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level.
    loss
        ``auto``, ``l1``, ``l2``, ``huber`` or ``counts``; see :func:`nmsynth.models.method.chosen_loss`.

    Raises
    ------
    InputError
        If the smoothing is not odd and positive.

    Notes
    -----
    The source must have a true zero: where it is normalised with an offset, a gain has no meaning.
    """

    def __init__(
        self,
        setting: MethodSetting,
        *,
        smoothing: int = 5,
        difference: bool = True,
        attention: Attention = "none",
        n_blocks: int = 1,
        loss: str = "auto",
    ) -> None:
        if smoothing < 1 or smoothing % 2 == 0:
            raise InputError(
                f"The smoothing of gains must be an odd number of voxels, found {smoothing}. Take 1 for none."
            )
        network = unet_for(setting, setting.n_sources, 1 + difference, attention=attention, n_blocks=n_blocks)
        super().__init__(setting, network, loss=loss)
        self.smoothing = smoothing
        self.difference = difference

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The source times the gains, and the difference; noise is not used."""
        del noise
        found = self.network(source, condition)
        answer = self.first_source(source) * self._gain(found)
        return answer + found[:, 1:] if self.difference else answer

    def gain(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Field of gains alone, ``(batch, 1, ...)``; for looking at."""
        return self._gain(self.network(source, condition))

    def _gain(self, found: torch.Tensor) -> torch.Tensor:
        """Gains from the first channel of the network, averaged as logarithms."""
        logarithm = LARGEST_LOG_GAIN * torch.tanh(found[:, :1].float() / LARGEST_LOG_GAIN)
        if self.smoothing > 1:
            pool = F.avg_pool3d if logarithm.ndim == 5 else F.avg_pool2d
            logarithm = pool(logarithm, self.smoothing, stride=1, padding=self.smoothing // 2, count_include_pad=False)
        return torch.exp(logarithm)
