"""Brain phantoms from label maps: tables, disease, atrophy, coupling."""

import json
import math

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom import Grid, LesionPlan, from_brain_labels
from nmsynth.physics.phantom.brain import brain_patient
from nmsynth.physics.phantom.brain_atrophy import CORTEX_LOSS, atrophied
from nmsynth.physics.phantom.brain_disease import (
    DISEASES,
    PUBLISHED_CORRELATION,
    BrainSubject,
    changes_uptake,
    diseased_ratio,
    draw_brain_subject,
    subject_for,
)
from nmsynth.physics.phantom.brain_regions import CORTEX, RIGHT, BrainRegion, brain_regions
from nmsynth.physics.phantom.brain_tracers import BRAIN_TRACERS, TISSUE_OF_LABEL, brain_tracer_named
from nmsynth.physics.phantom.label_tables import BRAIN_REGIONS
from tests.physics.brain_map import SPACING, head

LABELS, _ = head()
REGIONS = brain_regions(LABELS, SPACING)


def patient(tracer="FDG", disease="normal", severity=0.0, atrophy=0.0, seed=1, **more):
    subject = BrainSubject(disease, severity, atrophy, None)
    return brain_patient(LABELS, SPACING, seed=seed, tracer=tracer, subject=subject, **more)


def suvr(found):
    return {r.number: r.suvr for r in found.truth}


@pytest.mark.parametrize("tracer", list(BRAIN_TRACERS))
def test_without_spread_every_region_has_the_ratio_of_the_table(tracer):
    found = patient(tracer, spread=0.0)
    ratios = suvr(found)
    for region, table in found.tracer.regions.items():
        for number in (region, region + RIGHT):
            if number in ratios and region not in found.tracer.reference:
                assert ratios[number] == pytest.approx(table.ratio, rel=1e-4)
    reference = np.isin(found.regions % RIGHT, found.tracer.reference)
    assert found.source.activity[reference].mean() == pytest.approx(found.tracer.reference_suv.median, rel=1e-4)


def test_every_table_names_every_region_and_every_label_has_an_uptake():
    for tracer in BRAIN_TRACERS.values():
        assert set(tracer.regions) == set(BrainRegion) - {BrainRegion.OUTSIDE}
        assert set(tracer.tissue) == set(TISSUE_OF_LABEL.values())
        assert all(u.ratio > 0 and 0 < u.sd < u.ratio for u in tracer.regions.values())
    for label in BRAIN_REGIONS:
        one = np.full((2, 2, 2), label, np.int32)
        assert brain_regions(one, SPACING).all() or label in TISSUE_OF_LABEL


def test_subjects_vary_by_the_standard_deviation_of_the_table():
    small = LABELS[::2, ::2, ::2]
    found = [brain_patient(small, (8.0,) * 3, seed=s, tracer="FDOPA", textured=False) for s in range(150)]
    putamen = np.array([suvr(p)[BrainRegion.ANTERIOR_PUTAMEN] for p in found])
    table = BRAIN_TRACERS["FDOPA"].regions[BrainRegion.ANTERIOR_PUTAMEN]
    assert putamen.mean() == pytest.approx(table.ratio, abs=3 * table.sd / math.sqrt(150))
    assert putamen.std() == pytest.approx(table.sd, rel=0.2)
    caudate = np.array([suvr(p)[BrainRegion.CAUDATE] for p in found])
    assert 0.2 < np.corrcoef(putamen, caudate)[0, 1] < 0.7


def test_white_matter_binds_amyloid_tracer_without_amyloid_and_cortex_overtakes_the_cerebellum_with_it():
    negative, positive = (suvr(patient("florbetapir", "alzheimer", s, spread=0.0)) for s in (0.0, 0.5))
    assert all(negative[r] < 0.6 * negative[BrainRegion.CEREBRAL_WHITE] for r in CORTEX if r in negative)
    assert positive[BrainRegion.FRONTAL] > 1.4
    assert positive[BrainRegion.CEREBRAL_WHITE] == pytest.approx(negative[BrainRegion.CEREBRAL_WHITE])


