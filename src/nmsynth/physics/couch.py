"""The couch under the patient: two skins of carbon fibre about a core of foam."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.grid import FloatArray, Grid, Phantom

_BODY_MU = 0.04
"""Attenuation at 511 keV above which a voxel bears on the couch [1/cm]."""


@dataclass(frozen=True, slots=True)
class Couch:
    """A table top, hollow upwards, the same in every plane. Dimensions and materials are chosen, of no vendor.

    Carbon fibre of 1.5 g/mL and foam of 0.05 g/mL attenuate 511 keV by about 0.086 cm2/g, as all light elements do;
    straight through, 3.7 % of the photons are lost.

    Attributes
    ----------
    top_mm
        Height of the upper face in the middle, patient ``y`` [mm], posterior positive.
    width_mm, thickness_mm, skin_mm
        Width, and thickness of the whole and of each skin [mm].
    radius_mm
        Radius of the hollow [mm].
    skin_mu, core_mu
        Attenuation at 511 keV [1/cm].
    """

    top_mm: float = 120.0
    width_mm: float = 420.0
    thickness_mm: float = 30.0
    skin_mm: float = 1.0
    radius_mm: float = 600.0
    skin_mu: float = 0.13
    core_mu: float = 0.0043

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be."""
        if not 0 < 2 * self.skin_mm < self.thickness_mm or not 0 < self.width_mm < 2 * self.radius_mm:
            raise InputError(
                "A couch needs skins thinner than half of it and a width below twice the radius of its hollow; found "
                f"skin {self.skin_mm}, thickness {self.thickness_mm}, width {self.width_mm}, radius "
                f"{self.radius_mm} mm."
            )

    def rise_mm(self, x_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """How much higher (more anterior) the upper face is at ``x`` than in the middle [mm]."""
        inside = np.clip(np.abs(x_mm), 0, self.width_mm / 2)
        return np.asarray(self.radius_mm - np.sqrt(self.radius_mm**2 - inside**2), dtype=np.float64)

    def under(self, phantom: Phantom) -> Couch:
        """The couch moved up to where the phantom, at its lowest point, touches it.

        Parameters
        ----------
        phantom
            On any grid, coarse ones included, that holds the body.

        Raises
        ------
        InputError
            If nothing of the phantom lies over the couch.
        """
        _, y_mm, x_mm = phantom.grid.axes()
        over = np.abs(x_mm) <= self.width_mm / 2
        body = (phantom.mu_map > _BODY_MU).any(axis=0) & over[None, :]
        if not body.any():
            raise InputError("A couch bears a body; the attenuation map holds none above it. Leave the couch out.")
        lowest = (y_mm[:, None] + self.rise_mm(x_mm)[None, :])[body].max()
        return replace(self, top_mm=float(lowest + phantom.grid.spacing_mm[1] / 2))

    def mu_map(self, grid: Grid) -> FloatArray:
        """Attenuation of the couch at 511 keV [1/cm], shape ``(y, x)`` of a plane; layers weighted by their share."""
        _, y_mm, x_mm = grid.axes()
        _, dy, dx = grid.spacing_mm
        depth = y_mm[:, None] - (self.top_mm - self.rise_mm(x_mm))[None, :]

        def share(low: float, high: float) -> NDArray[np.float64]:
            overlap = np.minimum(depth + dy / 2, high) - np.maximum(depth - dy / 2, low)
            return np.asarray(np.clip(overlap, 0, None) / dy)

        whole, skin = self.thickness_mm, self.skin_mm
        mu = self.core_mu * share(skin, whole - skin)
        mu += self.skin_mu * (share(0.0, skin) + share(whole - skin, whole))
        half = self.width_mm / 2
        across = np.clip(np.minimum(x_mm + dx / 2, half) - np.maximum(x_mm - dx / 2, -half), 0, None) / dx
        return np.asarray(mu * across[None, :], dtype=np.float32)

    def put_under(self, phantom: Phantom) -> Phantom:
        """The phantom with the couch in its attenuation, where the body does not attenuate more; labels stay."""
        return replace(phantom, mu_map=np.maximum(phantom.mu_map, self.mu_map(phantom.grid)[None]))
