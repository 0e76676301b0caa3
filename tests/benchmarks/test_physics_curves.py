"""The cost curves run on tiny sizes, and the width of an edge is what it should be."""

import numpy as np
import pytest
from benchmarks.physics_curves import TINY, cost_curves, draw_curves
from benchmarks.spect_realism import edge_width
from scipy import ndimage


def test_every_panel_has_a_time_for_each_size_and_is_drawn(tmp_path):
    panels = cost_curves(TINY, times=1)
    assert [[p["x"] for p in points] for points in panels.values()] == [[16, 24], [16, 24], [6, 12], [1, 2]]
    assert all(p[name] > 0 for points in panels.values() for p in points for name in ("forward", "adjoint"))
    draw_curves(panels, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("fwhm_mm", [6.0, 10.0])
def test_edge_of_a_blurred_ball_is_as_wide_as_its_gaussian(fwhm_mm):
    axis = np.arange(48) * 3.0 - 70.5
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    ball = ndimage.gaussian_filter((radius < 40).astype(np.float32), fwhm_mm / 2.3548 / 3.0) + 0.05
    found = edge_width(ball, (3.0, 3.0, 3.0), np.ones(ball.shape, bool))
    assert found == pytest.approx(1.06 * np.hypot(fwhm_mm, 4.0), rel=0.12)
