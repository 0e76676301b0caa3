from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.core.volume import Volume
from nmsynth.data.activity_phantom import activity_phantom, scan_activity_phantom
from nmsynth.data.spect_scan import SpectStudy, scan_spect
from nmsynth.physics.gamma_camera import GammaCamera, SpectReconstruction
from nmsynth.physics.phantom import Phantom
from nmsynth.physics.phantom.tracers import tracer_named
from nmsynth.physics.spect import SpectOrbit

STUDY = SpectStudy(
    tracer=tracer_named("MDP"), orbit=SpectOrbit(24), camera=GammaCamera(scatter_fraction=0.0), mismatched=False,
    reconstruction=SpectReconstruction(n_iterations=4, n_subsets=4, filter_fwhm_mm=8.0), field_mm=192.0,
    voxel_mm=4.8, also=("uncorrected",), seconds_per_view=1e4,
)  # fmt: skip


def water_cylinder(grid):
    """16 cm wide, at any height."""
    _, y, x = grid.axes()
    body = np.broadcast_to((y[:, None] ** 2 + x**2 < 80.0**2).astype(np.float32), grid.shape).copy()
    labels = (30 * body).astype(np.uint8)
    return Phantom(
        grid=grid, activity=4 * body, mu_map=0.096 * body, labels=labels, lesion_labels=0 * labels, lesions=(),
        body_mass_kg=75.0, height_m=1.7, sex="O", seed=0, family="cylinder",
    )  # fmt: skip


def by_plane(volume):
    n = volume.array.shape[1]
    y, x = (np.mgrid[:n, :n] - (n - 1) / 2) * volume.spacing_mm[1]
    return volume.array[:, np.hypot(y, x) < 50.0].mean(1)


@pytest.mark.parametrize("filter_mm", [0.0, 8.0, 16.0])
def test_end_planes_of_a_cylinder_through_the_stack_are_as_its_middle(filter_mm):
    study = replace(STUDY, reconstruction=replace(STUDY.reconstruction, filter_fwhm_mm=filter_mm))
    scanned = scan_spect(
        water_cylinder, study=study, body_mass_kg=75.0, height_m=1.7, sex="O", z_range_mm=(-24.0, 24.1),
        fractions=(1.0,), seed=0,
    )  # fmt: skip
    truth = by_plane(scanned.truth)
    assert by_plane(scanned.noise_free) / truth == pytest.approx(np.ones(10), abs=0.02)
    assert by_plane(scanned.scans[0]) / truth == pytest.approx(np.ones(10), abs=0.02)
    uncorrected = by_plane(scanned.others["uncorrected"])
    assert uncorrected / uncorrected[5] == pytest.approx(np.ones(10), abs=0.02)
    assert scanned.projections[0].shape == (24, 10, 40)
    assert scanned.noise_free.affine[2, 3] == pytest.approx(-24.0 + 4.8 / 4)  # guard planes move nothing
    assert sum(scanned.facts["guard_planes"]) >= 4


def cut_cylinder(n_empty):
    """The cylinder as images of 10 planes of 4.8 mm, with empty ones on either side."""
    y, x = (np.mgrid[:40, :40] - 19.5) * 4.8
    body = np.broadcast_to(np.hypot(y, x) < 80.0, (10, 40, 40)).astype(np.float32)
    body = np.pad(body, ((n_empty, n_empty), (0, 0), (0, 0)))
    images = {
        "activity": (1e4 * body, Unit.BQML, "NM"), "mu": (0.096 * body, Unit.PER_CENTIMETRE, "CT"),
    }  # fmt: skip
    affine = affine_from_axes(spacing_mm=(4.8,) * 3, origin_mm=(0.0, 0.0, 0.0))
    volumes = {
        name: Volume(array=array, affine=affine, unit=unit, modality=modality)
        for name, (array, unit, modality) in images.items()
    }
    return activity_phantom(volumes["activity"], volumes["mu"], mu_energy_kev=511.0)


def test_beyond_the_images_of_a_user_nothing_is_known_and_the_end_planes_keep_their_activity():
    """The end planes stay a little low: a plane of the reconstruction is wider than those that the data come from."""
    scanned = scan_activity_phantom(cut_cylinder(0), study=STUDY)
    assert scanned.facts["guard_planes"] == [0, 0]
    assert by_plane(scanned.noise_free) / by_plane(scanned.truth) == pytest.approx(np.ones(10), abs=0.08)


def test_an_activity_that_is_known_to_end_blurs_out_at_its_ends():
    scanned = scan_activity_phantom(cut_cylinder(2), study=STUDY)
    assert scanned.facts["guard_planes"] == [2, 2]
    assert 0.5 < by_plane(scanned.noise_free)[0] / by_plane(scanned.truth)[0] < 0.9
