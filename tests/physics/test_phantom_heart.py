"""The heart for perfusion imaging: its volumes, segments, defects, beat and place in the body."""

import math

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.myocardium import SEGMENTS, segment_number
from nmsynth.physics.phantom import Grid, Heart, HeartSettings, LesionPlan, Organ, PerfusionDefect, whole_body_patient
from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.layers import Fields, Painter
from nmsynth.physics.phantom.myocardial_segments import draw_defects, segment_middle
from nmsynth.physics.phantom.ventricle import EJECTED, LeftVentricle, truncated_spheroid_ml

SUM_ACTIVITY, SUM_MU, SUM_LABELS = 32515.195296994083, 3550.4347839587535, 145549
STILL = HeartSettings(defects=(), beating=False, breathing=False)
GRID = Grid.centred((70, 70, 70), (2.0, 2.0, 2.0), -70.0)


def painted(heart, gate=None, grid=GRID):
    """Activity, labels and segments of a heart in air."""
    rng = np.random.default_rng(0)
    flat = SmoothField.random(rng, 50.0, 4)
    painter = Painter(grid, Fields((flat, flat, flat), 0.0, (flat,)))
    segments = heart.paint(painter, gate)
    return painter.activity, painter.labels, segments


def heart_of(*defects, settings=STILL, ventricle=None, **values):
    """Only the wall of the left ventricle takes up."""
    ventricle = ventricle or LeftVentricle(apex_mm=(-20.0, -30.0, 30.0))
    found = {"uptake_suv": 1.0, "right_suv": 0.0, "blood_suv": 0.0, "fat_suv": 0.0, **values}
    return Heart(ventricle, defects, settings=settings, **found)


def patient_of(**settings):
    tracer = "SESTAMIBI-REST" if settings.get("rest") else "SESTAMIBI-STRESS"
    return whole_body_patient(2, lesions=LesionPlan(count=0), tracer=tracer, heart=HeartSettings(**settings))


def rendered(patient, gate=None, spacing=6.0):
    middle = patient.heart.ventricle.apex_mm[0]
    n = int(420 / spacing)
    return patient.render(Grid.centred((int(200 / spacing), n, n), (spacing,) * 3, middle - 90.0), gate=gate)


def test_wall_holds_the_volume_of_the_formula():
    for thin in (4.0, 9.0):
        ventricle = LeftVentricle(apex_mm=(-20.0, -30.0, 30.0), apex_wall_mm=thin)
        activity, _, _ = painted(heart_of(ventricle=ventricle))
        assert activity.sum() * GRID.voxel_ml == pytest.approx(ventricle.pose().myocardium_ml, rel=0.01)


def test_formula_of_a_truncated_spheroid_is_its_integral():
    u = np.linspace(-12.0, 40.0, 20001)
    area = math.pi * 25.0**2 * (1 - (u / 40.0) ** 2)
    volume_ml = ((area[1:] + area[:-1]) / 2 * np.diff(u)).sum() / 1000
    assert truncated_spheroid_ml(40.0, 25.0, 12.0) == pytest.approx(volume_ml, rel=1e-6)


def test_segments_are_where_the_names_say():
    heart = heart_of()
    _, _, segments = painted(heart)
    assert set(np.unique(segments)) == set(range(18))
    places = np.stack(np.meshgrid(*GRID.axes(), indexing="ij"), axis=-1)
    middle = {n: places[segments == n].mean(axis=0) for n in range(1, 18)}
    assert middle[7][0] > middle[10][0] + 30  # anterior above inferior
    assert middle[12][2] > middle[8][2] + 20  # lateral to the left of septal
    assert middle[12][1] > middle[8][1] + 10  # and behind it
    apex = np.array(heart.ventricle.apex_mm)
    away = {n: np.linalg.norm(m - apex) for n, m in middle.items()}
    assert away[17] < 8 < min(away[n] for n in range(1, 17))
    assert max(away[n] for n in range(13, 17)) < min(away[n] for n in range(7, 13)) < min(away[n] for n in range(1, 7))


def test_segments_share_the_wall_as_rings_of_one_height():
    mean, share = heart_of().segment_uptake()
    assert share.sum() == pytest.approx(1.0)
    assert mean == pytest.approx(np.ones(17))
    for ring, limits in ((slice(0, 6), (0.30, 0.40)), (slice(6, 12), (0.31, 0.39)), (slice(12, 16), (0.2, 0.33))):
        assert limits[0] < share[ring].sum() < limits[1]
        assert share[ring] == pytest.approx(share[ring].mean(), rel=0.05)
    assert 0.01 < share[16] < 0.05
    _, _, segments = painted(heart_of())
    voxels = np.bincount(segments[segments > 0], minlength=18)[1:] / (segments > 0).sum()
    assert voxels == pytest.approx(share, abs=0.012)


