"""SPECT projection: a rotating camera with attenuation and a collimator's depth-dependent response."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import scipy.sparse
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.collimator import Collimator
from nmsynth.physics.operator import LinearOperator
from nmsynth.physics.projector import to_torch
from nmsynth.physics.psf import FWHM_PER_SIGMA, GaussianBlur
from nmsynth.physics.rotation import rotation_matrix

MOST_VARIANCE = 0.4
"""Variance that one kernel of three samples may add [samples squared]; more is added in several steps."""


@dataclass(frozen=True, slots=True)
class SpectOrbit:
    """Where the camera stands at each view.

    At angle 0 the collimator's face is towards row 0 of the slices (anterior in LPS), at 90 degrees towards their last
    column (the patient's left).
    """

    n_views: int = 60
    arc_deg: float = 360.0
    """Angle over which the views are spread evenly, the last one step before its end; negative turns the other way."""
    first_deg: float = 0.0
    radius_mm: float | tuple[float, ...] = 250.0
    """From the axis to the face of the collimator [mm]: one for all views, or one for each."""

    def __post_init__(self) -> None:
        radii = self.radii_mm
        if self.n_views < 1 or not 0 < abs(self.arc_deg) <= 360:
            raise InputError(
                f"An orbit needs at least one view over at most 360 degrees; found {self.n_views} over {self.arc_deg}."
            )
        if len(radii) != self.n_views or not all(math.isfinite(r) and r > 0 for r in radii):
            raise InputError(
                f"An orbit needs a radius above 0 mm, one for all or each of {self.n_views} views; found {radii}."
            )

    @property
    def angles_rad(self) -> tuple[float, ...]:
        """Angle of each view [rad]."""
        step = self.arc_deg / self.n_views
        return tuple(math.radians(self.first_deg + v * step) for v in range(self.n_views))

    @property
    def radii_mm(self) -> tuple[float, ...]:
        """Radius of each view [mm]."""
        return self.radius_mm if isinstance(self.radius_mm, tuple) else (self.radius_mm,) * self.n_views


def contour_orbit(orbit: SpectOrbit, mu_map: torch.Tensor, pixel_mm: float, *, gap_mm: float = 15.0) -> SpectOrbit:
    """The orbit with each view as near to the body as it goes.

    Parameters
    ----------
    orbit
        Angles; its radii are replaced.
    mu_map
        Attenuation [1/cm], shape ``(y, x, plane)``: the body is where it exceeds a tenth of water's.
    pixel_mm
        Of the map [mm].
    gap_mm
        Between body and collimator [mm].

    Raises
    ------
    InputError
        If the map holds no body.
    """
    y_mm, x_mm = _outline_mm(mu_map, pixel_mm)
    radii = tuple(
        gap_mm + max(0.0, float((-y_mm * math.cos(angle) + x_mm * math.sin(angle)).max())) for angle in orbit.angles_rad
    )
    return replace(orbit, radius_mm=radii)


def _outline_mm(mu_map: torch.Tensor, pixel_mm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the body is in any plane, relative to the axis: ``y`` and ``x`` of its pixels [mm]."""
    body = torch.nonzero((mu_map > 0.01).any(2))
    if not body.shape[0]:
        raise InputError("A camera goes round a body; the attenuation map holds none. Give a radius instead.")
    centred = (body.double() - torch.tensor([(mu_map.shape[0] - 1) / 2, (mu_map.shape[1] - 1) / 2])) * pixel_mm
    return centred[:, 0], centred[:, 1]


def check_clearance(orbit: SpectOrbit, mu_map: torch.Tensor, pixel_mm: float) -> None:
    """Refuse an orbit that runs through the body.

    Raises
    ------
    InputError
        If the collimator's face would lie inside the body at any view.
    """
    if not bool((mu_map > 0.01).any()):
        return
    nearest = contour_orbit(orbit, mu_map, pixel_mm, gap_mm=0.0).radii_mm
    short = max(need - have for need, have in zip(nearest, orbit.radii_mm, strict=True))
    if short > 0:
        raise InputError(
            f"The camera must stay outside the body; at one view it would stand {short:.0f} mm inside. "
            "Enlarge the radius, or let the orbit follow the body."
        )


@dataclass(frozen=True, slots=True)
class CameraResponse:
    """The point spread of a camera: collimator and crystal, in quadrature."""

    collimator: Collimator
    energy_kev: float = 140.5
    intrinsic_fwhm_mm: float = 3.8
    """Of the crystal and its electronics [mm]."""

    def fwhm_mm(self, distance_mm: float) -> float:
        """Full width at half maximum at a distance from the face [mm]."""
        return math.hypot(self.collimator.resolution_fwhm_mm(distance_mm, self.energy_kev), self.intrinsic_fwhm_mm)


class SpectProjector(LinearOperator):
    """Attenuated, blurred line integrals of a stack of slices, ``(y, x, plane) -> (view, bin, plane)``.

    The stack is turned so that the camera looks along its rows, each row is weighed by the survival of its photons, and
    the rows are summed from the farthest to the nearest, blurred at each step by what the point spread widens between
    them [McCarthy1991]_: variances add, so each row has its own Gaussian at the cost of three samples a step. Rotation
    is a sparse matrix with bilinear weights, so the adjoint is exact.

    Parameters
    ----------
    n_pixels, pixel_mm, plane_mm
        Side of the square slice in pixels, of a pixel, and distance between planes [mm]. What lies outside the circle
        within the square is seen by some views only.
    orbit
        Angles and radii.
    response
        Point spread; ``None`` for ideal lines.
    mu_map
        Attenuation [1/cm], shape ``(y, x, plane)``; ``None`` for none.
    views
        Indices of the views to keep, for ordered subsets; all when ``None``.

    References
    ----------
    .. [McCarthy1991] A. W. McCarthy, M. I. Miller, Maximum likelihood SPECT in clinical computation times using
       mesh-connected parallel computers, IEEE Trans Med Imaging 10:426-436, 1991.
    """

    def __init__(
        self,
        n_pixels: int,
        pixel_mm: float,
        plane_mm: float,
        orbit: SpectOrbit,
        *,
        response: CameraResponse | None = None,
        mu_map: torch.Tensor | None = None,
        views: tuple[int, ...] | None = None,
    ) -> None:
        if n_pixels < 2 or not (pixel_mm > 0 and plane_mm > 0):
            raise InputError(
                f"A slice needs at least 2 pixels and sizes above 0 mm; found {n_pixels}, {pixel_mm} and {plane_mm} mm."
            )
        self.n_pixels = n_pixels
        self.pixel_mm = pixel_mm
        self.plane_mm = plane_mm
        self.orbit = orbit
        self.views = tuple(range(orbit.n_views)) if views is None else views
        angles = orbit.angles_rad
        turned = scipy.sparse.vstack([rotation_matrix(n_pixels, angles[v]) for v in self.views]).tocsr()
        self._turn = to_torch(turned)
        self._turn_back = to_torch(turned.T.tocsr())
        self._first, self._steps = self._widths(response)
        self._survival = None if mu_map is None else self._survival_of(mu_map)
        self._sensitivities: dict[int, torch.Tensor] = {}

    def _widths(self, response: CameraResponse | None) -> tuple[list[float], torch.Tensor]:
        """Width of the nearest row at each view [mm], and the variance each row adds [mm^2], shape (view, row)."""
        first, steps = [], []
        for view in self.views:
            if response is None:
                first.append(0.0)
                steps.append([0.0] * self.n_pixels)
                continue
            nearest = self.orbit.radii_mm[view] - (self.n_pixels - 1) / 2 * self.pixel_mm
            distances = [max(0.0, nearest + row * self.pixel_mm) for row in range(self.n_pixels)]
            widths = [response.fwhm_mm(z) for z in distances]
            first.append(widths[0])
            variances = [(w / FWHM_PER_SIGMA) ** 2 for w in widths]
            steps.append([0.0, *(b - a for a, b in itertools.pairwise(variances))])
        return first, torch.tensor(steps, dtype=torch.float32)

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        """The stack turned to each view, shape ``(row, view, bin, plane)``."""
        if x.ndim != 3 or tuple(x.shape[:2]) != (self.n_pixels, self.n_pixels):
            raise InputError(
                f"The projector takes slices of {self.n_pixels} squared, axes (y, x, plane); found {tuple(x.shape)}."
            )
        turned = self._turn.to(x) @ x.reshape(self.n_pixels**2, -1)
        return turned.reshape(len(self.views), self.n_pixels, self.n_pixels, -1).movedim(1, 0)

    def _survival_of(self, mu_map: torch.Tensor) -> torch.Tensor:
        """Share of the photons of each voxel that reach the camera, shape ``(row, view, bin, plane)``."""
        if not bool(torch.isfinite(mu_map).all()) or bool((mu_map < 0).any()):
            raise InputError("An attenuation map must be finite and not negative; found NaN, infinity or less.")
        rows = self._rows(mu_map)
        # Row by row and in place: the stack of all views is the largest thing that a scan holds.
        passed = torch.zeros(rows.shape[1:], dtype=torch.float64, device=rows.device)
        for row in rows:
            half = 0.5 * row
            passed += row
            row.copy_(passed).sub_(half).mul_(-self.pixel_mm / 10.0).exp_()
        return rows

    def _widen(self, x: torch.Tensor, row: int) -> torch.Tensor:
        """Blur ``(view, bin, plane)`` by what the point spread widens from one row to the next; self-adjoint."""
        variance = self._steps[:, row].to(x).view(-1, 1, 1)
        for axis, sample_mm in ((1, self.pixel_mm), (2, self.plane_mm)):
            x = spread(x, variance / sample_mm**2, axis)
        return x

    def _blur_nearest(self, x: torch.Tensor) -> torch.Tensor:
        """Blur every view by the point spread of its nearest row; self-adjoint."""
        spacing = (self.pixel_mm, self.plane_mm)
        if len(set(self._first)) == 1:
            width = self._first[0]
            return GaussianBlur((0.0, width, width), (1.0, *spacing)).forward(x) if width else x
        return torch.stack([GaussianBlur((w, w), spacing).forward(v) for w, v in zip(self._first, x, strict=True)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Projections, shape ``(view, bin, plane)`` [value mm], of ``x``, shape ``(y, x, plane)``."""
        return self.project_turned(self._rows(x))

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` turned to each view, shape ``(row, view, bin, plane)``; the camera is towards row 0."""
        return self._rows(x)

    def project_turned(self, rows: torch.Tensor) -> torch.Tensor:
        """Projections [value mm] of a stack for each view, as :meth:`turned` gives it."""
        survival = None if self._survival is None else self._survival.to(rows)

        def surviving(row: int) -> torch.Tensor:
            """What reaches the camera of a row; one at a time, as all of them would not stay in the cache."""
            return rows[row] if survival is None else rows[row] * survival[row]

        total = surviving(self.n_pixels - 1)
        for row in range(self.n_pixels - 1, 0, -1):
            total = self._widen(total, row) + surviving(row - 1)
        return self._blur_nearest(total) * self.pixel_mm

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Back-projection, shape ``(y, x, plane)``, of ``y``, shape ``(view, bin, plane)``."""
        survival = None if self._survival is None else self._survival.to(y)
        spread = self._blur_nearest(y * self.pixel_mm)
        stacked = torch.empty((len(self.views), self.n_pixels, *spread.shape[1:]), dtype=y.dtype, device=y.device)
        for row in range(self.n_pixels):
            spread = self._widen(spread, row) if row else spread
            stacked[:, row] = spread if survival is None else spread * survival[row]
        image = self._turn_back.to(y) @ stacked.reshape(len(self.views) * self.n_pixels**2, -1)
        return image.reshape(self.n_pixels, self.n_pixels, -1)

    def sensitivity(self, n_planes: int) -> torch.Tensor:
        """Back-projection of ones, shape ``(y, x, plane)``; kept, as the reconstructions of a study share it."""
        if n_planes not in self._sensitivities:
            ones = torch.ones(len(self.views), self.n_pixels, n_planes)
            self._sensitivities[n_planes] = self.adjoint(ones)
        return self._sensitivities[n_planes]


def spread(x: torch.Tensor, variance: torch.Tensor, axis: int) -> torch.Tensor:
    """Convolve an axis with ``(a, 1 - 2 a, a)``, ``a`` half the variance, zeros outside; self-adjoint.

    Parameters
    ----------
    variance
        [samples^2], broadcastable to ``x`` and constant along the axis; large ones are added in several steps.
    """
    largest = float(variance.max())
    if largest <= 0 or x.shape[axis] == 1:
        return x
    n_steps = math.ceil(largest / MOST_VARIANCE)
    a = variance / (2 * n_steps)
    n = x.shape[axis]
    for _ in range(n_steps):
        out = x * (1 - 2 * a)
        scaled = x * a
        out.narrow(axis, 1, n - 1).add_(scaled.narrow(axis, 0, n - 1))
        out.narrow(axis, 0, n - 1).add_(scaled.narrow(axis, 1, n - 1))
        x = out
    return x