def test_tau_tracer_binds_off_target_in_health():
    ratios = suvr(patient("flortaucipir", spread=0.0))
    for region in (BrainRegion.CHOROID_PLEXUS, BrainRegion.PALLIDUM, BrainRegion.ANTERIOR_PUTAMEN):
        assert ratios[region] > 1.4
    assert all(ratios[r] < 1.15 for r in CORTEX if r in ratios)


@pytest.mark.parametrize("tracer", list(BRAIN_TRACERS))
@pytest.mark.parametrize("disease", DISEASES)
def test_no_severity_is_health_and_change_grows_with_severity(tracer, disease):
    changed = False
    for region, table in BRAIN_TRACERS[tracer].regions.items():
        course = np.array(
            [
                diseased_ratio(region, table.ratio, tracer=tracer, disease=disease, severity=s)
                for s in np.linspace(0, 1, 11)
            ]
        )
        assert course[0] == table.ratio
        assert (course > 0).all()
        steps = np.diff(course)
        assert (steps >= -1e-12).all() or (steps <= 1e-12).all()
        changed |= bool(np.abs(steps).max() > 0)
    assert changed == changes_uptake(disease, tracer)


def test_fdg_falls_in_the_precuneus_first_then_parietal_then_frontal_and_not_in_the_motor_strip():
    def kept(region, severity):
        return diseased_ratio(region, 1.0, tracer="FDG", disease="alzheimer", severity=severity)

    assert kept(BrainRegion.PRECUNEUS, 0.3) < kept(BrainRegion.PARIETAL, 0.3) < kept(BrainRegion.FRONTAL, 0.3) == 1.0
    assert kept(BrainRegion.FRONTAL, 1.0) < 1.0 == kept(BrainRegion.SENSORIMOTOR, 1.0)


def test_tau_spreads_in_the_order_of_braak():
    def onset(region):
        course = [
            diseased_ratio(region, 1.0, tracer="flortaucipir", disease="alzheimer", severity=s)
            for s in np.linspace(0, 1, 101)
        ]
        return int(np.argmax(np.array(course) > 1.0))

    order = (BrainRegion.MEDIAL_TEMPORAL, BrainRegion.LATERAL_TEMPORAL, BrainRegion.FRONTAL, BrainRegion.SENSORIMOTOR)
    onsets = [onset(r) for r in order]
    assert onsets == sorted(set(onsets))


@pytest.mark.parametrize("tracer", ["FDOPA", "ioflupane"])
def test_parkinson_takes_the_posterior_putamen_of_the_worse_side_most(tracer):
    found = patient(tracer, "parkinson", 0.5, spread=0.0)
    healthy, ratios = suvr(patient(tracer, spread=0.0)), suvr(found)
    worse, better = (RIGHT, 0) if found.worse_side == "right" else (0, RIGHT)

    def kept(region, side):
        return (ratios[region + side] - 1) / (healthy[region + side] - 1)

    caudate, front, back = (
        kept(r, worse) for r in (BrainRegion.CAUDATE, BrainRegion.ANTERIOR_PUTAMEN, BrainRegion.POSTERIOR_PUTAMEN)
    )
    assert back < front < caudate < 1
    assert kept(BrainRegion.POSTERIOR_PUTAMEN, better) > back + 0.05
    if tracer == "FDOPA":  # Brooks et al. 1990
        assert (caudate, front, back) == pytest.approx((0.84, 0.62, 0.45), abs=0.01)


def test_the_worse_side_is_drawn():
    small = LABELS[::3, ::3, ::3]
    sides = [brain_patient(small, (12.0,) * 3, seed=s, tracer="FDOPA", textured=False).worse_side for s in range(40)]
    assert 10 < sides.count("left") < 30


