"""SUV rules on numbers that can be checked by hand."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.body_size import normalising_size, plausible_activity_bq, plausible_height_m
from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.scan_times import TimeCandidates, resolve_injection_time, resolve_reference_time
from nmsynth.core.suv import SuvRule, resolve_suv
from nmsynth.core.units import SuvKind, Unit

NOON = datetime(2025, 1, 1, 12)
F18 = 6586.2
SCAN = Acquisition(
    half_life_s=3600.0,
    injected_activity_bq=7e7,
    injection_time=NOON,
    reference_time=NOON + timedelta(hours=1),
    decay_correction="START",
    corrections=("ATTN", "DECY"),
    body_mass_kg=70.0,
    height_m=1.75,
    sex="M",
)


def changed(**fields) -> Acquisition:
    from dataclasses import replace

    return replace(SCAN, **fields)


def rule_of(acquisition: Acquisition, unit: Unit = Unit.BQML) -> SuvRule:
    return resolve_suv(acquisition, unit=unit, time_rule="a")


def test_half_of_the_activity_is_left_after_one_half_life():
    factor = rule_of(SCAN).factor("bw", acquisition=SCAN, unit=Unit.BQML)
    assert factor == pytest.approx(70000.0 / 3.5e7)


def test_admin_has_no_decay_term():
    scan = changed(decay_correction="ADMIN", half_life_s=None, reference_time=None)
    rule = rule_of(scan)
    assert (rule.time_rule, rule.decay_rule) == ("none", "ADMIN")
    assert rule.factor("bw", acquisition=scan, unit=Unit.BQML) == pytest.approx(70000.0 / 7e7)


def test_uncorrected_slices_are_corrected_one_by_one():
    times = (NOON + timedelta(hours=1), NOON + timedelta(hours=2))
    scan = changed(decay_correction="NONE", corrections=("ATTN",), acquisition_times=times, frame_durations_s=(1e-3,))
    factor = rule_of(scan).factor("bw", acquisition=scan, unit=Unit.BQML)
    np.testing.assert_allclose(factor, np.array([2.0, 4.0]) * 70000.0 / 7e7, rtol=1e-6)


def test_uncorrected_slices_without_a_duration_have_no_suv():
    scan = changed(decay_correction="NONE", corrections=("ATTN",), acquisition_times=(NOON,), frame_durations_s=(0.0,))
    with pytest.raises(SuvError, match="frame durations"):
        rule_of(scan).factor("bw", acquisition=scan, unit=Unit.BQML)


def test_uncorrected_frame_counts_its_own_decay():
    scan = changed(
        decay_correction="NONE", corrections=("ATTN",), acquisition_times=(NOON,), frame_durations_s=(3600.0,)
    )
    x = np.log(2.0)
    factor = rule_of(scan).factor("bw", acquisition=scan, unit=Unit.BQML)
    assert factor == pytest.approx(x / (1 - np.exp(-x)) * 70000.0 / 7e7)


@pytest.mark.parametrize("kind", list(SuvKind))
def test_all_kinds_convert_into_each_other(kind):
    direct = rule_of(SCAN).factor(kind, acquisition=SCAN, unit=Unit.BQML)
    stated = rule_of(SCAN, Unit.SUV_BODY_WEIGHT)
    by_weight = rule_of(SCAN).factor("bw", acquisition=SCAN, unit=Unit.BQML)
    assert by_weight * stated.factor(kind, acquisition=SCAN, unit=Unit.SUV_BODY_WEIGHT) == pytest.approx(direct)


@pytest.mark.parametrize(
    ("sex", "kind", "size"),
    [
        ("M", SuvKind.LEAN_BODY_MASS_JAMES, 56520.0),
        ("F", SuvKind.LEAN_BODY_MASS_JAMES, 51220.0),
        ("O", SuvKind.LEAN_BODY_MASS_JAMES, 53870.0),
        ("M", SuvKind.IDEAL_BODY_WEIGHT, 72380.0),
        ("F", SuvKind.IDEAL_BODY_WEIGHT, 66430.0),
        ("M", SuvKind.LEAN_BODY_MASS_JANMAHASATIAN, 55857.4),
        ("F", SuvKind.LEAN_BODY_MASS_JANMAHASATIAN, 45197.0),
        (None, SuvKind.BODY_SURFACE_AREA, 18481.4),
        (None, SuvKind.BODY_WEIGHT, 70000.0),
    ],
)
def test_body_sizes(sex, kind, size):
    assert normalising_size(kind, body_mass_kg=70.0, height_m=1.75, sex=sex) == pytest.approx(size, rel=1e-5)


def test_lean_body_mass_needs_height_and_sex():
    with pytest.raises(SuvError, match="height"):
        normalising_size(SuvKind.LEAN_BODY_MASS_JAMES, body_mass_kg=70.0, height_m=None, sex="M")
    with pytest.raises(SuvError, match="sex"):
        normalising_size(SuvKind.LEAN_BODY_MASS_JAMES, body_mass_kg=70.0, height_m=1.75, sex=None)


def test_james_formula_outside_its_range_is_refused():
    with pytest.raises(SuvError, match="not valid"):
        normalising_size(SuvKind.LEAN_BODY_MASS_JAMES, body_mass_kg=250.0, height_m=1.5, sex="F")


def test_reason_is_raised():
    rule = SuvRule(reason="SUV refused: because.")
    with pytest.raises(SuvError, match="because"):
        rule.factor("bw", acquisition=SCAN, unit=Unit.BQML)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"corrections": ("DECY",)}, "attenuation"),
        ({"corrections": ("ATTN",)}, "contradict"),
        ({"decay_correction": "NONE"}, "contradict"),
        ({"decay_correction": None}, "DecayCorrection"),
        ({"body_mass_kg": None}, "weight"),
        ({"injected_activity_bq": None}, "activity"),
        ({"half_life_s": None}, "half-life"),
        ({"injection_time": None}, "injection time"),
        ({"reference_time": None}, "time of the scan"),
        ({"reference_time": NOON - timedelta(minutes=1)}, "before the scan"),
        ({"reference_time": NOON + timedelta(hours=9)}, "9.0 half-lives"),
    ],
)
def test_reasons(fields, match):
    assert match in (rule_of(changed(**fields)).reason or "")


def test_other_units_have_no_suv():
    assert "Bq/mL" in (rule_of(SCAN, Unit.COUNTS).reason or "")
    with pytest.raises(SuvError, match="relative"):
        SuvRule().factor("bw", acquisition=SCAN, unit=Unit.RELATIVE)


def test_json_round_trip():
    rule = SuvRule("c", "NONE", None, ("a note",), (1.0, 1.5))
    assert SuvRule.from_json(rule.to_json()) == rule
    assert rule.to_json()["schema_version"] == 1


@pytest.mark.parametrize("values", [{}, {"time_rule": "a", "decay_rule": "START", "slice_decay": ["x"]}])
def test_malformed_json_is_refused(values):
    with pytest.raises(InputError, match="time_rule"):
        SuvRule.from_json(values)


def test_negative_slice_decay_is_refused():
    with pytest.raises(InputError, match="positive"):
        SuvRule.from_json({"time_rule": "a", "decay_rule": "NONE", "slice_decay": [-1.0]})


def test_rule_a_series_time_not_later_than_acquisition():
    found = resolve_reference_time(TimeCandidates(NOON, (NOON, NOON + timedelta(minutes=4))), half_life_s=F18)
    assert found == (NOON, "a", ())


def test_rule_b_private_time_before_back_computation():
    late = NOON + timedelta(hours=1)
    candidates = TimeCandidates(late, (NOON,), (150.0,), (300.0,), NOON - timedelta(minutes=20))
    found = resolve_reference_time(candidates, half_life_s=F18)
    assert (found.time, found.rule) == (NOON - timedelta(minutes=20), "b")
    assert "back-computed time differ" in found.notes[0]


def test_rule_c_back_computation():
    """A frame of 600 s has its mean activity 298.4 s after its start."""
    times = (NOON + timedelta(seconds=150), NOON + timedelta(seconds=300))
    candidates = TimeCandidates(NOON + timedelta(hours=1), times, (448.4, 598.4), (600.0, 600.0))
    found = resolve_reference_time(candidates, half_life_s=F18)
    assert found.rule == "c"
    assert abs((found.time - NOON).total_seconds()) < 0.1


def test_rule_d_where_slices_disagree():
    times = (NOON, NOON)
    candidates = TimeCandidates(NOON + timedelta(hours=1), times, (150.0, 400.0), (300.0, 300.0))
    found = resolve_reference_time(candidates, half_life_s=F18)
    assert (found.time, found.rule) == (NOON, "d")
    assert len(found.notes) == 2


def test_no_time_at_all():
    assert resolve_reference_time(TimeCandidates(NOON), half_life_s=F18) == (None, "none", ())


def test_injection_the_day_before():
    scan = NOON.replace(hour=0, minute=30)
    found = resolve_injection_time(None, time(23, 30), reference_time=scan, half_life_s=F18)
    assert (found.time, found.rule) == (scan - timedelta(hours=1), "previous day")


def test_injection_keeps_the_zone_of_the_scan():
    scan = NOON.replace(tzinfo=UTC)
    found = resolve_injection_time(None, time(11), reference_time=scan, half_life_s=F18)
    assert found.time == scan - timedelta(hours=1)


def test_dose_of_therapy_is_not_ambiguous():
    assert plausible_activity_bq(7400.0, "Lu-177")[0] == 7.4e9


@pytest.mark.parametrize(
    ("stated", "mass", "height"), [(175.0, 70.0, 1.75), (68.0, 70.0, 68 * 0.0254), (1.8, 70.0, 1.8)]
)
def test_height_units(stated, mass, height):
    assert plausible_height_m(stated, mass)[0] == pytest.approx(height)
