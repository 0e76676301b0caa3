"""Bad input to the physics of PET, SPECT and planar imaging: a clear error or a correct empty image, never a NaN."""

import math
from dataclasses import replace

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.collimator import collimator_named
from nmsynth.physics.displacement import BodyMotion
from nmsynth.physics.energy_window import EnergyWindow, photons_per_decay
from nmsynth.physics.gamma_camera import (
    GammaCamera,
    GammaGrid,
    GammaProtocol,
    SpectReconstruction,
    draw_counts,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.noise import thin
from nmsynth.physics.pet import Mismatch, PetProtocol, PetScanner, expected_scan
from nmsynth.physics.pet_penalised import reconstruct_penalised
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.planar import conjugate_view_activity, planar_views
from nmsynth.physics.projector import SinogramGeometry
from nmsynth.physics.reconstruction import OsemSettings, osem
from nmsynth.physics.spect import SpectOrbit, SpectProjector
from nmsynth.physics.time_of_flight import TimeOfFlight
from tests.physics.test_projector import disc

N, PIXEL_MM = 16, 8.0
GEOMETRY = SinogramGeometry(12, N, PIXEL_MM)
SCANNER = PetScanner(GEOMETRY, plane_mm=8.0)
SETTINGS = OsemSettings(n_pixels=N, pixel_mm=PIXEL_MM, plane_mm=8.0, n_iterations=2, n_subsets=3)
BODY = disc(2 * N, PIXEL_MM / 2, 45.0).repeat(1, 1, 4)
WITH_NAN = BODY.clone()
WITH_NAN[3, 3, 1] = math.nan
ORBIT = SpectOrbit(6, radius_mm=90.0)
GRID = GammaGrid(n_pixels=N, pixel_mm=PIXEL_MM, plane_mm=PIXEL_MM)


def pet(activity=BODY, mu_map=0.096 * BODY, *, fine_pixel_mm=PIXEL_MM / 2, n_fine_planes=2, scanner=SCANNER,
        settings=SETTINGS, protocol=PetProtocol()):  # noqa: B008  # fmt: skip
    return expected_scan(
        activity, mu_map, fine_pixel_mm=fine_pixel_mm, n_fine_planes=n_fine_planes, scanner=scanner, protocol=protocol,
        settings=settings, mismatch=Mismatch(), generator=torch.Generator(),
    )  # fmt: skip


def spect(activity=BODY, mu_map=0.154 * BODY, *, fine_factor=2, orbit=ORBIT, camera=GammaCamera(),  # noqa: B008
          protocol=GammaProtocol()):  # noqa: B008  # fmt: skip
    return expected_gamma_scan(
        activity, mu_map, fine_factor=fine_factor, camera=camera, protocol=protocol, orbit=orbit, grid=GRID
    )


PET_CASES = {
    "negative activity": (lambda: pet(-BODY), "Activity must be finite and not negative"),
    "NaN activity": (lambda: pet(WITH_NAN), "Activity must be finite and not negative"),
    "infinite activity": (lambda: pet(BODY / 0.0), "Activity must be finite and not negative"),
    "negative attenuation": (lambda: pet(mu_map=-BODY), "Attenuation must be finite and not negative"),
    "NaN attenuation": (lambda: pet(mu_map=WITH_NAN), "Attenuation must be finite and not negative"),
    "attenuation on another grid": (lambda: pet(mu_map=BODY[..., :2]), "share a grid of whole planes; found shapes"),
    "parts of planes": (lambda: pet(n_fine_planes=3), "share a grid of whole planes"),
    "no fine planes": (lambda: pet(n_fine_planes=0), "share a grid of whole planes"),
    "oblong slices": (lambda: pet(BODY[:8], BODY[:8]), "stack of square slices"),
    "a single slice": (lambda: pet(BODY[..., 0], BODY[..., 0]), "stack of square slices"),
    "fine pixel of zero": (lambda: pet(fine_pixel_mm=0.0), "pixels above 0 mm"),
    "NaN pixel": (lambda: pet(fine_pixel_mm=math.nan), "pixels above 0 mm"),
    "data on the grid of the reconstruction": (lambda: pet(fine_pixel_mm=PIXEL_MM), "finer than the reconstruction's"),
    "no views": (lambda: SinogramGeometry(0, 8, 4.0), "at least one view and bin"),
    "negative bins": (lambda: SinogramGeometry(4, 8, -4.0), "positive width"),
    "no planes": (lambda: replace(SCANNER, plane_mm=0.0), "planes above 0 mm"),
    "negative resolution": (lambda: replace(SCANNER, fwhm_mm=-1.0), "resolution and sensitivity of at least 0"),
    "NaN sensitivity": (lambda: replace(SCANNER, sensitivity=math.nan), "sensitivity of at least 0"),
    "infinite sensitivity": (lambda: replace(SCANNER, sensitivity=math.inf), "sensitivity of at least 0"),
    "all counts scattered": (lambda: replace(SCANNER, scatter_fraction=1.0), "share from 0 to below 1"),
    "negative randoms": (lambda: replace(SCANNER, randoms_fraction=-0.1), "share from 0 to below 1"),
    "too much mixing": (lambda: replace(SCANNER, mixing=0.5), "mixing from 0 to below 0.5"),
    "negative profile": (lambda: replace(SCANNER, axial_profile=(1.0, -1.0)), "axial profile must be finite"),
    "profile of other planes": (lambda: pet(scanner=replace(SCANNER, axial_profile=(1.0,) * 3)), "one value a plane"),
    "timing of zero": (lambda: pet(scanner=replace(SCANNER, timing_ps=0.0)), "above 0 ps"),
    "NaN timing": (lambda: TimeOfFlight(math.nan, 4, 10.0), "above 0 ps"),
    "unknown nuclide": (lambda: PetProtocol.with_radionuclide("Xx-99"), "found 'Xx-99'"),
    "single-photon nuclide": (lambda: PetProtocol.with_radionuclide("Tc-99m"), "positron emitter .* found 'Tc-99m'"),
    "no activity injected": (lambda: PetProtocol(injected_activity_bq=0.0), "injected activity .* above 0"),
    "NaN half-life": (lambda: PetProtocol(half_life_s=math.nan), "half-life .* above 0"),
    "NaN uptake time": (lambda: PetProtocol(uptake_time_s=math.nan), "finite uptake time"),
    "bed before the series": (lambda: PetProtocol(delay_s=-1.0), "delay of at least 0 s"),
    "no subsets": (lambda: replace(SETTINGS, n_subsets=0), "one iteration and one subset"),
    "no pixels": (lambda: replace(SETTINGS, n_pixels=0), "at least 2 pixels"),
    "negative pixels": (lambda: replace(SETTINGS, pixel_mm=-4.0), "above 0 mm"),
    "negative filter": (lambda: replace(SETTINGS, filter_fwhm_mm=-4.0), "at least 0 mm"),
    "counts of another scanner": (
        lambda: osem(torch.ones(5, N, 1), torch.zeros(1), torch.ones(5, N, 1), GEOMETRY, SETTINGS),
        "scanner's views and bins",
    ),
    "negative counts": (
        lambda: osem(-torch.ones(12, N, 1), torch.zeros(1), torch.ones(12, N, 1), GEOMETRY, SETTINGS),
        "Counts must be finite and not negative",
    ),
    "NaN background": (
        lambda: osem(torch.ones(12, N, 1), torch.full((1,), math.nan), torch.ones(12, N, 1), GEOMETRY, SETTINGS),
        "background must be finite and not negative",
    ),
    "no counts asked for": (lambda: reconstruct_fractions(pet(), (0.0,), SETTINGS, torch.Generator()), "above 0"),
    "NaN count fraction": (lambda: reconstruct_fractions(pet(), (math.nan,), SETTINGS, torch.Generator()), "above 0"),
    "negative prior": (
        lambda: reconstruct_penalised(pet(), (None,), SETTINGS, torch.Generator(), strength=-1.0),
        "strength of a prior",
    ),
    "folding breath": (lambda: BodyMotion(breathing_mm=80.0), "would fold"),
    "NaN motion": (lambda: BodyMotion(arms_mm=(math.nan, 0.0)), "finite displacements"),
}

GAMMA_CASES = {
    "negative activity": (lambda: spect(-BODY), "Activity must be finite and not negative"),
    "NaN activity": (lambda: spect(WITH_NAN), "Activity must be finite and not negative"),
    "negative attenuation": (lambda: spect(mu_map=-BODY), "attenuation map must be finite and not negative"),
    "NaN attenuation": (lambda: spect(mu_map=WITH_NAN), "attenuation map must be finite and not negative"),
    "attenuation on another grid": (lambda: spect(mu_map=BODY[..., :2]), "must share a grid"),
    "data on the grid of the reconstruction": (lambda: spect(fine_factor=1), "finer than the reconstruction's"),
    "oblong slices": (lambda: spect(BODY[:8], BODY[:8]), "finer than the reconstruction's"),
    "camera inside the body": (lambda: spect(orbit=SpectOrbit(6, radius_mm=20.0)), "stay outside the body"),
    "no views": (lambda: SpectOrbit(0), "at least one view"),
    "NaN radius": (lambda: SpectOrbit(4, radius_mm=math.nan), "radius above 0 mm"),
    "no pixels": (lambda: SpectProjector(0, 4.0, 4.0, ORBIT), "at least 2 pixels"),
    "unknown collimator": (lambda: collimator_named("NONE"), "found 'NONE'"),
    "unknown collimator of a camera": (lambda: spect(camera=GammaCamera(collimator="NONE")), "found 'NONE'"),
    "unknown nuclide": (lambda: spect(protocol=GammaProtocol(radionuclide="Xx-99")), "Xx-99"),
    "positron emitter": (lambda: photons_per_decay("F-18", EnergyWindow(140.5)), "must be one of"),
    "view of no time": (lambda: GammaProtocol(seconds_per_view=math.nan), "longer than 0 s"),
    "all counts scattered": (lambda: spect(camera=GammaCamera(scatter_fraction=1.0)), "between 0 and 1"),
    "no counts asked for": (lambda: draw_counts(spect(), torch.Generator(), count_fraction=0.0), "above 0"),
    "thinned to nothing": (lambda: thin(torch.ones(3), 0.0, torch.Generator()), "above 0"),
    "parts of counts": (lambda: thin(torch.full((3,), 0.5), 0.5, torch.Generator()), "whole numbers"),
    "NaN counts": (lambda: thin(torch.tensor([math.nan]), 0.5, torch.Generator()), "whole numbers"),
    "one planar view": (lambda: planar_views(torch.ones(4, 4)), r"axes \(view, bin, plane\)"),
    "negative planar counts": (
        lambda: conjugate_view_activity(-torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 2), counts_per_bq=1.0),
        "must not be negative",
    ),
    "NaN planar counts": (
        lambda: conjugate_view_activity(
            torch.full((2, 2), math.nan), torch.ones(2, 2), torch.ones(2, 2), counts_per_bq=1.0
        ),
        "must not be negative",
    ),
    "opaque body": (
        lambda: conjugate_view_activity(torch.ones(2, 2), torch.ones(2, 2), torch.zeros(2, 2), counts_per_bq=1.0),
        "transmission must lie above 0",
    ),
    "NaN transmission": (
        lambda: conjugate_view_activity(
            torch.ones(2, 2), torch.ones(2, 2), torch.full((2, 2), math.nan), counts_per_bq=1.0
        ),
        "transmission must lie above 0",
    ),
    "views of other sizes": (
        lambda: conjugate_view_activity(torch.ones(2, 2), torch.ones(3, 2), torch.ones(2, 2), counts_per_bq=1.0),
        "same shape",
    ),
}