def test_atrophy_shrinks_cortex_more_and_more_and_only_inside_the_brain():
    brain, before = REGIONS > 0, None
    cortex = [np.isin(REGIONS % RIGHT, [r]) for r in CORTEX_LOSS]
    for atrophy in (0.0, 0.25, 0.5, 1.0):
        after = atrophied(LABELS, REGIONS, SPACING, atrophy)
        changed = after != LABELS
        assert (brain | ~changed).all()
        assert set(np.unique(after[changed]).tolist()) <= {4, 5, 24, 43, 44}
        for mask, share in zip(cortex, CORTEX_LOSS.values(), strict=True):
            assert (after[mask] == 24).sum() == pytest.approx(share * atrophy * mask.sum(), abs=2)
        assert np.isin(after, (4, 43)).sum() == pytest.approx((1 + atrophy) * np.isin(LABELS, (4, 43)).sum(), abs=2)
        if before is not None:
            assert (changed | ~before).all()
        before = changed
    np.testing.assert_array_equal(atrophied(LABELS, REGIONS, SPACING, 0.0), LABELS)


def test_atrophy_takes_the_outer_cortex_and_is_in_the_truth():
    after = atrophied(LABELS, REGIONS, SPACING, 1.0)
    lost = (LABELS == 3) & (after == 24)
    assert lost.any()
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(REGIONS > 0, sampling=SPACING)
    kept = (LABELS == 3) & (after == 3)
    assert depth[lost].mean() < depth[kept].mean() - 1.0
    whole, thin = ({r.name: r.volume_ml for r in patient(atrophy=a).truth} for a in (0.0, 1.0))
    assert thin["left hippocampus"] == pytest.approx(0.65 * whole["left hippocampus"], rel=0.05)
    assert thin["left thalamus"] == whole["left thalamus"]


@pytest.mark.parametrize(
    ("coupling", "expected"), [("none", 0.0), ("published", PUBLISHED_CORRELATION), ("strong", 1.0)]
)
def test_severity_and_atrophy_correlate_as_stated(coupling, expected):
    n = 4000
    drawn = [draw_brain_subject(np.random.default_rng(s), coupling=coupling) for s in range(n)]
    severity, atrophy = np.array([(d.severity, d.atrophy) for d in drawn]).T
    assert np.corrcoef(severity, atrophy)[0, 1] == pytest.approx(expected, abs=3 / math.sqrt(n))
    for values in (severity, atrophy):
        assert values.mean() == pytest.approx(0.5, abs=0.02)
        assert values.std() == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_a_given_severity_moves_the_atrophy_only_where_they_are_coupled():
    def mean(coupling, severity):
        draws = (draw_brain_subject(np.random.default_rng(s), coupling=coupling, severity=severity) for s in range(600))
        return np.mean([d.atrophy for d in draws])

    assert mean("none", 0.9) == mean("none", 0.1)
    assert mean("published", 0.9) - mean("published", 0.1) == pytest.approx(0.8 * PUBLISHED_CORRELATION, abs=0.06)
    assert draw_brain_subject(np.random.default_rng(0), coupling="strong", severity=0.7).atrophy == 0.7


@pytest.mark.parametrize(
    ("coupling", "expected"), [("none", 0.0), ("published", PUBLISHED_CORRELATION), ("strong", 1.0)]
)
def test_the_severity_of_another_pathology_hangs_together_with_both_as_stated(coupling, expected):
    n = 4000
    drawn = [draw_brain_subject(np.random.default_rng(s), coupling=coupling) for s in range(n)]
    severity, atrophy, further = np.array([(d.severity, d.atrophy, d.further_severity) for d in drawn]).T
    for other in (severity, atrophy):
        assert np.corrcoef(further, other)[0, 1] == pytest.approx(expected, abs=3 / math.sqrt(n))
    assert further.std() == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_a_share_of_the_subjects_is_healthy_whatever_their_anatomy_unless_it_is_coupled():
    found = {
        coupling: np.array(
            [
                (d.severity, d.atrophy)
                for d in (
                    draw_brain_subject(np.random.default_rng(s), coupling=coupling, healthy_share=0.4)
                    for s in range(3000)
                )
            ]
        )
        for coupling in ("none", "published", "strong")
    }
    for severity, _ in (v.T for v in found.values()):
        assert (severity == 0).mean() == pytest.approx(0.4, abs=0.03)
        assert severity[severity > 0].mean() == pytest.approx(0.5, abs=0.03)
    apart = {name: v[v[:, 0] > 0, 1].mean() - v[v[:, 0] == 0, 1].mean() for name, v in found.items()}
    assert abs(apart["none"]) < 0.03 < 0.15 < apart["published"] < apart["strong"]
    given = [draw_brain_subject(np.random.default_rng(s), severity=0.0, healthy_share=0.4) for s in range(5)]
    assert {d.severity for d in given} == {0.0}


