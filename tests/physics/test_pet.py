import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.data.scan import ReferenceScan
from nmsynth.data.simulation import FINE, fine_grid
from nmsynth.physics.attenuation import attenuation_factors
from nmsynth.physics.noise import poisson, thin
from nmsynth.physics.pet import ExpectedScan, Mismatch, PetProtocol, PetScanner, expected_scan, with_attenuation
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from nmsynth.physics.psf import GaussianBlur, PlaneMixing
from nmsynth.physics.reconstruction import OsemSettings, osem

GEOMETRY = SinogramGeometry(n_views=48, n_bins=48, bin_mm=6.0)
SETTINGS = OsemSettings(
    n_pixels=48, pixel_mm=6.0, plane_mm=6.0, n_iterations=4, n_subsets=8, filter_fwhm_mm=6.0, axial_filter_fwhm_mm=0.0
)
SCANNER = PetScanner(GEOMETRY, plane_mm=6.0, fwhm_mm=6.0, axial_fwhm_mm=0.0, mixing=0.0)


def cylinder(radius_mm: float, n: int = 96, pixel_mm: float = 3.0) -> torch.Tensor:
    axis = (np.arange(n) - (n - 1) / 2) * pixel_mm
    inside = axis[:, None] ** 2 + axis[None] ** 2 <= radius_mm**2
    return torch.from_numpy(inside.astype(np.float32))[..., None].repeat(1, 1, 8)


def expected_of(
    activity: torch.Tensor,
    mu_map: torch.Tensor,
    *,
    scanner: PetScanner = SCANNER,
    protocol: PetProtocol = PetProtocol(),  # noqa: B008
    fine_pixel_mm: float = 3.0,
) -> ExpectedScan:
    return expected_scan(
        activity,
        mu_map,
        fine_pixel_mm=fine_pixel_mm,
        n_fine_planes=2,
        scanner=scanner,
        protocol=protocol,
        settings=SETTINGS,
        mismatch=Mismatch(),
        generator=torch.Generator(),
    )


def scan(mismatch: Mismatch = Mismatch(), protocol: PetProtocol = PetProtocol(), seed: int = 0):  # noqa: B008
    body = cylinder(100.0)
    return expected_scan(
        2.0 * body,
        0.096 * body,
        fine_pixel_mm=3.0,
        n_fine_planes=2,
        scanner=SCANNER,
        protocol=protocol,
        settings=SETTINGS,
        mismatch=mismatch,
        generator=torch.Generator().manual_seed(seed),
    )


def centre_of(image: torch.Tensor, radius_mm: float = 60.0) -> torch.Tensor:
    inside = cylinder(radius_mm, 48, 6.0)[..., 0] > 0
    return image[..., inside]


def test_water_attenuates_exponentially():
    body = cylinder(100.0, 96, 3.0)[..., :1]
    factors = attenuation_factors(0.096 * body, SliceProjector(96, 3.0, SinogramGeometry(4, 97, 3.0)))
    assert float(factors[:, 48].mean()) == pytest.approx(math.exp(-0.096 * 20.0), rel=0.02)


def test_matched_cylinder_is_flat_at_its_true_concentration():
    protocol = PetProtocol()
    image = reconstruct_fractions(scan(), (None,), SETTINGS, torch.Generator())[0]
    inside = centre_of(image) / protocol.bqml_per_suv
    assert float(inside.mean()) == pytest.approx(2.0, rel=0.02)
    assert float(inside.std() / inside.mean()) < 0.02


def test_wrong_scatter_biases_the_image():
    low = reconstruct_fractions(scan(Mismatch(scatter_scale=0.7)), (None,), SETTINGS, torch.Generator())[0]
    high = reconstruct_fractions(scan(Mismatch(scatter_scale=1.3)), (None,), SETTINGS, torch.Generator())[0]
    assert float(centre_of(low).mean()) > 1.05 * float(centre_of(high).mean())


