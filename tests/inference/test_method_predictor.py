"""Windows of a method cover an image of any size."""

import numpy as np
import pytest

from nmsynth.inference.method_predictor import plan_windows
from tests.models.method_packages import make_plan


@pytest.mark.parametrize(("width", "stride"), [(8, 4), (8, 8), (16, 8), (24, 8), (32, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_windows_leave_no_voxel_out(width, stride, overlap):
    plan = make_plan(patch=(width, 8, 8))
    for n in range(1, 200):
        seen = np.zeros(n, dtype=bool)
        for window, _, _ in plan_windows((n, 8, 8), plan, overlap, aligned=(stride, 1, 1)):
            assert window.start % stride == 0 or window.stop == n
            seen[window] = True
        assert seen.all()
