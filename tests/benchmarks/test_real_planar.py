"""Errors on measured views: differences are paired, and intervals draw whole views."""

import numpy as np
import pytest
from benchmarks.real_planar import summary


def rows(n_draws=8):
    """Two views of which one is hard; the model is 0.02 better in every draw of both."""
    rng = np.random.default_rng(0)
    found = []
    for view, level in enumerate((0.2, 0.6)):
        for seed in range(n_draws):
            error = level + 0.001 * rng.standard_normal()
            arms = {"synthetic": error - 0.02, "source": error + 0.1, "best Gaussian": error}
            found.append({"fraction": 0.25, "seed": seed, "view": view, "error": arms, "total_counts": 0.0})
    return found


def test_the_difference_is_paired():
    (line,) = summary(rows())
    assert line["synthetic less best Gaussian"] == pytest.approx([-0.02, -0.02, -0.02])
    assert line["synthetic less source"] == pytest.approx([-0.12, -0.12, -0.12])
    assert (line["n_views"], line["n_draws"]) == (2, 8)


def test_more_draws_of_the_same_views_narrow_nothing():
    few, many = (summary(rows(n))[0]["synthetic"] for n in (4, 40))
    assert few[1:] == pytest.approx(many[1:], abs=0.005)
    assert many[2] - many[1] > 0.3  # as far as the two views lie apart