def test_variance_grows_as_counts_fall():
    protocol = PetProtocol(duration_s=1000.0)
    images = reconstruct_fractions(
        scan(protocol=protocol), (None, *([1.0] * 6), *([0.25] * 6)), SETTINGS, torch.Generator().manual_seed(5)
    )
    noise = centre_of(images - images[0])
    ratio = float(noise[7:].var() / noise[1:7].var())
    assert 3.2 < ratio < 4.8


def test_counts_follow_activity_and_time():
    base, double = scan(), scan(protocol=PetProtocol(injected_activity_bq=600e6))
    assert float(double.prompts.sum() / base.prompts.sum()) == pytest.approx(2.0, rel=1e-4)
    assert PetProtocol(duration_s=1e-3).mean_decay == pytest.approx(1.0)
    assert PetProtocol(duration_s=6586.2).mean_decay == pytest.approx(0.5 / math.log(2), rel=1e-6)


def test_suv_one_is_activity_per_gram_after_decay():
    protocol = PetProtocol(injected_activity_bq=350e6, body_mass_kg=70.0, uptake_time_s=6586.2)
    assert protocol.bqml_per_suv == pytest.approx(2500.0)


def test_likelihood_never_falls_with_one_subset():
    expected = scan()
    counts = poisson(expected.prompts, torch.Generator().manual_seed(1))
    projector = SliceProjector(48, 6.0, GEOMETRY)
    previous = -math.inf
    for n in (1, 2, 3, 5, 8):
        settings = OsemSettings(n_pixels=48, pixel_mm=6.0, plane_mm=6.0, n_iterations=n, n_subsets=1)
        image = osem(counts, expected.background, expected.efficiency, GEOMETRY, settings, filtered=False)
        mean = (expected.efficiency * projector.forward(image) + expected.background).clamp_min(1e-12).double()
        likelihood = float((counts * mean.log() - mean).sum())
        assert likelihood > previous
        previous = likelihood


def test_empty_phantom_gives_an_empty_image():
    empty = torch.zeros(96, 96, 8)
    expected = expected_scan(
        empty,
        empty,
        fine_pixel_mm=3.0,
        n_fine_planes=2,
        scanner=SCANNER,
        protocol=PetProtocol(),
        settings=SETTINGS,
        mismatch=Mismatch(),
        generator=torch.Generator(),
    )
    image = reconstruct_fractions(expected, (None, 1.0), SETTINGS, torch.Generator())
    assert torch.isfinite(image).all()
    assert float(image.abs().max()) == 0.0


def test_coarse_data_grid_is_refused():
    body = cylinder(100.0, 48, 6.0)
    with pytest.raises(InputError, match="finer than the reconstruction's"):
        expected_scan(
            body,
            body,
            fine_pixel_mm=6.0,
            n_fine_planes=2,
            scanner=SCANNER,
            protocol=PetProtocol(),
            settings=SETTINGS,
            mismatch=Mismatch(),
            generator=torch.Generator(),
        )


def test_negative_expectation_is_refused():
    with pytest.raises(InputError, match="finite and not negative"):
        poisson(torch.tensor([-1.0]), torch.Generator())


def test_thinning_has_binomial_statistics():
    counts = torch.full((20000,), 40.0)
    kept = thin(counts, 0.25, torch.Generator().manual_seed(2))
    assert float(kept.mean()) == pytest.approx(10.0, rel=0.02)
    assert float(kept.var()) == pytest.approx(7.5, rel=0.05)
    with pytest.raises(InputError, match="above 0"):
        thin(counts, 0.0, torch.Generator())


@pytest.mark.parametrize("field", ["injected_activity_bq", "body_mass_kg", "duration_s"])
def test_impossible_protocol_is_refused(field):
    with pytest.raises(InputError, match="must be above 0"):
        PetProtocol(**{field: 0.0})


def test_levels_reconstructed_together_equal_levels_alone():
    expected = scan()
    together = reconstruct_fractions(expected, (None, 0.002), SETTINGS, torch.Generator().manual_seed(3))
    alone = reconstruct_fractions(expected, (0.002,), SETTINGS, torch.Generator().manual_seed(3))
    assert torch.allclose(together[1], alone[0], rtol=1e-4, atol=1e-3 * float(alone.max()))


