r"""Anchored U-Net: the answer of a U-Net, drawn towards what the value of each voxel alone says.

Where a source leaves much open and few patients were seen, a network is too sure of what it saw in them, and a table of
the typical target for each value of the source is hard to beat. Here such a table is learned beside the network, each
by an error of its own, and the answer lies between them [Wolpert1992]_ [Breiman1996]_:

.. math:: \hat y = w f(x) + (1 - w) g(x_v), \qquad L = |f(x) - y| + |g(x_v) - y|

:math:`f` sees the patch, :math:`g` the voxel :math:`v`. Errors of two estimators that are not of one mind cancel in
part, so that the mean of both may miss by less than either. The share :math:`w` is an argument, not learned: on the
patients that teach :math:`f` it would look better than it is.

References
----------
.. [Wolpert1992] D. H. Wolpert, Stacked generalization, Neural Networks 5:241-259, 1992.
.. [Breiman1996] L. Breiman, Stacked regressions, Machine Learning 24:49-64, 1996.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from nmsynth.core.errors import InputError
from nmsynth.models.method import (
    Method,
    MethodBatch,
    MethodSetting,
    chosen_loss,
    regression_loss,
    with_constant_channels,
)
from nmsynth.models.residual_unet import Attention, convolution, unet_for

LARGEST_KNOT = 4.0
"""Magnitude of normalised values beyond which a table does not tell apart."""
FINEST_SCALE = 0.05
"""Magnitude below which knots lie evenly, above which evenly in its logarithm."""


class ValueTable(nn.Module):
    """A learned function of the values of one voxel, in steps between knots.

    Each source is coded by how far it has climbed every step, ``clip((x - k_i) / (k_{i+1} - k_i), 0, 1)``, so that a
    linear layer of the codes of one source is a table with linear interpolation; a hidden layer joins several sources
    and the conditions. Knots are dense around 0, where soft tissue lies in HU and what is cold in activity.

    Parameters
    ----------
    dims
        2 or 3.
    n_sources
        Sources, without the slices beside.
    n_conditions
        Numbers that are told.
    n_knots
        Knots of each source.
    width
        Of the hidden layer.
    """

    knots: torch.Tensor

    def __init__(self, dims: int, n_sources: int, n_conditions: int, *, n_knots: int = 64, width: int = 32) -> None:
        super().__init__()
        end = math.asinh(LARGEST_KNOT / FINEST_SCALE)
        knots = FINEST_SCALE * torch.sinh(torch.linspace(-end, end, n_knots))
        self.register_buffer("knots", knots.reshape(-1, *(1,) * dims), persistent=False)
        n_codes = n_sources * (n_knots - 1) + n_conditions
        self.layers = nn.Sequential(
            convolution(dims, n_codes, width, kernel=1), nn.SiLU(), convolution(dims, width, 1, kernel=1)
        )

    def forward(self, source: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Answer of every voxel for itself, ``(batch, source, ...) -> (batch, 1, ...)``."""
        low, high = self.knots[:-1], self.knots[1:]
        codes = [((source[:, k : k + 1] - low) / (high - low)).clamp(0, 1) for k in range(source.shape[1])]
        out: torch.Tensor = self.layers(with_constant_channels(torch.cat(codes, dim=1), condition))
        return out


class AnchoredUNet(Method):
    """Residual U-Net and value table, stacked with a fixed share.

    Parameters
    ----------
    setting
        As the plan decides.
    share
        Share of the U-Net in the answer, in (0, 1).
    attention
        ``none``, ``self`` or ``gates``; see :class:`~nmsynth.models.residual_unet.UNet`.
    n_blocks
        Residual blocks a level.
    loss
        ``auto``, ``l1``, ``l2``, ``huber`` or ``counts``; see :func:`nmsynth.models.method.chosen_loss`.

    Raises
    ------
    InputError
        If the share leaves one of the two without a say.
    """

    def __init__(
        self,
        setting: MethodSetting,
        *,
        share: float = 0.5,
        attention: Attention = "none",
        n_blocks: int = 1,
        loss: str = "auto",
    ) -> None:
        super().__init__(setting)
        if not 0 < share < 1:
            raise InputError(
                f"The share of the U-Net must lie between 0 and 1, found {share:g}. Take the family 'unet' for a "
                "U-Net alone."
            )
        self.share = share
        self.loss = chosen_loss(loss, setting)
        self.network = unet_for(setting, setting.n_sources, 1, attention=attention, n_blocks=n_blocks)
        n_images = setting.n_sources // setting.context
        self.table = ValueTable(setting.spatial_dims, n_images, setting.n_conditions)

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Error of the U-Net and of the table, each for itself."""
        del group, stage
        found, looked_up = self._both(batch["source"], batch["condition"])
        terms = {
            "error": regression_loss(found, batch["target"], batch["weight"], kind=self.loss),
            "table": regression_loss(looked_up, batch["target"], batch["weight"], kind=self.loss),
        }
        return {"total": terms["error"] + terms["table"], **terms}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """The answer between both; noise is not used."""
        del noise
        found, looked_up = self._both(source, condition)
        return self.share * found + (1 - self.share) * looked_up

    def _both(self, source: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Answers of the U-Net and of the table, ``(batch, 1, ...)`` each."""
        base = self.residual_base(source)
        centres = source[:, self.setting.context // 2 :: self.setting.context]
        return self.network(source, condition) + base, self.table(centres, condition) + base
