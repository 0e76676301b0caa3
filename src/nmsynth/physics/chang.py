"""First-order correction for attenuation in an even body, what a department without a CT has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.core.errors import InputError


def chang_gains(
    body: npt.ArrayLike,
    spacing_mm: tuple[float, float, float],
    *,
    mu_per_cm: float,
    first_deg: float = 0.0,
    arc_deg: float = 360.0,
    n_views: int = 32,
) -> npt.NDArray[np.float32]:
    r"""Gains that undo the mean attenuation over the views of a scan [Chang1978]_.

    .. math:: C(x) = \Bigl[\frac1N \sum_n e^{-\mu\, l_n(x)}\Bigr]^{-1}

    with :math:`l_n(x)` the way from a voxel to the surface of the body, in its slice, towards the camera at view n.
    Lungs count as the rest of the body: in a chest the coefficient is an effective one, below that of water.

    Parameters
    ----------
    body
        Shape ``(z, y, x)``, patient's axes: x to the left, y to the back; above one half counts.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].
    mu_per_cm
        Even attenuation [1/cm].
    first_deg, arc_deg
        Angle of the first view, 0 from the front and 90 from the patient's left, and what the views span [degrees].
    n_views
        Views that are averaged.

    Returns
    -------
        Shape ``(z, y, x)``, at least 1.

    Raises
    ------
    InputError
        If the coefficient is negative or not finite, or there is no view.

    References
    ----------
    .. [Chang1978] L. T. Chang, IEEE Trans Nucl Sci 25:638-643, 1978.
    """
    if not (np.isfinite(mu_per_cm) and mu_per_cm >= 0) or n_views < 1:
        raise InputError(
            "A correction for attenuation needs a coefficient of at least 0 /cm and a view; found "
            f"{mu_per_cm} and {n_views}. Correct them."
        )
    coefficients = (mu_per_cm,)
    return gains_of_coefficients(body, spacing_mm, coefficients, first_deg=first_deg, arc_deg=arc_deg, n_views=n_views)[
        0
    ]


def gains_of_coefficients(
    body: npt.ArrayLike,
    spacing_mm: tuple[float, float, float],
    mu_per_cm: Sequence[float],
    *,
    first_deg: float = 0.0,
    arc_deg: float = 360.0,
    n_views: int = 32,
) -> list[npt.NDArray[np.float32]]:
    """:func:`chang_gains` of several coefficients, for which the ways are found once."""
    inside = (np.asarray(body) > 0.5).astype(np.float32)
    survivals = [np.zeros(inside.shape, dtype=np.float64) for _ in mu_per_cm]
    for angle_deg in first_deg + arc_deg * (np.arange(n_views) + 0.5) / n_views:
        way_mm = _way_mm(inside, spacing_mm, float(angle_deg))
        for survival, mu in zip(survivals, mu_per_cm, strict=True):
            survival += np.exp(np.float32(-mu / 10.0) * way_mm)
    return [np.asarray(n_views / survival, dtype=np.float32) for survival in survivals]


def _way_mm(
    body: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float], angle_deg: float
) -> npt.NDArray[np.float32]:
    """Way within the body from each voxel towards the camera at an angle, shape of the body [mm]."""
    n_y, n_x = body.shape[1:]
    step = min(spacing_mm[1:])
    n = int(np.ceil(np.hypot(n_y * spacing_mm[1], n_x * spacing_mm[2]) / step)) + 2
    sine, cosine = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    # the first axis of the turned slice leads to the camera: x to the left by the sine, y to the front by the cosine
    turn = np.array([[-cosine, sine], [sine, cosine]])
    scale = np.array(spacing_mm[1:])
    to_body = turn.T / scale[:, None] * step
    back = np.linalg.inv(to_body)
    middle, turned_middle = (np.array([n_y, n_x]) - 1) / 2, np.full(2, (n - 1) / 2)
    found = np.empty_like(body)
    for z, plane in enumerate(body):
        turned = ndimage.affine_transform(
            plane, to_body, offset=middle - to_body @ turned_middle, output_shape=(n, n), order=1
        )
        beyond = step * (np.cumsum(turned[::-1], axis=0)[::-1] - turned / 2)
        found[z] = ndimage.affine_transform(
            beyond, back, offset=turned_middle - back @ middle, output_shape=plane.shape, order=1
        )
    return found
