"""A uniform cylinder through three bed positions: flat, at its activity, and as noisy as the profile tells."""

import math
from datetime import timedelta

import numpy as np
import pytest

from nmsynth.data.scan import ReferenceScan, scan_phantom
from nmsynth.data.scanned_phantom import INJECTION_TIME, ScannedPhantom
from nmsynth.physics.beds import BedPlan
from nmsynth.physics.phantom.quality import uniform_cylinder

PLAN = BedPlan(n_planes=16, overlap=6, pause_s=5.0)
REFERENCE = ReferenceScan(
    voxel_mm=8.0, plane_mm=8.0, field_mm=272.0, duration_s=900.0, beds=PLAN, mismatched=False, filter_fwhm_mm=8.0,
    n_iterations=4, n_subsets=8, axial_filter_fwhm_mm=0.0, axial_correlation=0.0, sensitivity=0.05,
)  # fmt: skip
N_SCANS = 12


@pytest.fixture(scope="module")
def study() -> ScannedPhantom:
    return scan_phantom(
        lambda grid: uniform_cylinder(grid, radius_mm=100.0, length_mm=1000.0, suv=2.0),
        reference=REFERENCE, body_mass_kg=75.0, height_m=1.7, sex="F", z_range_mm=(-140.0, 140.0),
        fractions=(1.0,) * N_SCANS, seed=5,
    )  # fmt: skip


def middle(image: np.ndarray, radius_mm: float = 65.0) -> np.ndarray:
    """Voxels of each plane within a radius, shape ``(..., plane, voxel)``."""
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2) * 8.0
    return image[..., axis[:, None] ** 2 + axis[None] ** 2 < radius_mm**2]


def test_beds_are_minutes_apart_and_cover_the_range(study):
    assert [bed.delay_s for bed in study.beds] == [0.0, 905.0, 1810.0]
    assert study.beds[2].decay == pytest.approx(2 ** (-1810.0 / 6586.2))
    assert study.truth.array.shape[0] == PLAN.total_planes(3) == 36


def test_cylinder_is_flat_and_at_its_activity_at_the_start_of_the_series(study):
    true_bqml = 2.0 * study.draw.protocol.bqml_per_suv
    planes = middle(study.noise_free.array).mean(1)
    assert np.abs(planes / true_bqml - 1).max() < 0.02
    assert middle(study.noise_free.array).std() / true_bqml < 0.02
    noisy = np.mean([middle(scan.array).mean() for scan in study.scans])
    assert noisy == pytest.approx(true_bqml, rel=0.02)
    assert middle(study.truth.array).mean() == pytest.approx(true_bqml, rel=1e-4)


def test_noise_follows_the_profile_and_the_decay(study):
    """Variance times expected counts is the same in every plane, within the interval of the realisations."""
    noise = middle(np.stack([scan.array for scan in study.scans]) - study.noise_free.array[None])
    variance = (noise**2).mean((0, 2)) / middle(study.noise_free.array).mean(1) ** 2
    counts = PLAN.relative_counts(study.beds).numpy()
    product = variance * counts
    n_independent = N_SCANS * noise.shape[2] / 4  # neighbours correlate
    assert np.abs(product / product.mean() - 1).max() < 4.5 * math.sqrt(2 / n_independent)
    assert variance[0] > 3 * variance[8]
    assert variance[-1] > variance[0]  # the last bed is the latest
    # where the first two beds overlap most evenly the profile has a dip, and the noise a peak
    dip = 10 + int(np.argmin(counts[10:16]))
    assert counts[dip] < counts[7]
    assert variance[dip] > variance[7]


def test_slices_state_the_time_of_their_bed(study):
    acquisition = study.scans[0].acquisition
    start = INJECTION_TIME + timedelta(seconds=3600)
    assert acquisition.reference_time == acquisition.series_time == start
    assert acquisition.decay_correction == "START"
    assert acquisition.acquisition_times[0] == start
    assert acquisition.acquisition_times[-1] == start + timedelta(seconds=1810)
    assert len(acquisition.acquisition_times) == len(acquisition.frame_reference_times_s) == 36
    assert acquisition.frame_reference_times_s[-1] > 1810 + 440
    suv = study.truth.to_suv()
    assert middle(suv.array).mean() == pytest.approx(2.0, rel=1e-3)
