import math
from dataclasses import replace

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.pet import Mismatch, PetProtocol, PetScanner, expected_scan
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from nmsynth.physics.psf import FWHM_PER_SIGMA
from nmsynth.physics.reconstruction import OsemSettings
from nmsynth.physics.time_of_flight import (
    TimeOfFlight,
    TimeOfFlightProjector,
    even_over_time,
    spread_over_time,
)
from tests.physics.properties import assert_adjoint, assert_linear
from tests.physics.test_projector import disc

N, PIXEL_MM = 40, 6.0
GEOMETRY = SinogramGeometry(n_views=32, n_bins=N, bin_mm=PIXEL_MM)
SCANNER = PetScanner(GEOMETRY, plane_mm=6.0, fwhm_mm=6.0, axial_fwhm_mm=0.0, mixing=0.0)
TIMED = replace(SCANNER, timing_ps=400.0)
SETTINGS = OsemSettings(n_pixels=N, pixel_mm=PIXEL_MM, plane_mm=6.0, n_iterations=2, n_subsets=4, filter_fwhm_mm=0.0,
                        axial_filter_fwhm_mm=0.0)  # fmt: skip
LEVEL = PetProtocol().bqml_per_suv
RADIUS_MM = 90.0


def scan(activity, mu_map, scanner, mismatch=Mismatch(), duration_s=150.0):  # noqa: B008
    return expected_scan(
        activity, mu_map, fine_pixel_mm=PIXEL_MM / 2, n_fine_planes=2, scanner=scanner,
        protocol=PetProtocol(duration_s=duration_s), settings=SETTINGS, mismatch=mismatch,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def cylinder(n_planes=1, hot=0.0):
    body = disc(2 * N, PIXEL_MM / 2, RADIUS_MM)
    activity = body + hot * disc(2 * N, PIXEL_MM / 2, 12.0)
    return activity.repeat(1, 1, 2 * n_planes), 0.096 * body.repeat(1, 1, 2 * n_planes)


def within(radius_mm):
    return (disc(N, PIXEL_MM, radius_mm) > 0.99)[..., 0]


def test_timing_is_a_distance_of_half_the_way_of_light():
    assert TimeOfFlight(500.0, 11, 30.0).fwhm_mm == pytest.approx(74.95, abs=0.01)
    assert TimeOfFlight(500.0, 4, 30.0).offsets_mm == (-45.0, -15.0, 15.0, 45.0)


def test_point_is_spread_along_its_line_by_the_kernel():
    timing = TimeOfFlight(400.0, 81, 5.0)
    image = torch.zeros(41, 41, 1)
    image[30, 20] = 1.0
    lines = TimeOfFlightProjector(41, 5.0, SinogramGeometry(2, 41, 5.0), timing).forward(image).sum(2)[..., 0]
    offsets = torch.tensor(timing.offsets_mm)
    along = lines[0] / lines[0].sum()
    mean = float((along * offsets).sum())
    assert mean == pytest.approx(50.0, abs=0.01)
    fwhm = 2.3548 * math.sqrt(float((along * (offsets - mean) ** 2).sum()) - 5.0**2 / 12)
    assert fwhm == pytest.approx(timing.fwhm_mm, rel=0.01)
    across = lines[1] / lines[1].sum()  # rays along x: the point lies in the middle of its line
    assert float((across * offsets).sum()) == pytest.approx(0.0, abs=0.01)


def test_sum_over_time_bins_is_the_projection_without_timing():
    image = torch.rand(N, N, 2, generator=torch.Generator().manual_seed(1)) * (disc(N, PIXEL_MM, 118.0) > 0)
    timing = TIMED.time_of_flight
    plain = SliceProjector(N, PIXEL_MM, GEOMETRY).forward(image)
    timed = TimeOfFlightProjector(N, PIXEL_MM, GEOMETRY, timing).forward(image)
    assert timed.shape == (32, timing.n_bins, N, 2)
    lost = 1 - timed.sum(1).sum() / plain.sum()
    assert 0 <= float(lost) < 1e-3  # what lies three standard deviations beyond the field
    seen = plain > 1.0
    assert float((timed.sum(1)[seen] / plain[seen] - 1).abs().max()) < 1.5e-3


def test_adjoint_is_exact_and_projection_linear():
    projector = TimeOfFlightProjector(16, 6.0, SinogramGeometry(8, 20, 5.0), TimeOfFlight(300.0, 7, 25.0), (0, 3, 5))
    assert_adjoint(projector, (16, 16, 3), (3, 7, 20, 3))
    assert_linear(projector, (16, 16, 3))


def test_parts_of_a_scan_keep_their_counts_over_time():
    activity, mu_map = cylinder()
    plain, timed = scan(activity, mu_map, SCANNER), scan(activity, mu_map, TIMED)
    assert torch.allclose(timed.prompts.sum(1), plain.prompts, rtol=2e-3, atol=1e-3 * float(plain.prompts.max()))
    assert torch.allclose(timed.background.sum(1), plain.background, rtol=2e-3)
    sinogram = torch.rand(3, 5, 2)
    assert torch.allclose(even_over_time(sinogram, 4).sum(1), sinogram)
    assert torch.allclose(spread_over_time(sinogram, torch.rand(3, 6, 5, 2)).sum(1), sinogram)
    assert torch.allclose(spread_over_time(sinogram, torch.zeros(3, 6, 5, 2)).sum(1), sinogram)


def test_cylinder_is_flat_at_its_activity_with_time_of_flight():
    image = reconstruct_fractions(
        scan(*cylinder(), TIMED), (None,), replace(SETTINGS, n_iterations=4), torch.Generator()
    )
    inside = image[0, 0][within(70.0)] / LEVEL
    assert float(inside.mean()) == pytest.approx(1.0, rel=0.02)
    assert float(inside.std()) < 0.02


def test_time_of_flight_converges_faster():
    """After the same few updates a hot rod in the middle of a cylinder is nearer to what it ends at."""
    reached = []
    for scanner in (SCANNER, TIMED):
        expected = scan(*cylinder(hot=3.0), scanner)
        contrast = []
        for n in (1, 40):
            settings = replace(SETTINGS, n_iterations=n, n_subsets=2)
            image = reconstruct_fractions(expected, (None,), settings, torch.Generator())[0, 0] / LEVEL
            contrast.append(float(image[within(8.0)].mean()) - float(image[within(60.0) & ~within(30.0)].mean()))
        reached.append(contrast[0] / contrast[1])
    assert reached[1] > 1.5 * reached[0]


def test_time_of_flight_lowers_the_variance_in_a_cylinder():
    """An event lies on ``L = 1 / integral of k^2 = 2 sqrt(pi) sigma`` of its line, instead of on the diameter ``D``.

    The variance in the middle of converged images of one resolution falls by about ``D / L``, here by 2.0.
    """
    variances = []
    for scanner in (SCANNER, TIMED):
        settings = replace(SETTINGS, n_iterations=24, filter_fwhm_mm=14.0)
        expected = scan(*cylinder(n_planes=8), replace(scanner, scatter_fraction=0.0, randoms_fraction=0.0))
        images = reconstruct_fractions(expected, (None, 1.0, 1.0, 1.0), settings, torch.Generator().manual_seed(2))
        variances.append(float((images[1:] - images[0])[..., within(40.0)].square().mean()))
    gain = 2 * RADIUS_MM / (2 * math.sqrt(math.pi) * TIMED.time_of_flight.fwhm_mm / FWHM_PER_SIGMA)
    assert variances[0] / variances[1] == pytest.approx(gain, rel=0.2)


def test_time_of_flight_is_robust_to_a_wrong_attenuation_map():
    errors = []
    for scanner in (SCANNER, TIMED):
        wrong = scan(*cylinder(), scanner, Mismatch(mu_shift_mm=(0.0, 12.0, 0.0)))
        right = scan(*cylinder(), scanner)
        settings = replace(SETTINGS, n_iterations=8)
        images = [reconstruct_fractions(s, (None,), settings, torch.Generator())[0, 0] for s in (wrong, right)]
        errors.append(float(((images[0] - images[1]) / LEVEL)[within(75.0)].square().mean().sqrt()))
    assert errors[1] < 0.8 * errors[0]


def test_impossible_timing_is_refused():
    with pytest.raises(InputError, match="above 0 ps"):
        TimeOfFlight(0.0, 5, 10.0)
    with pytest.raises(InputError, match="slices of 16 squared"):
        TimeOfFlightProjector(16, 6.0, GEOMETRY, TimeOfFlight(300.0, 3, 25.0)).forward(torch.ones(8, 8, 1))
