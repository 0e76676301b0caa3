"""Planar scintigraphy: anterior and posterior views, and activity from both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.operator import LinearOperator
from nmsynth.physics.psf import FWHM_PER_SIGMA, GaussianBlur
from nmsynth.physics.spect import CameraResponse, SpectOrbit, spread

VIEWS = ("anterior", "posterior")
"""Views of a planar camera."""


class PlanarProjector(LinearOperator):
    """Attenuated, blurred line integrals from front to back, ``(y, x, plane) -> (view, bin, plane)``.

    ``p(x, z) = sum_y G_y * [f(x, y, z) exp(-integral of mu from y to the camera)]``: each row of the slices is weighed
    by the survival of its photons, and the rows are summed from the farthest to the nearest, blurred at each step by
    what the point spread widens between them, as :class:`nmsynth.physics.spect.SpectProjector` does for any angle
    [McCarthy1991]_. Nothing is turned, so rows may have another size than bins and the field need not be square. The
    projection of the sum of several stacks is the sum of their projections: a long body may be projected in slabs of
    planes, each with empty planes at its ends into which its blur can run.

    Parameters
    ----------
    n_rows
        Rows of a slice, the first anterior.
    row_mm, bin_mm, plane_mm
        Distance between rows (depth), bins and planes [mm].
    faces_mm
        From the middle of the rows to the collimator's face [mm], for each view.
    views
        Any of :data:`VIEWS`.
    response
        Point spread; ``None`` for ideal lines.
    mu_map
        Attenuation [1/cm], shape ``(y, x, plane)``; ``None`` for none.

    Raises
    ------
    InputError
        If a view is unknown, sizes or faces are impossible, or the map is not finite and not negative.

    References
    ----------
    .. [McCarthy1991] A. W. McCarthy, M. I. Miller, Maximum likelihood SPECT in clinical computation times using
       mesh-connected parallel computers, IEEE Trans Med Imaging 10:426-436, 1991.
    """

    def __init__(
        self,
        n_rows: int,
        row_mm: float,
        bin_mm: float,
        plane_mm: float,
        *,
        faces_mm: tuple[float, ...],
        views: tuple[str, ...] = VIEWS,
        response: CameraResponse | None = None,
        mu_map: torch.Tensor | None = None,
    ) -> None:
        check_views(views)
        if n_rows < 1 or not (row_mm > 0 and bin_mm > 0 and plane_mm > 0):
            raise InputError(
                f"A planar view needs rows and sizes above 0 mm; found {n_rows} rows of {row_mm}, {bin_mm} and "
                f"{plane_mm} mm."
            )
        if len(faces_mm) != len(views) or not all(math.isfinite(f) and f > 0 for f in faces_mm):
            raise InputError(f"Each view needs the place of its face, above 0 mm; found {faces_mm} for {views}.")
        if mu_map is not None and not (bool(torch.isfinite(mu_map).all()) and bool((mu_map >= 0).all())):
            raise InputError("An attenuation map must be finite and not negative; found NaN, infinity or less.")
        self.n_rows, self.row_mm, self.bin_mm, self.plane_mm = n_rows, row_mm, bin_mm, plane_mm
        self.views = views
        self._mu_map = mu_map
        self._variances = [self._variances_of(face, response) for face in faces_mm]

    def _variances_of(self, face_mm: float, response: CameraResponse | None) -> list[float]:
        """Variance of the point spread of each row from the nearest on [mm^2]."""
        if response is None:
            return [0.0] * self.n_rows
        nearest = face_mm - (self.n_rows - 1) / 2 * self.row_mm
        distances = [max(0.0, nearest + row * self.row_mm) for row in range(self.n_rows)]
        return [(response.fwhm_mm(z) / FWHM_PER_SIGMA) ** 2 for z in distances]

    def _seen(self, x: torch.Tensor, view: str) -> torch.Tensor:
        """Rows from the nearest on and bins as the camera sees them; its own inverse."""
        return x if view == "anterior" else x.flip((0, 1))

    def _survival(self, view: str) -> torch.Tensor | None:
        """Share of the photons of each voxel that reach the camera, rows from the nearest on."""
        if self._mu_map is None:
            return None
        mu = self._seen(self._mu_map, view)
        return torch.exp(-(mu.cumsum(0) - 0.5 * mu) * (self.row_mm / 10.0))

    def _widen(self, x: torch.Tensor, variance_mm2: float) -> torch.Tensor:
        """Blur ``(bin, plane)`` by a small variance."""
        for axis, sample_mm in ((0, self.bin_mm), (1, self.plane_mm)):
            x = spread(x, torch.tensor(variance_mm2 / sample_mm**2, dtype=x.dtype, device=x.device), axis)
        return x

    def _nearest(self, x: torch.Tensor, variances: list[float]) -> torch.Tensor:
        """Blur ``(bin, plane)`` by the point spread of the nearest row."""
        width = math.sqrt(variances[0]) * FWHM_PER_SIGMA
        return GaussianBlur((width, width), (self.bin_mm, self.plane_mm)).forward(x) if width else x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Projections, shape ``(view, bin, plane)`` [value mm], of ``x``, shape ``(y, x, plane)``.

        Bins of the posterior view run from the patient's left to the right, as that camera sees them.
        """
        if x.ndim != 3 or x.shape[0] != self.n_rows:
            raise InputError(
                f"The projector takes slices of {self.n_rows} rows, axes (y, x, plane); found {tuple(x.shape)}."
            )
        images = []
        for view, variances in zip(self.views, self._variances, strict=True):
            rows = self._seen(x, view)
            survival = self._survival(view)
            total = torch.zeros_like(rows[0])
            for row in range(self.n_rows - 1, -1, -1):
                total = total + (rows[row] if survival is None else rows[row] * survival[row])
                if row:
                    total = self._widen(total, variances[row] - variances[row - 1])
            images.append(self._nearest(total, variances) * self.row_mm)
        return torch.stack(images)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Back-projection, shape ``(y, x, plane)``, of ``y``, shape ``(view, bin, plane)``."""
        image = torch.zeros((self.n_rows, *y.shape[1:]), dtype=y.dtype, device=y.device)
        for view, variances, seen in zip(self.views, self._variances, y, strict=True):
            back = self._nearest(seen * self.row_mm, variances)
            rows = [back]
            for before, after in itertools.pairwise(variances):
                back = self._widen(back, after - before)
                rows.append(back)
            stacked = torch.stack(rows)
            survival = self._survival(view)
            image = image + self._seen(stacked if survival is None else stacked * survival, view)
        return image


def check_views(views: tuple[str, ...]) -> None:
    """Refuse views that a planar camera does not have.

    Raises
    ------
    InputError
        If there is none, one is unknown, or one is named twice.
    """
    if not views or len(set(views)) != len(views) or set(views) - set(VIEWS):
        raise InputError(f"Views must be some of {', '.join(VIEWS)}, each once; found {', '.join(views) or 'none'}.")


def slabs(n_planes: int, thickness: int) -> Iterator[slice]:
    """Consecutive ranges of planes, at most ``thickness`` each."""
    for first in range(0, n_planes, thickness):
        yield slice(first, min(first + thickness, n_planes))


def conjugate_orbit(anterior_mm: float, posterior_mm: float) -> SpectOrbit:
    """Two opposite views, the first from the front.

    Parameters
    ----------
    anterior_mm, posterior_mm
        From the middle of the slices to the face of each collimator [mm].
    """
    return SpectOrbit(2, arc_deg=360.0, radius_mm=(anterior_mm, posterior_mm))


def planar_views(projections: torch.Tensor) -> torch.Tensor:
    """Projections as they are looked at, ``(view, bin, plane) -> (view, y, x)`` with the head (last plane) on top.

    The posterior view is seen from behind, so left and right change sides between the two, as on a camera.
    """
    if projections.ndim != 3:
        raise InputError(f"Projections must have axes (view, bin, plane); found shape {tuple(projections.shape)}.")
    return projections.flip(2).transpose(1, 2).contiguous()  # (view, bin, plane) -> (view, y, x)


def conjugate_view_activity(
    anterior: torch.Tensor, posterior: torch.Tensor, transmission: torch.Tensor, *, counts_per_bq: float
) -> torch.Tensor:
    """Activity along each line by the geometric mean of opposite views [Siegel1999]_.

    ``A = sqrt(I_A I_P / T) / S`` with the transmission ``T = exp(-integral of mu)`` through the body. Exact for a point
    source at any depth, without scatter and background; an extended source of thickness ``l`` is overrated by
    ``sinh(mu l / 2) / (mu l / 2)``.

    Parameters
    ----------
    anterior, posterior
        Counts, shape ``(y, x)``, the posterior view mirrored to the anterior's sides.
    transmission
        Share of photons that pass the whole body, same shape.
    counts_per_bq
        Counts for each becquerel in air.

    Returns
    -------
        [Bq], shape ``(y, x)``.

    Raises
    ------
    InputError
        If shapes differ, counts are negative or NaN, or the transmission lies outside 0 to 1.

    References
    ----------
    .. [Siegel1999] J. A. Siegel et al., MIRD pamphlet no. 16, J Nucl Med 40:37S-61S, 1999.
    """
    if not anterior.shape == posterior.shape == transmission.shape:
        raise InputError(
            "Both views and the transmission must have the same shape; found "
            f"{tuple(anterior.shape)}, {tuple(posterior.shape)} and {tuple(transmission.shape)}."
        )
    if not (bool((anterior >= 0).all()) and bool((posterior >= 0).all())):
        raise InputError(
            "Counts must not be negative; found NaN or values below 0. Do not subtract scatter beforehand."
        )
    if not (bool((transmission > 0).all()) and bool((transmission <= 1).all()) and counts_per_bq > 0):
        raise InputError("The transmission must lie above 0 and at most at 1, and the sensitivity above 0.")
    return (anterior * posterior / transmission).sqrt() / counts_per_bq
