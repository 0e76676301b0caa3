"""Data and reconstruction share no system object, in PET and SPECT; and the test fails where they do.

What both sides rightly share are the sampling of the data, the sensitivity and the time: they are measured. The scatter
estimate is the true scatter times a factor, and randoms are the true ones with noise: see ``docs/pet_physics.md``.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nmsynth.data.scan import ReferenceScan, scan_phantom
from nmsynth.physics import gamma_camera, pet, reconstruction
from nmsynth.physics.beds import BedPlan
from nmsynth.physics.gamma_camera import (
    GammaCamera,
    GammaGrid,
    GammaMismatch,
    GammaProtocol,
    SpectReconstruction,
    expected_gamma_scan,
    reconstruct_spect,
)
from nmsynth.physics.pet import Mismatch, PetProtocol, PetScanner, expected_scan
from nmsynth.physics.pet_reconstruction import reconstruct_fractions
from nmsynth.physics.phantom.quality import uniform_cylinder
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from nmsynth.physics.reconstruction import OsemSettings
from nmsynth.physics.spect import SpectOrbit, SpectProjector
from tests.physics.system_probe import SystemProbe
from tests.physics.test_projector import disc

N, PIXEL_MM = 24, 8.0
GEOMETRY = SinogramGeometry(16, N, PIXEL_MM)
SCANNER = PetScanner(GEOMETRY, plane_mm=8.0, fwhm_mm=6.0, axial_fwhm_mm=6.0)
WRONG = Mismatch(scatter_scale=0.9, resolution_scale=1.1, mu_shift_mm=(2.0, 0.0, 0.0), randoms_noise=0.05)
SETTINGS = OsemSettings(
    n_pixels=N, pixel_mm=PIXEL_MM, plane_mm=8.0, n_iterations=1, n_subsets=4, resolution_fwhm_mm=6.6, filter_fwhm_mm=6.0
)
GRID = GammaGrid(n_pixels=N, pixel_mm=PIXEL_MM, plane_mm=PIXEL_MM)
ORBIT = SpectOrbit(8, radius_mm=120.0)


def always(value):
    """A function that returns the same whatever it is given."""
    return lambda *_args, **_named: value


@pytest.fixture
def probe(monkeypatch) -> SystemProbe:
    return SystemProbe(monkeypatch)


def run_pet(scanner=SCANNER, mismatch=WRONG, settings=SETTINGS, n=2 * N):
    body = disc(n, N * PIXEL_MM / n, 70.0).repeat(1, 1, 4)
    expected = expected_scan(
        body, 0.096 * body, fine_pixel_mm=N * PIXEL_MM / n, n_fine_planes=2, scanner=scanner, protocol=PetProtocol(),
        settings=settings, mismatch=mismatch, generator=torch.Generator(),
    )  # fmt: skip
    reconstruct_fractions(expected, (None,), settings, torch.Generator())


def run_spect(probe, mismatch=GammaMismatch(resolution_scale=1.1, mu_shift_mm=(2.0, 0.0, 0.0))):  # noqa: B008
    body = disc(2 * N, PIXEL_MM / 2, 70.0).repeat(1, 1, 4)
    scan = expected_gamma_scan(
        1e4 * body, 0.154 * body, fine_factor=2, camera=GammaCamera(), protocol=GammaProtocol(), orbit=ORBIT, grid=GRID,
        mismatch=mismatch,
    )  # fmt: skip
    with probe.reconstructing():
        reconstruct_spect(scan.prompts, scan, SpectReconstruction(n_iterations=1, n_subsets=2))


@pytest.mark.parametrize("timing_ps", [None, 500.0])
def test_pet_shares_no_system(probe, timing_ps):
    run_pet(replace(SCANNER, timing_ps=timing_ps))
    assert probe.shared_parts() == []
    assert probe.widths["generation"] == {6.0}
    assert probe.widths["reconstruction"] == {6.6}


def test_spect_shares_no_system(probe):
    run_spect(probe)
    assert probe.shared_parts() == []


@pytest.mark.parametrize("beds", [None, BedPlan(n_planes=6, overlap=2)])
def test_scans_of_the_reference_protocol_share_no_system(probe, beds):
    reference = ReferenceScan(
        voxel_mm=8.0, plane_mm=8.0, field_mm=256.0, n_iterations=1, resolution_model=True, beds=beds
    )
    scan_phantom(
        lambda grid: uniform_cylinder(grid, radius_mm=80.0), reference=reference, body_mass_kg=70.0, height_m=1.7,
        sex="F", z_range_mm=(0.0, 64.0), fractions=(1.0,), seed=1,
    )  # fmt: skip
    assert probe.shared_parts() == []


def test_an_empty_record_is_no_pass(probe):
    assert probe.shared_parts() == ["nothing was recorded"]


def test_shared_resolution_is_caught(probe):
    run_pet(mismatch=replace(WRONG, resolution_scale=1.0), settings=replace(SETTINGS, resolution_fwhm_mm=6.0))
    assert probe.shared_parts() == ["resolution"]


def test_shared_grid_is_caught(probe, monkeypatch):
    """Data made on the reconstruction's own grid, with the check that refuses them taken away."""
    monkeypatch.setattr(pet, "_check_grids", always(None))
    run_pet(n=N)
    assert "grid" in probe.shared_parts()


