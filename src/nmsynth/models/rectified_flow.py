"""Rectified flow and diffusion bridge from the source to the target, in a few steps.

A straight path ``y_t = (1 - t) y_0 + t y_1`` leads from where one starts to the target; a network learns its velocity
``v = y_1 - y_0`` and an ordinary differential equation follows it [Liu2023]_ [Lipman2023]_. Where the start is the
source itself instead of noise, the path is short and a few steps are enough [Liu2023b]_; a little noise added to it
makes the answers a distribution. Or the path is a Brownian bridge, ``y_t = (1 - t) y_0 + t y_1 + s sqrt(t (1 - t))
eps`` [Li2023]_, with the implicit sampler of [Zheng2025]_, which carries one noise along. The bridge learns faster, as
``v`` then has no noise in it.

Everything is relative to the start image and divided by the scale of ``target - start image``. A straight path from
the source so has ``y_0 = s noise``, one from noise ``y_0 = noise`` and a bridge ``y_0 = 0``: the same equations serve.

Few steps give too little spread. Of a Gaussian of standard deviation one, with the exact velocity, four evaluations
give 0.72 of it by Euler's method from noise, 0.94 by Heun's, and 0.60 by a bridge of ``s = 0.5``; 25 give 0.95, 1.00
and 0.89. Uncertainty read from samples needs these.

References
----------
.. [Liu2023] X. Liu et al., Flow straight and fast: learning to generate and transfer data with rectified flow, ICLR
   2023.
.. [Lipman2023] Y. Lipman et al., Flow matching for generative modeling, ICLR 2023.
.. [Liu2023b] G.-H. Liu et al., I2SB: image-to-image Schrödinger bridge, ICML 2023.
.. [Li2023] B. Li et al., BBDM: image-to-image translation with Brownian bridge diffusion models, CVPR 2023.
.. [Zheng2025] K. Zheng et al., Diffusion bridge implicit models, ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from nmsynth.core.errors import InputError
from nmsynth.models.denoising_diffusion import TIME_SCALE, along, draw_times
from nmsynth.models.method import Method, MethodBatch, MethodSetting, weighted_mean
from nmsynth.models.residual_unet import Attention, unet_for
from nmsynth.models.running_scale import RunningScale

Start = Literal["source", "noise"]
Path = Literal["straight", "bridge"]
Solver = Literal["euler", "heun"]
Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def euler(velocity: Velocity, start: torch.Tensor, n_evaluations: int) -> torch.Tensor:
    """Euler's method from time 0 to 1; exact in one step where paths are straight."""
    y, step = start, 1.0 / n_evaluations
    for k in range(n_evaluations):
        y = y + step * velocity(y, _times(k * step, y))
    return y


def heun(velocity: Velocity, start: torch.Tensor, n_evaluations: int) -> torch.Tensor:
    """Heun's method from time 0 to 1, of second order; two evaluations a step, and one more by Euler if odd."""
    n_steps = (n_evaluations + 1) // 2
    y, step = start, 1.0 / n_steps
    for k in range(n_steps):
        here = velocity(y, _times(k * step, y))
        if k == n_steps - 1 and n_evaluations % 2:
            return y + step * here
        there = velocity(y + step * here, _times((k + 1) * step, y))
        y = y + step * (here + there) / 2
    return y


def bridge(
    velocity: Velocity, start: torch.Tensor, noise: torch.Tensor, n_evaluations: int, *, bridge_noise: float
) -> torch.Tensor:
    """Implicit sampler of the Brownian bridge [Zheng2025]_ with no noise added: the first step takes ``noise``.

    ``y_u = (1 - u) y_0 + u y_1 + s_u (y_t - (1 - t) y_0 - t y_1) / s_t`` with ``s_t = s sqrt(t (1 - t))`` and
    ``y_1 = y_0 + v(y_t, t)``.
    """
    y, eps = start, noise
    for k in range(n_evaluations):
        t, u = k / n_evaluations, (k + 1) / n_evaluations
        y1 = start + velocity(y, _times(t, y))
        if k:
            eps = (y - (1 - t) * start - t * y1) / (bridge_noise * (t * (1 - t)) ** 0.5)
        y = (1 - u) * start + u * y1 + bridge_noise * (u * (1 - u)) ** 0.5 * eps
    return y


def _times(time: float, y: torch.Tensor) -> torch.Tensor:
    """One time for each patch."""
    return torch.full((len(y),), time, device=y.device)


