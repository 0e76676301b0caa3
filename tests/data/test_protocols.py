"""The protocol of a scanner with septa: what its series shows, beside a patient of the same size."""

import numpy as np
import pytest
from scipy import ndimage

from nmsynth.data.protocols import BGO_WITH_SEPTA, in_the_middle_of_a_bed, protocol_named, with_planes
from nmsynth.data.scan import ReferenceScan, bed_plan, scan_phantom
from nmsynth.physics.noise_texture import NoiseTexture, measure_noise
from nmsynth.physics.phantom import LesionPlan, Organ, WholeBodySettings, whole_body_patient

REAL_COV, REAL_IN_PLANE, REAL_AXIAL = 0.167, 0.483, 0.326
"""Of the liver of the public series: ``benchmarks/results/noise_realism``, first row; in plane the mean of y and x."""


def test_beds_are_those_of_the_series():
    """267 planes in six bed positions that begin 243 s apart, as the headers state."""
    plan = BGO_WITH_SEPTA.beds
    assert plan.total_planes(plan.n_beds(267)) == 267
    beds = plan.positions(6, duration_s=BGO_WITH_SEPTA.duration_s, half_life_s=6586.2)
    assert [bed.delay_s for bed in beds] == [0.0, 243.0, 486.0, 729.0, 972.0, 1215.0]
    assert in_the_middle_of_a_bed(BGO_WITH_SEPTA).sensitivity == pytest.approx(0.0085)
    assert plan.profile[0] / max(plan.profile) == pytest.approx(0.25)


def test_liver_of_a_patient_of_the_same_size_is_about_as_noisy():
    """COV within 20 %, correlations within 0.1."""
    height_m, mass_kg = 1.63, 71.0
    bmi = mass_kg / height_m**2
    habitus = WholeBodySettings(
        height_m=(height_m, height_m), bmi=(bmi, bmi), sex="M", arms="up", injection_site_probability=0.0
    )
    patient = whole_body_patient(9220, lesions=LesionPlan(count=0), settings=habitus)
    coarse = patient.render(patient.grid((8.0, 8.0, 8.0)))
    depth = ndimage.distance_transform_edt(coarse.labels == Organ.LIVER)
    middle = float(coarse.grid.axes()[0][np.unravel_index(depth.argmax(), depth.shape)[0]])
    study = scan_phantom(
        patient.render, reference=in_the_middle_of_a_bed(BGO_WITH_SEPTA), body_mass_kg=patient.body_mass_kg,
        height_m=height_m, sex="M", z_range_mm=(middle - 26.0, middle + 26.0), fractions=(1.0,), seed=9220,
    )  # fmt: skip
    region = ndimage.binary_erosion(study.organ_labels == Organ.LIVER, iterations=2)
    found: NoiseTexture = measure_noise(study.scans[0].array, region)
    assert found.cov == pytest.approx(REAL_COV, rel=0.2)
    assert found.in_plane_correlation == pytest.approx(REAL_IN_PLANE, abs=0.1)
    assert found.axial_correlation == pytest.approx(REAL_AXIAL, abs=0.1)


@pytest.mark.parametrize("plane_mm", [2.0, 3.27, 4.0, 8.0])
def test_beds_of_the_bgo_scanner_keep_their_counts_at_any_plane(plane_mm):
    protocol = protocol_named("bgo-with-septa", plane_mm=plane_mm, with_beds=True)
    plan = protocol.beds
    assert plan is not None
    assert protocol.sensitivity * max(plan.profile) == pytest.approx(0.0085)
    assert plan.n_planes * plane_mm == pytest.approx(47 * 3.27, abs=plane_mm / 2)
    assert plan.overlap * plane_mm == pytest.approx(3 * 3.27, abs=plane_mm / 2)
    third = plan.n_planes // 3
    assert set(plan.profile[third:-third]) == {max(plan.profile)}  # flat, as septa make it


def test_protocols_by_name_are_what_they_were():
    assert with_planes(BGO_WITH_SEPTA, 3.27).beds == BGO_WITH_SEPTA.beds
    assert protocol_named("bgo-with-septa", plane_mm=3.27) == in_the_middle_of_a_bed(BGO_WITH_SEPTA)
    assert protocol_named("reference", plane_mm=4.0) == ReferenceScan()
    assert protocol_named("reference", plane_mm=4.0, with_beds=True).beds == bed_plan(4.0)
