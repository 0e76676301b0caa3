import numpy as np
import pytest
import torch
from benchmarks.spect_scatter import follow, model

from nmsynth.core.errors import InputError
from nmsynth.physics.energy_window import EnergyWindow, side_windows
from nmsynth.physics.gamma_camera import (
    GammaCamera,
    GammaGrid,
    GammaProtocol,
    SpectReconstruction,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.materials import linear_attenuation
from nmsynth.physics.spect import SpectOrbit
from nmsynth.physics.spect_scatter import first_order_scatter, scatter_kernel
from nmsynth.physics.triple_window import triple_window_scatter
from tests.physics.test_projector import disc

WINDOW = EnergyWindow(140.5, 20.0)
WATER = linear_attenuation("water", 140.5)


def scatter(activity, mu, pixel_mm=6.0, **given):
    given = {"radionuclide": "Tc-99m", "window": WINDOW} | given
    orbit = SpectOrbit(2, radius_mm=160.0)
    return first_order_scatter(activity, mu, pixel_mm=pixel_mm, plane_mm=pixel_mm, orbit=orbit, response=None, **given)


def cylinder(n, pixel_mm, radius_mm=100.0, n_planes=20):
    return disc(n, pixel_mm, radius_mm).expand(-1, -1, n_planes).contiguous()


@pytest.mark.parametrize(("nuclide", "kev"), [("Tc-99m", 140.5), ("Lu-177", 208.4)])
def test_scatter_is_that_of_photons_followed_one_by_one(nuclide, kev):
    window = EnergyWindow(kev, 20.0)
    counts, _ = follow(nuclide, window, 3.0, 20_000, np.random.default_rng(1))
    assert model(nuclide, window, 3.0)[0] == pytest.approx(counts[1] / counts[0], rel=0.1)


def test_a_deeper_source_scatters_more():
    body = cylinder(32, 6.0, 80.0)
    near, far = torch.zeros_like(body), torch.zeros_like(body)
    near[6, 16, 10], far[25, 16, 10] = 1.0, 1.0  # the first view looks along rows from row 0
    mu = WATER * body
    ratio = [float(scatter(x, mu)[0].sum()) / np.exp(-WATER * depth / 10) for x, depth in ((near, 21.0), (far, 135.0))]
    assert ratio[1] > 2 * ratio[0] > 0


def test_air_scatters_nothing_and_scatter_is_linear():
    body = cylinder(32, 6.0, 80.0)
    assert float(scatter(body, 0 * body).abs().max()) == 0
    one, three = scatter(body, WATER * body), scatter(3 * body, WATER * body)
    assert torch.allclose(three, 3 * one, rtol=1e-4, atol=1e-4 * float(three.max()))


def test_scatter_does_not_depend_on_the_grid():
    coarse = scatter(cylinder(32, 6.0, 80.0), WATER * cylinder(32, 6.0, 80.0))
    fine_body = cylinder(64, 3.0, 80.0, 40)
    fine = scatter(fine_body, WATER * fine_body, pixel_mm=3.0)
    assert float(fine.sum()) / 4 == pytest.approx(float(coarse.sum()), rel=0.01)


def test_kernel_points_to_the_camera_and_a_narrow_window_takes_less():
    wide, narrow = (scatter_kernel("Tc-99m", EnergyWindow(140.5, w), (12.0, 12.0, 12.0)) for w in (20.0, 10.0))
    middle = wide.shape[0] // 2
    assert float(wide[:middle].sum()) > 3 * float(wide[middle + 1 :].sum())
    assert float(narrow.sum()) < 0.8 * float(wide.sum())
    assert torch.allclose(wide, wide.flip(1, 2), rtol=1e-9)


def test_a_cylinder_with_its_scatter_known_is_at_its_activity():
    body = cylinder(96, 3.0, 100.0, 8)
    scan = expected_gamma_scan(
        2e4 * body, WATER * body, fine_factor=2, camera=GammaCamera(window=WINDOW, scatter_model="compton"),
        protocol=GammaProtocol(), orbit=SpectOrbit(24, radius_mm=180.0), grid=GammaGrid(48, 6.0, 6.0),
    )  # fmt: skip
    image = reconstruct_spect(scan.prompts, scan, SpectReconstruction(8))[..., 1:3]
    inside = disc(48, 6.0, 80.0).expand_as(image) > 0.99
    assert float(image[inside].mean()) == pytest.approx(2e4, rel=0.02)
    assert 0.05 < float((scan.prompts - scan.primaries).sum() / scan.primaries.sum()) < 0.3


def test_scatter_from_three_windows_is_near_and_as_noisy_as_its_counts():
    body = cylinder(96, 3.0, 100.0, 8)
    scan = expected_gamma_scan(
        2e4 * body, WATER * body, fine_factor=2, protocol=GammaProtocol(), orbit=SpectOrbit(24, radius_mm=180.0),
        camera=GammaCamera(window=WINDOW, scatter_model="compton", side_window_percent=5.0),
        grid=GammaGrid(48, 6.0, 6.0),
    )  # fmt: skip
    scatter = scan.prompts - scan.primaries
    assert scan.side_weight == 2.0
    estimate = triple_window_scatter(scan)
    # the window below holds some of the photopeak, and the spectrum of scatter is no straight line
    assert 0.6 < float(estimate.sum() / scatter.sum()) < 1.4
    drawn = [triple_window_scatter(scan, torch.Generator().manual_seed(s), fwhm_mm=0.0) for s in range(40)]
    inner = np.s_[:, 18:30, 1:3]
    expected = (sum(scan.side_counts) * scan.side_weight**2)[inner].mean()
    assert float(torch.stack(drawn).var(0)[inner].mean()) == pytest.approx(float(expected), rel=0.1)
    image = reconstruct_spect(scan.prompts, scan, SpectReconstruction(8), scatter_estimate=estimate)[..., 1:3]
    assert float(image[disc(48, 6.0, 80.0).expand_as(image) > 0.99].mean()) == pytest.approx(2e4, rel=0.1)


def test_windows_need_scatter_by_energy():
    body = cylinder(96, 3.0, 100.0, 2)
    given = {"fine_factor": 2, "protocol": GammaProtocol(), "grid": GammaGrid(48, 6.0, 6.0)}
    given |= {"orbit": SpectOrbit(4, radius_mm=180.0)}
    with pytest.raises(InputError, match="'convolution'"):
        expected_gamma_scan(body, WATER * body, camera=GammaCamera(side_window_percent=5.0), **given)
    with pytest.raises(InputError, match="the camera has none"):
        triple_window_scatter(expected_gamma_scan(body, WATER * body, camera=GammaCamera(), **given))
    with pytest.raises(InputError, match="above 0 %"):
        side_windows(WINDOW, 0.0)


def test_a_window_without_photons_is_refused():
    with pytest.raises(InputError, match=r"must hold photons of Tc-99m; 208 keV"):
        scatter_kernel("Tc-99m", EnergyWindow(208.0, 10.0), (12.0, 12.0, 12.0))