def test_counts_are_those_of_the_activity_in_the_field():
    scanner = PetScanner(
        GEOMETRY, plane_mm=6.0, fwhm_mm=6.0, axial_fwhm_mm=0.0, mixing=0.3, scatter_fraction=0.0, randoms_fraction=0.0
    )
    protocol = PetProtocol()
    body = cylinder(100.0)
    expected = expected_of(2.0 * body, 0.0 * body, scanner=scanner, protocol=protocol)
    volume_ml = float(body.sum()) * 3.0**3 / 1000.0
    decays = 2.0 * protocol.bqml_per_suv * volume_ml * protocol.duration_s * protocol.mean_decay
    assert float(expected.prompts.sum()) == pytest.approx(scanner.sensitivity * decays, rel=1e-3)


def test_scatter_and_randoms_are_the_stated_shares():
    body = cylinder(100.0)
    alone = PetScanner(
        GEOMETRY, plane_mm=6.0, fwhm_mm=6.0, axial_fwhm_mm=0.0, scatter_fraction=0.0, randoms_fraction=0.0
    )
    trues = float(expected_of(body, 0.096 * body, scanner=alone).prompts.sum())
    scatter = float(expected_of(body, 0.096 * body, scanner=replace(alone, scatter_fraction=0.4)).prompts.sum())
    randoms = float(expected_of(body, 0.096 * body, scanner=replace(alone, randoms_fraction=0.2)).prompts.sum())
    assert (scatter - trues) / scatter == pytest.approx(0.4, rel=1e-3)
    assert (randoms - trues) / randoms == pytest.approx(0.2, rel=1e-3)


def test_nothing_is_ever_negative():
    expected = scan(Mismatch(scatter_scale=1.3, randoms_noise=0.5))
    for part in (expected.prompts, expected.background, expected.efficiency):
        assert float(part.min()) >= 0
    images = reconstruct_fractions(expected, (None, 1.0, 0.001), SETTINGS, torch.Generator().manual_seed(4))
    assert float(images.min()) >= 0
    assert torch.isfinite(images).all()


def test_noise_free_data_are_no_projection_of_the_reconstructions_grid():
    body = cylinder(100.0)
    expected = expected_of(body, 0.0 * body, scanner=replace(SCANNER, scatter_fraction=0.0, randoms_fraction=0.0))
    own = SliceProjector(48, 6.0, GEOMETRY)
    coarse = body.reshape(48, 2, 48, 2, 4, 2).mean((1, 3, 5)) * PetProtocol().bqml_per_suv
    projected = own.forward(GaussianBlur((6.0, 6.0, 0.0), (6.0, 6.0, 6.0)).forward(coarse)) * expected.efficiency
    difference = (expected.prompts - projected)[..., 2]
    assert 1e-3 < float(difference.norm() / projected[..., 2].norm()) < 0.05


@pytest.mark.parametrize(("pixel_mm", "n"), [(6.0, 48), (4.0, 72)])
def test_grids_not_finer_by_a_whole_factor_of_two_are_refused(pixel_mm, n):
    body = cylinder(100.0, n, pixel_mm)
    with pytest.raises(InputError, match="whole factor of at least 2"):
        expected_of(body, body, fine_pixel_mm=pixel_mm)


def test_every_scan_is_generated_on_a_grid_at_least_twice_as_fine():
    assert FINE >= 2
    draw = ReferenceScan().draw(75.0, (1.0,), np.random.default_rng(0))
    grid = fine_grid(draw, n_planes=4, start_mm=0.0)
    spacing = (draw.osem.plane_mm, draw.osem.pixel_mm, draw.osem.pixel_mm)
    assert all(2 * fine <= coarse for fine, coarse in zip(grid.spacing_mm, spacing, strict=True))