def test_two_tracers_show_one_severity_only_of_one_pathology():
    subject = BrainSubject("alzheimer", 0.9, 0.2, None, further_severity=0.3)
    assert subject_for(subject, tracer="HMPAO", first="FDG") == subject
    for tracer in ("florbetapir", "flortaucipir"):
        assert subject_for(subject, tracer=tracer, first="early-florbetapir").severity == 0.3


def test_healthy_subjects_have_no_severity_and_little_atrophy():
    drawn = [draw_brain_subject(np.random.default_rng(s), disease="normal") for s in range(50)]
    assert {d.severity for d in drawn} == {0.0}
    assert 0.0 < min(d.atrophy for d in drawn) < max(d.atrophy for d in drawn) <= 0.3


def test_plain_fdg_keeps_one_uptake_of_cortex_and_a_disease_brings_regions():
    plain = from_brain_labels(LABELS, SPACING, seed=4)
    again = from_brain_labels(LABELS, SPACING, seed=4, tracer="fdg", severity=0.0, atrophy=0.0)
    np.testing.assert_array_equal(plain.activity, again.activity)
    regional = from_brain_labels(LABELS, SPACING, seed=4, disease="alzheimer", severity=1.0)
    same = patient(disease="alzheimer", severity=1.0, seed=4).render()
    np.testing.assert_array_equal(regional.activity, same.activity)
    motor, precuneus = (regional.activity[np.isin(REGIONS % RIGHT, r)].mean() for r in (3, 5))
    assert motor > 1.2 * precuneus


def test_truth_and_regions_survive_another_grid():
    found = patient("florbetapir", seed=2)
    own = found.source.grid
    fine = Grid(tuple(2 * n for n in own.shape), (2.0,) * 3, tuple(o - 1.0 for o in own.origin_mm))
    regions, image = found.regions_on(fine), found.render(fine).activity
    np.testing.assert_array_equal(found.regions_on(own), found.regions)
    for truth in found.truth:
        assert image[regions == truth.number].mean() == pytest.approx(truth.suv, rel=1e-4)
    assert json.loads(json.dumps(found.to_json()))["regions"][0]["name"] == "left frontal"


def test_the_same_seed_gives_the_same_brain_and_lesions_are_put_in():
    plan = LesionPlan(diameters_mm=(16.0,), contrasts=(3.0,), shapes=("sphere",))
    first, again = (patient(seed=5, lesions=plan).render() for _ in range(2))
    np.testing.assert_array_equal(first.activity, again.activity)
    assert len(first.lesions) == 1


def test_mistakes_are_refused_with_what_is_valid():
    with pytest.raises(
        InputError, match=r"one of FDG, florbetapir, early-florbetapir, flortaucipir, .* HMPAO; found 'PiB'"
    ):
        brain_tracer_named("PiB")
    with pytest.raises(InputError, match="one of normal, alzheimer, parkinson; found 'lewy'"):
        patient(disease="lewy")
    with pytest.raises(InputError, match="coupling of atrophy and uptake must be one of none, published, strong"):
        draw_brain_subject(np.random.default_rng(0), coupling="weak")
    with pytest.raises(InputError, match=r"severity of a brain must lie from 0 to 1; found 1\.5"):
        patient(disease="alzheimer", severity=1.5)
    with pytest.raises(InputError, match="healthy brain has severity 0"):
        draw_brain_subject(np.random.default_rng(0), disease="normal", severity=0.5)
    with pytest.raises(InputError, match="Strong coupling makes atrophy equal"):
        draw_brain_subject(np.random.default_rng(0), coupling="strong", severity=0.5, atrophy=0.1)
    with pytest.raises(InputError, match="relative to pons, which the label map lacks"):
        brain_patient(np.where(LABELS == 16, 0, LABELS), SPACING, seed=1)
    with pytest.raises(InputError, match="must not be negative"):
        patient(seed=-1)
