"""T1-like MR of a phantom: spoiled gradient echo, bias field, point spread and Rician noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.mr_tissues import FIELDS_T, MR_TISSUES, MrTissue
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray, Grid, Phantom
from nmsynth.physics.phantom.organs import Organ
from nmsynth.physics.psf import GaussianBlur

MR_SCALE = 10000.0
"""Stored value of the equilibrium signal of water; the unit is arbitrary, as in any MR image."""
_WHOLE_TISSUE_MU = 0.080
"""Attenuation at 511 keV from which a voxel is full of tissue [1/cm]; below, the rest of it is air."""


@dataclass(frozen=True, slots=True)
class MrSettings:
    """A spoiled gradient echo and what spoils its image.

    Attributes
    ----------
    field_t
        1.5 or 3 [T].
    repetition_ms, echo_ms, flip_deg
        Of the sequence.
    t1_spread, density_spread
        Relative spread of T1 and of proton density of each tissue between subjects.
    texture
        Relative standard deviation within tissues.
    bias
        Standard deviation of the logarithm of the bias field.
    bias_mm
        Distance between its coefficients [mm]; larger is smoother.
    resolution_mm, slice_mm
        Widths of the point spread in plane and along the axis [mm], full width at half maximum.
    snr
        Mean signal of the body over the noise of each channel; 0 for no noise.
    """

    field_t: float = 1.5
    repetition_ms: float = 18.0
    echo_ms: float = 3.0
    flip_deg: float = 25.0
    t1_spread: float = 0.05
    density_spread: float = 0.02
    texture: float = 0.03
    bias: float = 0.12
    bias_mm: float = 150.0
    resolution_mm: float = 1.5
    slice_mm: float = 0.0
    snr: float = 25.0

    def __post_init__(self) -> None:
        """Refuse what no sequence has."""
        if self.field_t not in FIELDS_T:
            raise InputError(f"MrSettings.field_t must be one of {FIELDS_T} T; found {self.field_t}.")
        if not 0 < self.echo_ms < self.repetition_ms or not 0 < self.flip_deg <= 90:
            raise InputError(
                "MrSettings needs 0 < echo_ms < repetition_ms and a flip angle from 0 to 90 degrees; found "
                f"{self.echo_ms} ms, {self.repetition_ms} ms, {self.flip_deg} degrees."
            )
        limits = {"t1_spread": 0.5, "density_spread": 0.5, "texture": 0.3, "bias": 1.0, "resolution_mm": 20.0,
                  "slice_mm": 30.0, "snr": 1e6}  # fmt: skip
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise InputError(f"MrSettings.{name} must be from 0 to {limit:g}; found {getattr(self, name)}.")
        if not self.bias_mm > 0:
            raise InputError(f"MrSettings.bias_mm must be positive; found {self.bias_mm} mm.")

    @classmethod
    def randomised(cls, seed: int) -> MrSettings:
        """A sequence drawn wide, all T1-weighted; ranges are chosen, so that a network relies on no one contrast."""
        rng = np.random.default_rng((seed, 63))
        repetition = float(math.exp(rng.uniform(math.log(7.0), math.log(25.0))))
        return cls(
            field_t=float(rng.choice(FIELDS_T)),
            repetition_ms=repetition,
            echo_ms=float(rng.uniform(1.5, min(5.0, 0.6 * repetition))),
            flip_deg=float(rng.uniform(15.0, 35.0)),
            t1_spread=0.12,
            density_spread=0.06,
            texture=float(rng.uniform(0.01, 0.06)),
            bias=float(rng.uniform(0.03, 0.25)),
            bias_mm=float(rng.uniform(110.0, 220.0)),
            resolution_mm=float(rng.uniform(1.0, 2.5)),
            snr=float(rng.uniform(12.0, 50.0)),
        )


def spoiled_gradient_echo(
    *, t1_ms: float, t2_star_ms: float, proton_density: float, repetition_ms: float, echo_ms: float, flip_deg: float
) -> float:
    """Steady-state signal over the equilibrium signal of water.

    ``S = M sin(a) (1 - E) / (1 - E cos(a)) exp(-TE / T2*)`` with ``E = exp(-TR / T1)`` [Haase1986]_.

    Parameters
    ----------
    t1_ms, t2_star_ms, proton_density
        Of the tissue; density relative to water.
    repetition_ms, echo_ms, flip_deg
        Of the sequence.

    References
    ----------
    .. [Haase1986] A. Haase et al., FLASH imaging, J Magn Reson 67:258-266, 1986.

    Examples
    --------
    >>> relaxed = {"t1_ms": 1e3, "t2_star_ms": 1e9, "proton_density": 1.0, "repetition_ms": 1e6, "echo_ms": 1.0}
    >>> round(spoiled_gradient_echo(**relaxed, flip_deg=90.0), 6)
    1.0
    """
    relaxed = math.exp(-repetition_ms / t1_ms)
    angle = math.radians(flip_deg)
    steady = math.sin(angle) * (1 - relaxed) / (1 - relaxed * math.cos(angle))
    return proton_density * steady * math.exp(-echo_ms / t2_star_ms)


def tissue_signals(settings: MrSettings, seed: int) -> FloatArray:
    """Signal of every structure in one subject, shape ``(256,)``, in the unit of the image.

    Parameters
    ----------
    settings
        Sequence, and spreads of T1 and density between subjects.
    seed
        Of the subject.
    """
    rng = np.random.default_rng((seed, 64))
    drawn: dict[MrTissue, float] = {}
    signals = np.zeros(256, dtype=np.float32)
    for organ, tissue in MR_TISSUES.items():
        t1_factor, density_factor = np.exp(
            np.array([settings.t1_spread, settings.density_spread]) * np.clip(rng.standard_normal(2), -2, 2)
        )
        if tissue not in drawn:  # grey matter of cerebrum and cerebellum is one tissue
            t1, t2_star = tissue.at(settings.field_t)
            drawn[tissue] = spoiled_gradient_echo(
                t1_ms=t1 * float(t1_factor),
                t2_star_ms=t2_star,
                proton_density=tissue.proton_density * float(density_factor),
                repetition_ms=settings.repetition_ms,
                echo_ms=settings.echo_ms,
                flip_deg=settings.flip_deg,
            )
        signals[organ] = MR_SCALE * drawn[tissue]
    signals[Organ.OUTSIDE] = signals[Organ.FAT]  # at the skin, where little of a voxel is tissue
    return signals


def mr_signal(phantom: Phantom, settings: MrSettings, seed: int) -> FloatArray:
    """Signal of a phantom's voxels before point spread, bias field and noise.

    A voxel has the signal of the structure that fills most of it, times the share that is not air. What it gets
    depends on that voxel alone, so parts of a patient fit together.

    Returns
    -------
        Arbitrary unit, shape ``(z, y, x)``.
    """
    signal = tissue_signals(settings, seed)[phantom.labels]
    filled = np.clip(phantom.mu_map / np.float32(_WHOLE_TISSUE_MU), 0, 1)
    signal *= np.where(phantom.labels == Organ.LUNG, np.float32(1), filled)
    if settings.texture > 0:
        rng = np.random.default_rng((seed, 65))
        pitches = tuple(float(p) for p in (rng.uniform(5, 9), rng.uniform(25, 40)))
        fine, coarse = (SmoothField.random(rng, p, 32).on_axes(*phantom.grid.axes()) for p in pitches)
        signal *= np.clip(1 + settings.texture * (0.7 * fine + 0.7 * coarse), 0.5, 1.5)
    return np.asarray(signal, dtype=np.float32)


def bias_field(grid: Grid, settings: MrSettings, seed: int, body: NDArray[np.bool_]) -> FloatArray:
    """Smooth factor ``exp(b F)`` over an image, its mean over the body one, shape ``(z, y, x)``.

    Parameters
    ----------
    grid
        Of the image.
    settings
        Strength and smoothness.
    seed
        Of the field.
    body
        Where the mean is taken, same shape; everywhere, where it is empty.
    """
    rng = np.random.default_rng((seed, 66))
    field = np.exp(settings.bias * SmoothField.random(rng, settings.bias_mm, 12).on_axes(*grid.axes()))
    inside = field[body] if body.any() else field
    return np.asarray(field / inside.mean(), dtype=np.float32)


def rician(signal: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Magnitude of a signal with normal noise in both channels, ``|S + n1 + i n2|`` [Gudbjartsson1995]_.

    Parameters
    ----------
    signal
        Any shape, not negative.
    sigma
        Standard deviation of each channel, in the signal's unit.
    rng
        Source of randomness.

    References
    ----------
    .. [Gudbjartsson1995] H. Gudbjartsson, S. Patz, Magn Reson Med 34:910-914, 1995.
    """
    if sigma == 0:
        return signal
    real = signal + np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)


def mr_image(signal: FloatArray, grid: Grid, settings: MrSettings, seed: int) -> FloatArray:
    """Image of a signal: point spread, bias field, Rician noise.

    Not modelled: chemical shift, susceptibility (gas, metal), flow, motion, wrap, distortion by gradients, several
    coils.

    Parameters
    ----------
    signal
        From :func:`mr_signal`, on the grid.
    grid
        Of the image.
    settings
        Of the sequence.
    seed
        Of bias field and noise.

    Returns
    -------
        Arbitrary unit, not negative, shape ``(z, y, x)``.
    """
    width = settings.resolution_mm
    blurred = GaussianBlur((settings.slice_mm, width, width), grid.spacing_mm).forward(torch.from_numpy(signal)).numpy()
    body = blurred > 0.05 * float(blurred.max())
    if settings.bias > 0:
        blurred = blurred * bias_field(grid, settings, seed, body)
    sigma = float(blurred[body].mean()) / settings.snr if settings.snr > 0 and body.any() else 0.0
    return rician(np.asarray(blurred, dtype=np.float32), sigma, np.random.default_rng((seed, 67)))
