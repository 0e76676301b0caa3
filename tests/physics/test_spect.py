import math

import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.collimator import COLLIMATORS, Collimator, collimator_named
from nmsynth.physics.spect import CameraResponse, SpectOrbit, SpectProjector, check_clearance, contour_orbit
from tests.physics.properties import assert_adjoint, assert_linear
from tests.physics.test_projector import disc

LEHR = CameraResponse(COLLIMATORS["LEHR"])


def full_width(profile: torch.Tensor) -> float:
    """Samples at half of the maximum, interpolated."""
    half = float(profile.max()) / 2
    above = torch.nonzero(profile >= half)[:, 0]
    i, j = int(above[0]), int(above[-1])
    left = i - 1 + (half - float(profile[i - 1])) / float(profile[i] - profile[i - 1])
    right = j + (float(profile[j]) - half) / float(profile[j] - profile[j + 1])
    return right - left


@pytest.mark.parametrize("distance_mm", [50.0, 100.0, 200.0])
@pytest.mark.parametrize("name", ["LEHR", "HEGP"])
def test_line_source_has_the_width_of_the_formula(name, distance_mm):
    energy = 140.5 if name == "LEHR" else 208.4
    response = CameraResponse(COLLIMATORS[name], energy_kev=energy, intrinsic_fwhm_mm=3.5)
    n, n_planes = 128, 3
    orbit = SpectOrbit(1, radius_mm=distance_mm - 0.5)  # pixel 64 is half a pixel behind the axis
    projector = SpectProjector(n, 1.0, 1.0, orbit, response=response)
    line = torch.zeros(n, n, n_planes)
    line[n // 2, n // 2] = 1.0
    width = full_width(projector.forward(line)[0, :, 1])
    c = COLLIMATORS[name]
    length = c.hole_length_mm - 20 / {"LEHR": 26.92, "HEGP": 10.34}[name]
    geometric = c.hole_diameter_mm * (length + distance_mm) / length
    assert width == pytest.approx(math.hypot(geometric, 3.5), rel=0.03)


def test_adjoint_is_exact_and_the_map_linear():
    generator = torch.Generator().manual_seed(0)
    mu = 0.15 * torch.rand(20, 20, 4, generator=generator)
    radii = tuple(150.0 + 10 * v for v in range(6))
    projector = SpectProjector(20, 6.0, 5.0, SpectOrbit(6, radius_mm=radii), response=LEHR, mu_map=mu)
    assert_adjoint(projector, (20, 20, 4), (6, 20, 4))
    assert_linear(projector, (20, 20, 4))
    some = SpectProjector(20, 6.0, 5.0, SpectOrbit(6, radius_mm=radii), response=LEHR, mu_map=mu, views=(1, 4))
    x = torch.rand(20, 20, 4, generator=generator)
    assert torch.allclose(some.forward(x), projector.forward(x)[[1, 4]], rtol=1e-5)


def test_wide_steps_keep_their_variance():
    """Coarse rows of a steep collimator widen by more than one kernel of three samples can add."""
    steep = CameraResponse(Collimator("wide", hole_diameter_mm=6.0, hole_length_mm=20.0, septum_mm=1.0))
    orbit = SpectOrbit(1, radius_mm=200.0)
    line = torch.zeros(41, 41, 1)
    line[30, 20] = 1.0
    profile = SpectProjector(41, 8.0, 8.0, orbit, response=steep).forward(line.expand(-1, -1, 41).contiguous())
    row = profile[0, :, 20]
    bins = torch.arange(41) - 20.0
    variance = float((row * bins**2).sum() / row.sum()) * 64
    expected = (steep.fwhm_mm(200.0 + 10 * 8.0) / 2.3548) ** 2
    assert variance == pytest.approx(expected + 64 / 12, rel=0.05)


def test_attenuated_disc_sums_the_exponential():
    """A uniform disc seen through its centre: (1 - exp(-mu 2 R)) / mu."""
    mu, radius = 0.154, 80.0
    body = disc(128, 2.0, radius)
    projector = SpectProjector(128, 2.0, 2.0, SpectOrbit(4), mu_map=mu * body)
    middle = projector.forward(body)[:, 63:65, 0].mean(1)
    expected = (1 - math.exp(-mu * 2 * radius / 10)) / mu * 10
    assert torch.allclose(middle, torch.full((4,), expected), rtol=0.01)


def test_without_attenuation_and_response_it_is_scikit_images_radon():
    radon = pytest.importorskip("skimage.transform").radon
    image = disc(63, 1.0, 12.0, (8.0, -6.0)) + 0.5 * disc(63, 1.0, 25.0)
    ours = SpectProjector(63, 1.0, 1.0, SpectOrbit(20, arc_deg=180.0)).forward(image)[..., 0].numpy()
    theirs = radon(image[..., 0].numpy(), theta=[-9.0 * view for view in range(20)], circle=True).T
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_camera_in_front_sees_the_front():
    image = torch.zeros(33, 33, 1)
    image[4, 16] = 1.0
    mu = torch.full((33, 33, 1), 0.1)
    orbit = SpectOrbit(2, arc_deg=360.0, radius_mm=120.0)
    front, back = SpectProjector(33, 5.0, 5.0, orbit, response=LEHR, mu_map=mu).forward(image)
    assert float(front.sum()) > 3 * float(back.sum())
    assert float(front.max() / front.sum()) > float(back.max() / back.sum())


def test_quarter_turn_looks_from_the_left():
    image = torch.zeros(33, 33, 1)
    image[10, 25] = 1.0
    views = SpectProjector(33, 5.0, 5.0, SpectOrbit(4)).forward(image)[..., 0]
    assert [int(v.argmax()) for v in views] == [25, 10, 7, 22]


def test_efficiency_does_not_depend_on_distance_and_penetration_is_small_where_it_should():
    lehr, hegp = COLLIMATORS["LEHR"], COLLIMATORS["HEGP"]
    assert lehr.efficiency(140.5) == pytest.approx(1.2e-4, rel=0.05)
    assert lehr.penetration(140.5) < 0.02 < 0.15 < lehr.penetration(208.4)
    assert hegp.penetration(208.4) < 0.001


def test_impossible_cameras_are_refused():
    with pytest.raises(InputError, match="one of LEHR"):
        collimator_named("LEXX")
    with pytest.raises(InputError, match="must stop"):
        Collimator("thin", hole_diameter_mm=1.0, hole_length_mm=5.0, septum_mm=0.2).effective_length_mm(511.0)
    with pytest.raises(InputError, match="in front"):
        COLLIMATORS["LEHR"].resolution_fwhm_mm(-1.0, 140.5)
    with pytest.raises(InputError, match="above 0 mm"):
        Collimator("none", hole_diameter_mm=0.0, hole_length_mm=24.0, septum_mm=0.2)
    with pytest.raises(InputError, match="a radius above 0"):
        SpectOrbit(3, radius_mm=(100.0, 100.0))
    with pytest.raises(InputError, match="at least one view"):
        SpectOrbit(0)
    with pytest.raises(InputError, match="slices of 8"):
        SpectProjector(8, 1.0, 1.0, SpectOrbit(4)).forward(torch.zeros(9, 9, 1))
    with pytest.raises(InputError, match="not negative"):
        SpectProjector(8, 1.0, 1.0, SpectOrbit(4), mu_map=torch.full((8, 8, 1), -0.1))


def test_contour_orbit_keeps_its_gap_to_a_shifted_ellipse():
    axis = (torch.arange(64) - 31.5) * 4.0
    y, x = axis[:, None], axis[None]
    body = (((y - 10) / 60) ** 2 + ((x + 8) / 90) ** 2 <= 1).float()[..., None] * 0.15
    orbit = contour_orbit(SpectOrbit(4), body, 4.0, gap_mm=20.0)
    assert orbit.radii_mm == pytest.approx((60 - 10 + 20, 90 - 8 + 20, 60 + 10 + 20, 90 + 8 + 20), abs=4.0)
    check_clearance(orbit, body, 4.0)


def test_camera_inside_the_body_is_refused():
    body = 0.15 * disc(64, 4.0, 100.0)
    check_clearance(SpectOrbit(8, radius_mm=105.0), body, 4.0)
    with pytest.raises(InputError, match="outside the body"):
        check_clearance(SpectOrbit(8, radius_mm=80.0), body, 4.0)
    with pytest.raises(InputError, match="holds none"):
        contour_orbit(SpectOrbit(8), 0 * body, 4.0)
