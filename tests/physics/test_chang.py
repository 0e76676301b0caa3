"""Gains of an even body: those of a cylinder are known on paper."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.chang import chang_gains

SPACING, RADIUS_MM = (5.0, 3.0, 3.0), 60.0


def cylinder(n=61):
    y, x = (np.indices((n, n)) - (n - 1) / 2) * SPACING[1]
    return np.repeat((np.hypot(y, x) <= RADIUS_MM)[None], 2, axis=0)


def test_the_middle_of_a_cylinder_is_a_radius_deep_from_all_sides():
    gains = chang_gains(cylinder(), SPACING, mu_per_cm=0.15)
    assert gains[1, 30, 30] == pytest.approx(np.exp(0.15 * RADIUS_MM / 10), rel=0.02)
    assert gains[:, 0, 0] == pytest.approx(1.0, abs=0.2)
    assert chang_gains(cylinder(), SPACING, mu_per_cm=0.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("angle_deg", "nearest"), [(0.0, (16, 30)), (90.0, (30, 44)), (180.0, (44, 30))])
def test_a_view_sees_what_is_near_to_it(angle_deg, nearest):
    """0 from the front, which is y of zero; 90 from the left, which is the largest x."""
    gains = chang_gains(cylinder(), SPACING, mu_per_cm=0.15, first_deg=angle_deg, arc_deg=0.0, n_views=1)
    depth_mm = RADIUS_MM - 14 * SPACING[1]
    assert gains[0][nearest] == pytest.approx(np.exp(0.15 * depth_mm / 10), rel=0.03)
    opposite = tuple(60 - k for k in nearest)
    assert gains[0][opposite] == pytest.approx(np.exp(0.15 * (2 * RADIUS_MM - depth_mm) / 10), rel=0.03)


def test_a_negative_attenuation_is_refused():
    with pytest.raises(InputError, match=r"at least 0 /cm and a view; found -0\.1 and 32"):
        chang_gains(cylinder(), SPACING, mu_per_cm=-0.1)