def test_shared_projector_and_matrix_are_caught(probe, monkeypatch):
    """The reconstruction handed the projector that made the data, as one object and as another of the same numbers."""
    monkeypatch.setattr(pet, "_check_grids", always(None))
    own = SliceProjector(N, PIXEL_MM, GEOMETRY)
    monkeypatch.setattr(pet, "SliceProjector", always(own))
    run_pet(n=N)
    assert {"projector", "matrix", "grid"} <= set(probe.shared_parts())


def test_shared_matrix_alone_is_caught(probe, monkeypatch):
    monkeypatch.setattr(pet, "_check_grids", always(None))
    matrices = []

    class Sharing(SliceProjector):
        def __init__(self, *args, **named):
            super().__init__(*args, **named)
            matrices.append(self._matrix)
            self._matrix = matrices[0]

    monkeypatch.setattr(pet, "SliceProjector", Sharing)
    run_pet(n=N)
    assert "matrix" in probe.shared_parts()
    assert "projector" not in probe.shared_parts()


def test_shared_attenuation_is_caught(probe, monkeypatch):
    """The reconstruction given the attenuation factors with which the data were made, as a copy."""
    factors = pet.attenuation_factors
    kept = []

    def same(mu_map, projector):
        kept.append(factors(mu_map, projector))
        result = kept[0].clone()
        probe.survival["generation" if len(kept) == 1 else "reconstruction"].append(result)
        return result

    monkeypatch.setattr(pet, "attenuation_factors", same)
    run_pet()
    assert probe.shared_parts() == ["attenuation"]


def test_a_reconstruction_by_the_generating_subsets_is_caught(probe, monkeypatch):
    """One set of projectors kept for both sides, as a cache might."""
    monkeypatch.setattr(pet, "_check_grids", always(None))
    cached = reconstruction._subset_projectors(N, 1.0, 16, N, 1)
    monkeypatch.setattr(pet, "SliceProjector", always(cached[0]))
    run_pet(n=N, settings=replace(SETTINGS, n_subsets=1))
    assert "projector" in probe.shared_parts()


def test_shared_spect_response_and_attenuation_are_caught(probe):
    run_spect(probe, GammaMismatch())
    assert probe.shared_parts() == ["resolution"]
    made = probe.projectors["generation"][0]
    probe.survival["reconstruction"].append(made._survival.clone())
    assert probe.shared_parts() == ["resolution", "attenuation"]


def test_shared_spect_projector_is_caught(probe, monkeypatch):
    systems = {}

    def one(*_args, **_named):
        return systems.setdefault("system", SpectProjector(N, PIXEL_MM, PIXEL_MM, ORBIT))

    monkeypatch.setattr(gamma_camera, "SpectProjector", one)
    monkeypatch.setattr(gamma_camera, "_mean_of_blocks", lambda x, _factor: x)
    body = disc(N, PIXEL_MM, 70.0).repeat(1, 1, 2)
    lines = gamma_camera._projected(
        body, 0 * body, fine_factor=1, camera=GammaCamera(), orbit=ORBIT, grid=GRID
    )  # fmt: skip
    with probe.reconstructing():
        one().adjoint(lines)
    assert {"projector", "matrix", "grid"} <= set(probe.shared_parts())


def test_training_scans_draw_their_own_resolution():
    """The believed width differs from the true one in every draw, by up to 15 %."""
    rng = np.random.default_rng(0)
    draws = [ReferenceScan(resolution_model=True).draw(75.0, (1.0,), rng) for _ in range(50)]
    ratios = [d.osem.resolution_fwhm_mm / d.scanner.fwhm_mm for d in draws]
    assert all(0.85 <= ratio <= 1.15 for ratio in ratios)
    assert all(ratio != 1 for ratio in ratios)
    assert np.std(ratios) > 0.05