def test_middle_of_every_segment_is_in_it():
    for number in range(1, 18):
        height, angle = segment_middle(number)
        assert int(segment_number(np.array([height]), np.array([angle]))[0]) == number
    assert len(SEGMENTS) == 17


def test_a_defect_lowers_its_segment_by_its_severity():
    wide = PerfusionDefect(10, severity=0.4, extent_deg=170.0, edge_deg=0.0)
    mean, _ = heart_of(wide).segment_uptake()
    assert mean[9] == pytest.approx(0.6)
    assert mean[6] == pytest.approx(1.0)
    both, _ = heart_of(wide, PerfusionDefect(7, severity=0.5, extent_deg=360.0)).segment_uptake()
    assert both == pytest.approx(0.5 * mean)
    inner, _ = heart_of(PerfusionDefect(10, severity=0.4, extent_deg=170.0, transmural=0.5)).segment_uptake()
    assert 1 - 0.4 * 0.5 < inner[9] < 1 - 0.4 * 0.4  # the inner half of a curved wall is the smaller one


def test_what_is_painted_has_the_uptake_of_the_truth():
    defect = PerfusionDefect(12, severity=0.8, extent_deg=80.0)
    field = SmoothField.random(np.random.default_rng(3), 16.0)
    heart = heart_of(defect, texture=0.05, texture_field=field)
    activity, _, segments = painted(heart)
    plain, _, _ = painted(heart_of())
    mean, _ = heart.segment_uptake()
    found = [activity[segments == n].sum() / plain[segments == n].sum() for n in range(1, 18)]
    assert found == pytest.approx(mean, abs=0.03)
    assert mean[11] == min(mean) < 0.5


def test_reversible_part_is_gone_at_rest():
    scar, ischaemia = (PerfusionDefect(10, severity=0.6, extent_deg=170.0, reversible=r) for r in (0.0, 1.0))
    rest = HeartSettings(rest=True, defects=(), beating=False)
    assert heart_of(scar, settings=rest).segment_uptake()[0][9] == pytest.approx(0.4, abs=0.01)
    assert heart_of(ischaemia, settings=rest).segment_uptake()[0] == pytest.approx(np.ones(17))


def test_the_wall_keeps_its_volume_through_the_beat():
    ventricle = LeftVentricle()
    poses = [ventricle.pose(e) for e in EJECTED]
    assert [p.myocardium_ml for p in poses] == pytest.approx([poses[0].myocardium_ml] * 8)
    assert poses[3].cavity_ml == pytest.approx((1 - ventricle.ejection_fraction) * poses[0].cavity_ml)
    assert poses[3].wall_mm > 1.3 * poses[0].wall_mm
    grid = Grid.centred((44, 44, 44), (3.2, 3.2, 3.2), -70.4)
    sums = [float(painted(heart_of(), gate, grid)[0].sum()) for gate in (0, 3, 5)]
    assert sums == pytest.approx([sums[0]] * 3, rel=0.015)


def test_ungated_is_the_mean_of_the_gates():
    moving = HeartSettings(defects=())
    heart = heart_of(settings=moving, breathing_mm=8.0)
    grid = Grid.centred((24, 24, 24), (6.0, 6.0, 6.0), -72.0)
    gates = np.mean([painted(heart, gate, grid)[0] for gate in range(8)], axis=0)
    assert painted(heart, None, grid)[0] == pytest.approx(gates, abs=1e-5)


def test_breathing_moves_along_z_alone():
    still = painted(heart_of())[0]
    moved = painted(heart_of(settings=HeartSettings(defects=(), beating=False), breathing_mm=10.0))[0]
    assert moved.sum(axis=0) == pytest.approx(still.sum(axis=0), abs=2e-3)
    z = GRID.axes()[0]
    profiles = [a.sum((1, 2)) / a.sum() for a in (still, moved)]
    means = [(p * z).sum() for p in profiles]
    variances = [(p * (z - m) ** 2).sum() for p, m in zip(profiles, means, strict=True)]
    assert means[1] == pytest.approx(means[0], abs=0.02)
    # of 10 sin^4 mm: 100 (E[sin^8] - E[sin^4]^2), and what interpolation on the grid adds
    assert variances[1] - variances[0] == pytest.approx(100 * (35 / 128 - (3 / 8) ** 2), abs=0.8)


