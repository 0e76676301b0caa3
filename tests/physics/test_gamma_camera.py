import itertools

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.energy_window import EnergyWindow, photons_per_decay
from nmsynth.physics.gamma_camera import (
    GammaCamera,
    GammaGrid,
    GammaMismatch,
    GammaProtocol,
    SpectReconstruction,
    draw_counts,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.ordered_subsets import WeightedOperator, log_likelihood, ordered_subsets
from nmsynth.physics.spect import SpectOrbit, SpectProjector
from tests.physics.test_projector import disc

GRID = GammaGrid(n_pixels=48, pixel_mm=6.0, plane_mm=6.0)
ORBIT = SpectOrbit(24, radius_mm=180.0)
ACTIVITY = 20_000.0


def cylinder(mismatch=None, *, n_planes=4, camera=None):
    body = disc(96, 3.0, 100.0).expand(-1, -1, 2 * n_planes).contiguous()
    return expected_gamma_scan(
        ACTIVITY * body, 0.154 * body, fine_factor=2, camera=camera or GammaCamera(), protocol=GammaProtocol(),
        orbit=ORBIT, grid=GRID, mismatch=mismatch,
    )  # fmt: skip


def inner_mean(image, radius_mm):
    return float(image[disc(48, 6.0, radius_mm).expand_as(image) > 0.99].mean())


def test_cylinder_is_flat_and_at_its_activity():
    scan = cylinder()
    image = reconstruct_spect(scan.prompts, scan, SpectReconstruction(n_iterations=8))[..., 1:3]
    assert inner_mean(image, 80.0) == pytest.approx(ACTIVITY, rel=0.02)
    assert inner_mean(image, 35.0) == pytest.approx(inner_mean(image, 80.0), rel=0.02)


def test_without_attenuation_correction_the_middle_is_low():
    scan = cylinder()
    settings = SpectReconstruction(n_iterations=8, with_attenuation=False)
    image = reconstruct_spect(scan.prompts, scan, settings)[..., 1:3]
    rim = ((disc(48, 6.0, 90.0) > 0.99) & (disc(48, 6.0, 75.0) < 0.01)).expand_as(image)
    assert inner_mean(image, 25.0) < 0.75 * float(image[rim].mean()) < 0.5 * ACTIVITY


def test_scatter_left_in_raises_the_activity():
    scan = cylinder()
    image = reconstruct_spect(scan.prompts, scan, SpectReconstruction(n_iterations=8, with_scatter=False))[..., 1:3]
    assert inner_mean(image, 80.0) > 1.15 * ACTIVITY


def test_wrong_scatter_biases_as_its_share():
    scan = cylinder(GammaMismatch(scatter_scale=0.85))
    image = reconstruct_spect(scan.prompts, scan, SpectReconstruction(n_iterations=8))[..., 1:3]
    assert 1.01 < inner_mean(image, 80.0) / ACTIVITY < 1.1


def test_counts_are_activity_times_sensitivity_times_time():
    """In air every decay within the field is counted with the same chance at each view."""
    body = disc(96, 3.0, 60.0).expand(-1, -1, 8).contiguous()
    camera = GammaCamera(scatter_fraction=0.0)
    scan = expected_gamma_scan(
        ACTIVITY * body, 0.0 * body, fine_factor=2, camera=camera, protocol=GammaProtocol(seconds_per_view=10.0),
        orbit=ORBIT, grid=GRID,
    )  # fmt: skip
    decays = float((ACTIVITY * body).sum()) * 3.0**3 / 1000.0 * 10.0
    expected = decays * camera.counts_per_decay("Tc-99m")
    per_view = scan.prompts.sum((1, 2))
    # a fifth leaves the few planes at their ends; what is lost is the same at each view
    assert torch.allclose(per_view, per_view.mean().expand_as(per_view), rtol=0.01)
    assert 0.6 * expected < float(per_view.mean()) <= expected


def test_likelihood_never_falls_with_one_subset():
    scan = cylinder(n_planes=1)
    counts = draw_counts(scan, torch.Generator().manual_seed(0))
    system = WeightedOperator(
        torch.tensor(scan.counts_per_value),
        SpectProjector(48, 6.0, 6.0, ORBIT, response=scan.believed_response, mu_map=scan.believed_mu_map),
    )
    reached = []
    ordered_subsets(
        torch.full((48, 48, 1), ACTIVITY), [system], [counts], [scan.scatter_estimate], n_iterations=8,
        after_each=lambda x: reached.append(log_likelihood(x, [system], [counts], [scan.scatter_estimate])),
    )  # fmt: skip
    assert all(later >= earlier - 1e-6 * abs(earlier) for earlier, later in itertools.pairwise(reached))
    assert reached[-1] > reached[0]


def test_variance_follows_the_counts():
    scan = cylinder()
    settings = SpectReconstruction(n_iterations=2, filter_fwhm_mm=10.0)
    found = []
    for fraction in (1.0, 0.25):
        images = [
            reconstruct_spect(
                draw_counts(scan, torch.Generator().manual_seed(seed), count_fraction=fraction), scan, settings,
                count_fraction=fraction,
            )[..., 1:3]
            for seed in range(6)
        ]  # fmt: skip
        stack = torch.stack(images)
        inside = (disc(48, 6.0, 70.0) > 0.99)[..., 0]
        found.append(float(stack.var(0)[inside].mean()))
        assert float(stack.mean(0)[inside].mean()) == pytest.approx(ACTIVITY, rel=0.05)
    assert found[1] / found[0] == pytest.approx(4.0, rel=0.2)


def test_views_that_are_left_out_are_not_looked_at():
    scan = cylinder()
    settings = SpectReconstruction(n_iterations=4, n_subsets=4, every_view=3)
    found = reconstruct_spect(scan.prompts, scan, settings)
    spoilt = torch.full_like(scan.prompts, 1e6)
    spoilt[::3] = scan.prompts[::3]
    assert torch.equal(reconstruct_spect(spoilt, scan, settings), found)
    whole = reconstruct_spect(scan.prompts, scan, SpectReconstruction(n_iterations=4, n_subsets=4))
    assert inner_mean(found[..., 1:3], 60) == pytest.approx(inner_mean(whole[..., 1:3], 60), rel=0.05)


def test_no_counts_give_an_empty_image():
    scan = cylinder(n_planes=1)
    image = reconstruct_spect(torch.zeros_like(scan.prompts), scan, SpectReconstruction(n_iterations=2))
    assert bool(torch.isfinite(image).all())
    assert float(image.max()) < 1.0


def test_window_holds_the_peak_it_is_set_on():
    assert EnergyWindow(140.5, 20.0).share(140.5) == pytest.approx(0.987, abs=0.005)
    assert EnergyWindow(140.5, 20.0).share(208.4) < 0.001
    assert photons_per_decay("Lu-177", EnergyWindow(208.4, 20.0)) == pytest.approx(0.1038, rel=0.02)
    assert photons_per_decay("Lu-177", EnergyWindow(112.9, 20.0)) == pytest.approx(0.0623, rel=0.03)


def test_impossible_scans_are_refused():
    body = torch.ones(96, 96, 2)
    given = {"camera": GammaCamera(), "protocol": GammaProtocol(), "orbit": ORBIT, "grid": GRID}
    with pytest.raises(InputError, match="finer than"):
        expected_gamma_scan(torch.ones(48, 48, 2), torch.ones(48, 48, 2), fine_factor=1, **given)
    with pytest.raises(InputError, match="share a grid"):
        expected_gamma_scan(body, torch.ones(96, 96, 4), fine_factor=2, **given)
    with pytest.raises(InputError, match="not negative"):
        expected_gamma_scan(-body, 0 * body, fine_factor=2, **given)
    with pytest.raises(InputError, match="longer than 0"):
        GammaProtocol(seconds_per_view=0.0)
    with pytest.raises(InputError, match="must be one of"):
        photons_per_decay("F-18", EnergyWindow(140.5))
    with pytest.raises(InputError, match="energy window"):
        EnergyWindow(0.0)
    scan = cylinder(n_planes=1)
    with pytest.raises(InputError, match="above 0"):
        draw_counts(scan, torch.Generator(), count_fraction=0.0)