class RectifiedFlow(Method):
    """Few-step flow from the source (or noise) to the target.

    Parameters
    ----------
    setting
        As the plan decides.
    start
        ``source``: the first source, which should be on the target's scale; ``noise``: standard normal noise, for
        sources of another kind. By default the source where the plan asks for a residual, else noise.
    path
        ``bridge`` or ``straight``; by default a bridge from the source, and straight from noise, where it must be.
    path_noise
        s, the noise of a path from the source, in units of the scale of the residual; with 0 there is one answer.
    solver
        ``euler`` or ``heun``, for straight paths.
    sampling_steps
        Network evaluations of an answer.
    residual_scale
        What ``target - start image`` is divided by; measured where it is not given.
    attention, n_blocks
        As of :class:`~nmsynth.models.residual_unet.UNet`.
    """

    stochastic = True

    def __init__(
        self,
        setting: MethodSetting,
        *,
        start: Start | None = None,
        path: Path | None = None,
        path_noise: float = 0.5,
        solver: Solver = "euler",
        sampling_steps: int = 4,
        residual_scale: float | None = None,
        attention: Attention = "none",
        n_blocks: int = 1,
    ) -> None:
        super().__init__(setting)
        start = start or ("source" if setting.residual else "noise")
        path = path or ("bridge" if start == "source" else "straight")
        if start not in ("source", "noise") or path not in ("straight", "bridge"):
            raise InputError(
                f"A flow must start at 'source' or 'noise' and be 'straight' or a 'bridge'; found '{start}', '{path}'."
            )
        if solver not in ("euler", "heun"):
            raise InputError(f"The solver of a flow must be 'euler' or 'heun'; found '{solver}'.")
        if path == "bridge" and start == "noise":
            raise InputError("A bridge must start at the source; found the start 'noise'. Let its path be straight.")
        if path_noise < 0:
            raise InputError(f"The noise of a path must not be negative; found {path_noise}.")
        self.start = start
        self.start_noise = 1.0 if start == "noise" else path_noise if path == "straight" else 0.0
        self.bridge_noise = path_noise if path == "bridge" else 0.0
        self.solver = solver
        self.sampling_steps = sampling_steps
        self.scale = RunningScale(residual_scale)
        self.network = unet_for(setting, setting.n_sources + 1, 1, timed=True, attention=attention, n_blocks=n_blocks)

    def losses(self, batch: MethodBatch, group: str, stage: str) -> dict[str, torch.Tensor]:
        """Squared error of the velocity [Liu2023]_, eq. 1."""
        del group, stage
        source, weight = batch["source"], batch["weight"]
        way = batch["target"] - self._start_image(source)
        self.scale.observe(way, weight)
        y1 = self.scale.encode(way)
        y0 = self.start_noise * torch.randn_like(y1)
        time = draw_times(len(y1), y1.device)
        t = along(time, y1)
        y = (1 - t) * y0 + t * y1
        if self.bridge_noise:
            y = y + self.bridge_noise * (t * (1 - t)).sqrt() * torch.randn_like(y)
        error = (self._velocity(y, source, batch["condition"], time) - (y1 - y0)).square()
        return {"total": weighted_mean(error, weight)}

    def forward(self, source: torch.Tensor, condition: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """A sample; without noise the path from the source itself, or from zero."""
        if noise is None:
            noise = torch.zeros_like(source[:, :1])

        def velocity(y: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            return self._velocity(y, source, condition, time)

        y0 = self.start_noise * noise
        if self.bridge_noise:
            y1 = bridge(velocity, y0, noise, self.sampling_steps, bridge_noise=self.bridge_noise)
        else:
            y1 = (euler if self.solver == "euler" else heun)(velocity, y0, self.sampling_steps)
        return self.scale.decode(self.scale.clip(y1)) + self._start_image(source)

    def _start_image(self, source: torch.Tensor) -> torch.Tensor | float:
        """The first source (its central slice), or what a residual is added to."""
        if self.start == "noise":
            return self.residual_base(source)
        centre = self.setting.context // 2
        return source[:, centre : centre + 1]

    def _velocity(
        self, y: torch.Tensor, source: torch.Tensor, condition: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """What the network gives, in single precision."""
        out: torch.Tensor = self.network(torch.cat((y, source), dim=1), condition, TIME_SCALE * time)
        return out.float()