@pytest.mark.parametrize("wanted", [0.0, 0.2, 0.35, 0.6])
def test_mixing_of_planes_gives_the_images_noise_its_axial_correlation(wanted):
    scanner = replace(SCANNER, mixing=PlaneMixing.fraction_for_correlation(wanted))
    body = cylinder(100.0).repeat(1, 1, 3)
    expected = expected_of(2.0 * body, 0.096 * body, scanner=scanner, protocol=PetProtocol(duration_s=1000.0))
    images = reconstruct_fractions(expected, (None, *([1.0] * 4)), SETTINGS, torch.Generator().manual_seed(2))
    noise = centre_of(images[1:] - images[0])[:, 1:-1]  # (scan, plane, voxel) without the end planes
    correlation = float((noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean())
    assert correlation == pytest.approx(wanted, abs=0.06)


def test_mixing_keeps_the_mean_of_the_image():
    plain = reconstruct_fractions(scan(), (None,), SETTINGS, torch.Generator())[0]
    body = cylinder(100.0)
    mixed = expected_of(2.0 * body, 0.096 * body, scanner=replace(SCANNER, mixing=0.2))
    image = reconstruct_fractions(mixed, (None,), SETTINGS, torch.Generator())[0]
    assert float(centre_of(image).mean()) == pytest.approx(float(centre_of(plain).mean()), rel=0.005)


def test_resolution_model_sharpens_edges():
    body = cylinder(30.0)
    expected = expected_of(body, 0.0 * body)
    modelled = replace(SETTINGS, resolution_fwhm_mm=6.0, n_iterations=8)
    plain = reconstruct_fractions(
        expected, (None,), replace(SETTINGS, n_iterations=8), torch.Generator(), filtered=False
    )
    sharp = reconstruct_fractions(expected, (None,), modelled, torch.Generator(), filtered=False)
    slopes = [float(image[0, 2, 24].diff().abs().max()) for image in (plain, sharp)]
    assert slopes[1] > 1.05 * slopes[0]


def test_without_attenuation_correction_the_middle_is_low_and_the_counts_are_the_same():
    given = scan()
    both = [
        reconstruct_fractions(
            given, (1.0,), SETTINGS, torch.Generator().manual_seed(5), attenuation_corrected=corrected
        )[0]
        for corrected in (True, False)
    ]
    level = PetProtocol().bqml_per_suv
    rim = (cylinder(90.0, 48, 6.0)[..., 0] > 0) & (cylinder(75.0, 48, 6.0)[..., 0] == 0)
    corrected, plain = ((float(centre_of(i, 40.0).mean()) / level, float(i[..., rim].mean()) / level) for i in both)
    assert corrected[0] == pytest.approx(2.0, rel=0.05)
    assert plain[0] < 0.6 * plain[1] < 0.6 * corrected[1]


def test_another_map_misleads_the_same_counts():
    mismatch = Mismatch(mu_shift_mm=(2.0, -1.0, 0.0))
    given, coarse = scan(mismatch), 0.096 * cylinder(100.0, 48, 6.0)[..., ::2]
    settings = {"settings": SETTINGS, "mismatch": mismatch}

    def image(believed):
        """Mean of the middle by what is believed, the counts being the same."""
        found = reconstruct_fractions(believed, (1.0,), SETTINGS, torch.Generator().manual_seed(5))
        return float(centre_of(found[0], 30.0).mean())

    own, half = image(given), image(with_attenuation(given, coarse / 2, **settings))
    # the reconstruction's own idea of the edge, pixel by pixel, is not the mean over fine ones
    assert image(with_attenuation(given, coarse, **settings)) == pytest.approx(own, rel=0.02)
    # a line through the middle passes 20 cm, of which half the attenuation is not corrected for
    assert half < 0.5 * own
    assert image(with_attenuation(given, coarse, **settings)) > half


def test_a_map_of_another_grid_or_below_zero_is_refused():
    given = scan()
    with pytest.raises(InputError, match=r"must have the shape .48, 48, 4. of the reconstruction; found .8, 8, 4."):
        with_attenuation(given, torch.zeros(8, 8, 4), settings=SETTINGS, mismatch=Mismatch())
    with pytest.raises(InputError, match="not negative"):
        with_attenuation(given, -torch.ones(48, 48, 4), settings=SETTINGS, mismatch=Mismatch())