@pytest.mark.parametrize("name", PET_CASES)
def test_bad_input_to_pet_is_refused(name):
    run, message = PET_CASES[name]
    with pytest.raises(InputError, match=message):
        run()


@pytest.mark.parametrize("name", GAMMA_CASES)
def test_bad_input_to_spect_and_planar_is_refused(name):
    run, message = GAMMA_CASES[name]
    with pytest.raises(InputError, match=message):
        run()


@pytest.mark.parametrize("timing_ps", [None, 500.0])
@pytest.mark.parametrize("corrected", [True, False])
def test_no_activity_gives_an_empty_pet_image(timing_ps, corrected):
    expected = pet(0 * BODY, scanner=replace(SCANNER, timing_ps=timing_ps))
    images = reconstruct_fractions(
        expected, (None, 1.0, 1e-4), SETTINGS, torch.Generator(), attenuation_corrected=corrected
    )
    assert torch.equal(images, torch.zeros_like(images))


def test_no_counts_where_some_were_expected_give_next_to_nothing():
    """A scan of no counts with the background of a patient; the start of OSEM is a floor far below any activity."""
    expected = pet()
    image = osem(0 * expected.prompts, expected.background, expected.efficiency, GEOMETRY, SETTINGS)
    assert bool(torch.isfinite(image).all())
    assert 0 <= float(image.max()) < 1e-6 * PetProtocol().bqml_per_suv
    smooth = reconstruct_penalised(pet(0 * BODY), (1.0,), SETTINGS, torch.Generator(), strength=0.1)
    assert bool(torch.isfinite(smooth).all())
    assert float(smooth.abs().max()) < 1e-6


def test_a_plane_without_counts_is_empty_and_its_neighbour_is_not():
    expected = pet(scanner=replace(SCANNER, mixing=0.0, axial_profile=(0.0, 2.0)))
    image = reconstruct_fractions(expected, (None, 1.0), SETTINGS, torch.Generator(), filtered=False)
    assert bool(torch.isfinite(image).all())
    assert float(image[:, 0].abs().max()) == 0.0
    assert float(image[:, 1].max()) > 0.5 * PetProtocol().bqml_per_suv


def test_no_activity_gives_an_empty_spect_image():
    scan = spect(0 * BODY)
    counts = draw_counts(scan, torch.Generator())
    image = reconstruct_spect(counts, scan, SpectReconstruction(n_iterations=2, n_subsets=2))
    assert float(counts.sum()) == 0.0
    assert bool(torch.isfinite(image).all())
    assert float(image.abs().max()) < 1e-3