def test_stress_and_rest_share_their_anatomy():
    stress, again, rest = patient_of(), patient_of(), patient_of(rest=True)
    assert stress.heart.ventricle == again.heart.ventricle == rest.heart.ventricle
    assert stress.heart.defects == rest.heart.defects
    a, b, c = (rendered(p) for p in (stress, again, rest))
    assert np.array_equal(a.activity, b.activity)
    assert np.array_equal(a.mu_map, c.mu_map)
    assert np.array_equal(a.segment_labels, c.segment_labels)
    assert not np.array_equal(a.activity, c.activity)
    assert stress.heart.uptake_suv > rest.heart.uptake_suv


def test_the_body_around_is_that_of_the_seed():
    plain = whole_body_patient(2, lesions=LesionPlan(count=0), tracer="SESTAMIBI-STRESS")
    patient = patient_of(n_defects=0)
    assert patient.heart.defects == ()
    with_heart = rendered(patient)
    without = plain.render(with_heart.grid)
    assert without.segment_labels is None
    changed = with_heart.mu_map != without.mu_map
    places = np.stack(np.meshgrid(*with_heart.grid.axes(), indexing="ij"), axis=-1)
    middle = np.array(patient.heart.ventricle.middle_mm(patient.heart.ventricle.pose()))
    assert np.linalg.norm(places[changed] - middle, axis=1).max() < 140
    assert set(np.unique(with_heart.segment_labels)) >= set(range(17))
    assert not np.isin(with_heart.labels[with_heart.segment_labels > 0], (Organ.LIVER, Organ.LUNG, Organ.BONE)).any()


@pytest.mark.parametrize("seed", [2, 8])
def test_the_wall_stays_off_the_ribs(seed):
    settings = HeartSettings(n_defects=0, beating=False, breathing=False)
    patient = whole_body_patient(seed, lesions=LesionPlan(count=0), tracer="SESTAMIBI-STRESS", heart=settings)
    phantom = rendered(patient)
    assert set(np.unique(phantom.labels[phantom.segment_labels > 0])) == {Organ.HEART_WALL}


def test_abdominal_activity_scales():
    plain, double = (rendered(patient_of(abdominal_activity=f)) for f in (1.0, 2.0))
    liver = (plain.labels == Organ.LIVER) & (plain.grid.axes()[0] < plain.grid.axes()[0][8])[:, None, None]
    assert liver.sum() > 50
    assert double.activity[liver].mean() == pytest.approx(2 * plain.activity[liver].mean(), rel=0.05)
    wall = plain.segment_labels > 0
    assert double.activity[wall].mean() == pytest.approx(plain.activity[wall].mean(), rel=0.05)


def test_patients_without_this_heart_are_what_they_were():
    """Sums of the version before this heart existed, of the same seeds; trained weights rest on them."""
    fdg = whole_body_patient(0)
    phantom = fdg.render(fdg.grid((12.0, 12.0, 12.0)))
    assert phantom.activity.sum(dtype=np.float64) == pytest.approx(SUM_ACTIVITY, rel=1e-6)
    assert phantom.mu_map.sum(dtype=np.float64) == pytest.approx(SUM_MU, rel=1e-6)
    assert int(phantom.labels.astype(np.int64).sum()) == SUM_LABELS


def test_drawn_defects_lie_in_different_territories():
    found = draw_defects(np.random.default_rng(1), 3)
    assert len({d.segment for d in found}) == 3
    numbers = [len(draw_defects(np.random.default_rng(s))) for s in range(60)]
    assert {0, 1, 2} <= set(numbers) <= {0, 1, 2, 3}


def test_impossible_hearts_are_refused():
    with pytest.raises(InputError, match="one of 1 to 17"):
        PerfusionDefect(18)
    with pytest.raises(InputError, match="severity must lie between 0 and 1"):
        PerfusionDefect(1, severity=1.5)
    with pytest.raises(InputError, match="extent above 0"):
        PerfusionDefect(1, extent_deg=0.0)
    with pytest.raises(InputError, match="sizes above 0"):
        LeftVentricle(cavity_radius_mm=-1.0)
    with pytest.raises(InputError, match="gate must be one of 0 to 7"):
        heart_of().poses(8)
    with pytest.raises(InputError, match="abdominal_activity"):
        HeartSettings(abdominal_activity=-1.0)
    with pytest.raises(InputError, match="n_defects"):
        HeartSettings(n_defects=9)
    with pytest.raises(InputError, match="texture"):
        HeartSettings(texture=(0.3, 0.4))
