"""The reference protocol: noise, SUV and imperfections of the scan it describes."""

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.data.scan import ReferenceScan, scan_phantom
from nmsynth.data.scanned_phantom import ScannedPhantom
from nmsynth.data.simulation import ScanRanges, draw_scan, moved_about
from nmsynth.metrics.regions import sphere_mask
from nmsynth.physics.displacement import BodyMotion, draw_body_motion
from nmsynth.physics.phantom import LesionPlan, Organ, WholeBodySettings, whole_body_patient

MASS_KG = 75.0


def scan_of_liver(seed: int, height_m: float, sex: str, n_scans: int) -> ScannedPhantom:
    """Scan 56 mm about the deepest point of the liver of a patient of 75 kg."""
    bmi = MASS_KG / height_m**2
    habitus = WholeBodySettings(
        height_m=(height_m, height_m), bmi=(bmi, bmi), sex=sex, arms="up", injection_site_probability=0.0
    )
    patient = whole_body_patient(seed, lesions=LesionPlan(count=0), settings=habitus)
    coarse = patient.render(patient.grid((8.0, 8.0, 8.0)))
    depth = ndimage.distance_transform_edt(coarse.labels == Organ.LIVER)
    middle = float(coarse.grid.axes()[0][np.unravel_index(depth.argmax(), depth.shape)[0]])
    return scan_phantom(
        patient.render,
        reference=ReferenceScan(),
        body_mass_kg=patient.body_mass_kg,
        height_m=height_m,
        sex=sex,
        z_range_mm=(middle - 28.0, middle + 28.0),
        fractions=(1.0,) * n_scans,
        seed=seed,
    )


@pytest.mark.parametrize(("seed", "height_m", "sex"), [(3, 1.66, "F"), (10, 1.77, "M")])
def test_reference_protocol_shows_a_liver_cov_of_8_to_12_percent_at_75_kg(seed, height_m, sex):
    study = scan_of_liver(seed, height_m, sex, n_scans=6)
    spacing = study.truth.spacing_mm
    depth = ndimage.distance_transform_edt(np.pad(study.organ_labels == Organ.LIVER, 1), spacing)[1:-1, 1:-1, 1:-1]
    centre = np.unravel_index(depth.argmax(), depth.shape)
    assert depth.max() > 15.0
    sphere = sphere_mask(depth.shape, spacing, centre_index=centre, diameter_mm=30.0)
    covs = [float(scan.array[sphere].std() / scan.array[sphere].mean()) for scan in study.scans]
    assert 0.08 < np.mean(covs) < 0.12


def test_training_scans_span_scanner_and_noise():
    rng = np.random.default_rng(0)
    draws = [
        draw_scan(rng, field_mm=field, ranges=ScanRanges(), body_mass_kg=75.0, grids=(96, 128, 160))
        for field in (200.0, 300.0, 430.0, 560.0)
        for _ in range(100)
    ]
    within = {
        "pixel": ([d.osem.pixel_mm for d in draws], 1.5, 6.0),
        "filter": ([d.osem.filter_fwhm_mm for d in draws], 2.0, 8.0),
        "resolution": ([d.scanner.fwhm_mm for d in draws], 3.5, 7.0),
        "cov": ([d.full_count_cov for d in draws], 0.06, 0.25),
        "correlation": ([mixing_correlation(d.scanner.mixing) for d in draws], 0.0, 0.6),
        "scatter": ([d.scanner.scatter_fraction for d in draws], 0.15, 0.5),
        "randoms": ([d.scanner.randoms_fraction for d in draws], 0.1, 0.5),
    }
    for name, (values, low, high) in within.items():
        assert low - 1e-6 <= min(values) < low + 0.25 * (high - low), name
        assert high - 0.25 * (high - low) < max(values) <= high + 1e-6, name
    assert 0.3 < np.mean([d.osem.resolution_fwhm_mm > 0 for d in draws]) < 0.7
    assert {d.osem.n_iterations for d in draws} == {1, 2, 3, 4}


def mixing_correlation(share: float) -> float:
    return 2 * share * (1 - 2 * share) / ((1 - 2 * share) ** 2 + 2 * share**2)


def test_breathing_lies_at_its_height_whatever_the_stack():
    rng = np.random.default_rng(3)
    motion = draw_body_motion(rng, diaphragm_mm=400.0, arms_beyond_mm=180.0)
    draw = ReferenceScan(voxel_mm=8.0, plane_mm=8.0).draw(75.0, (1.0,), rng)
    heights = [m + moved_about(draw, motion, m).mismatch.mu_motion.diaphragm_mm for m in (100.0, 356.0, 612.0)]
    assert heights == pytest.approx([400.0] * 3)
    assert moved_about(draw, None, 100.0) is draw


def test_motion_between_ct_and_emission_is_drawn_within_its_bounds():
    drawn = [draw_body_motion(np.random.default_rng(k), diaphragm_mm=0.0, arms_beyond_mm=180.0) for k in range(400)]
    breathing = np.array([m.breathing_mm for m in drawn])
    arms = np.array([m.arms_mm for m in drawn])
    assert np.abs(breathing).max() <= 10.0
    assert np.abs(arms).max() <= 12.0
    assert abs(breathing.mean()) < 1.0
    assert breathing.std() == pytest.approx(4.8, abs=0.6)


def test_arms_that_moved_change_the_image_and_not_the_truth():
    patient = whole_body_patient(4, lesions=LesionPlan(count=0), settings=WholeBodySettings(arms="down"))
    middle = patient.diaphragm_mm
    shared = {
        "reference": ReferenceScan(voxel_mm=10.0, plane_mm=10.0, field_mm=600.0), "body_mass_kg": 75.0,
        "height_m": 1.7, "sex": "O", "z_range_mm": (middle - 40, middle + 40), "fractions": (1.0,), "seed": 2,
    }  # fmt: skip
    still = scan_phantom(patient.render, **shared)
    moved = scan_phantom(
        patient.render,
        motion=BodyMotion(arms_mm=(0.0, 30.0), arms_beyond_mm=patient.trunk_half_width_mm),
        **shared,
    )
    assert np.array_equal(still.truth.array, moved.truth.array)
    ratio = moved.noise_free.array[4].sum() / still.noise_free.array[4].sum()
    assert ratio != pytest.approx(1.0, abs=1e-4)
    assert ratio == pytest.approx(1.0, abs=0.1)
    assert 120 < patient.trunk_half_width_mm < 260
