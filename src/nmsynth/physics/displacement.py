"""Displacement of an image by parts of a sample: breathing, arms, a couch that sags."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from nmsynth.core.errors import InputError


def displace(image: torch.Tensor, samples: tuple[float, ...]) -> torch.Tensor:
    """Move an image along its axes by linear interpolation; the edge is repeated.

    Parameters
    ----------
    image
        Any shape.
    samples
        By how much along each axis, whole and part samples; positive towards higher indices.
    """
    for axis, distance in enumerate(samples):
        whole = math.floor(distance)
        part = distance - whole
        index = torch.arange(image.shape[axis], device=image.device)
        last = image.shape[axis] - 1
        near = image.index_select(axis, (index - whole).clamp(0, last))
        far = image.index_select(axis, (index - whole - 1).clamp(0, last))
        image = near * (1 - part) + far * part
    return image


@dataclass(frozen=True, slots=True)
class BodyMotion:
    """What moves between the CT, from which the attenuation map comes, and the emission scan.

    Breathing: a CT taken at another depth of breath shows the diaphragm displaced along the planes, most at its dome
    and less away from it, ``d(z) = breathing exp(-((z - z0) / reach)^2)``. Arms: what lies further from the middle than
    ``arms_beyond_mm`` moves as one, with a smooth step before it. All sizes are chosen, none is measured.
    """

    breathing_mm: float = 0.0
    """Displacement at the diaphragm towards higher planes [mm]."""
    diaphragm_mm: float = 0.0
    """Where the diaphragm is, along the planes from the middle of the stack [mm]."""
    reach_mm: float = 60.0
    """Distance over which breathing fades, to ``1/e`` [mm]."""
    arms_mm: tuple[float, float] = (0.0, 0.0)
    """Displacement of the arms along ``(y, x)``, ``x`` away from the body on either side [mm]."""
    arms_beyond_mm: float = 190.0
    """Left or right of the middle, from where on everything is an arm [mm]."""
    step_mm: float = 20.0
    """Width of the step between body and arms [mm]."""

    def __post_init__(self) -> None:
        values = (self.breathing_mm, self.diaphragm_mm, self.arms_beyond_mm, *self.arms_mm)
        if not all(map(math.isfinite, values)) or not (self.reach_mm > 0 and self.step_mm > 0):
            raise InputError(
                "A motion needs finite displacements, and a reach and a step above 0 mm; found "
                f"{values}, {self.reach_mm} and {self.step_mm}."
            )
        if abs(self.breathing_mm) >= self.reach_mm:
            raise InputError(
                f"Breathing must move by less than its reach, or it would fold; found {self.breathing_mm} mm over "
                f"{self.reach_mm} mm."
            )

    def about(self, middle_mm: float) -> BodyMotion:
        """The same motion, with heights from the middle of a stack of planes instead of those of the phantom."""
        return replace(self, diaphragm_mm=self.diaphragm_mm - middle_mm)

    def apply(self, image: torch.Tensor, *, pixel_mm: float, plane_mm: float) -> torch.Tensor:
        """The moved image, ``m(r) = image(r - d(r))``, by linear interpolation; the edge is repeated.

        Parameters
        ----------
        image
            Shape ``(y, x, plane)``.
        pixel_mm, plane_mm
            Its spacing [mm].
        """
        n_y, n_x, n_planes = image.shape
        z = (torch.arange(n_planes, device=image.device) - (n_planes - 1) / 2) * plane_mm
        if self.breathing_mm:
            planes = self.breathing_mm * torch.exp(-(((z - self.diaphragm_mm) / self.reach_mm) ** 2)) / plane_mm
            image = _pull(image, torch.arange(n_planes, device=image.device) - planes, axis=2)
        if any(self.arms_mm):
            x = (torch.arange(n_x, device=image.device) - (n_x - 1) / 2) * pixel_mm
            along_x = _smooth_step((x.abs() - self.arms_beyond_mm) / self.step_mm)
            away = torch.arange(n_x, device=image.device) - along_x * x.sign() * self.arms_mm[1] / pixel_mm
            rows = torch.arange(n_y, device=image.device)[:, None] - along_x * self.arms_mm[0] / pixel_mm
            image = _pull(_pull(image, away, axis=1), rows, axis=0)
        return image


BREATHING_SD_MM, ARMS_SD_MM = 5.0, 6.0
"""Standard deviations of what is drawn for a subject, chosen [mm]; at most twice that."""


def draw_body_motion(rng: np.random.Generator, *, diaphragm_mm: float, arms_beyond_mm: float) -> BodyMotion:
    """Breathing and arms of one subject between CT and emission, normally distributed about none.

    Parameters
    ----------
    rng
        Source of randomness.
    diaphragm_mm
        Height of the diaphragm [mm], in any frame.
    arms_beyond_mm
        Half the width of the trunk [mm].
    """
    breathing, y, x = np.clip(rng.standard_normal(3), -2, 2) * (BREATHING_SD_MM, ARMS_SD_MM, ARMS_SD_MM)
    return BodyMotion(
        breathing_mm=float(breathing),
        diaphragm_mm=diaphragm_mm,
        arms_mm=(float(y), float(x)),
        arms_beyond_mm=arms_beyond_mm,
    )


def _smooth_step(u: torch.Tensor) -> torch.Tensor:
    """0 below -1, 1 above 0, smooth between."""
    v = (u + 1).clamp(0, 1)
    return v * v * (3 - 2 * v)


def _pull(image: torch.Tensor, places: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Values at other places along an axis: the same for all lines, or rows that differ by column, ``(y, x)``."""
    last = image.shape[axis] - 1
    places = places.clamp(0, last)
    near = places.floor().long()
    far = (near + 1).clamp_max(last)
    part = (places - near).to(image)
    if places.ndim == 1:
        shape = [1, 1, 1]
        shape[axis] = -1
        part = part.reshape(shape)
        return image.index_select(axis, near) * (1 - part) + image.index_select(axis, far) * part
    columns = torch.arange(image.shape[1], device=image.device)
    return image[near, columns] * (1 - part[..., None]) + image[far, columns] * part[..., None]
