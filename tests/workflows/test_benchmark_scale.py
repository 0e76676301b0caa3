"""Every method of a benchmark is measured on one scale, of which the target of a test patient tells nothing."""

import numpy as np
import pytest

from nmsynth.core.normalisation import Normalisation, activity_level
from nmsynth.core.plan import ConditionPlan, ImagePlan, Plan
from nmsynth.core.units import Unit
from nmsynth.data.prepared import PreparedCase
from nmsynth.evaluation.league_measures import Truth, measure_case
from nmsynth.workflows.benchmark_baselines import Presented, body_of, fit_baseline, target_of
from nmsynth.workflows.benchmark_scale import answer_scale, measured_scale, range_of, range_on_scale, source_on_scale

SPACING = (10.0, 10.0, 10.0)
LEVEL = Normalisation(kind="level", scale=3.0)
TRACER = ConditionPlan(name="target_tracer", kind="category", categories=("FDG", "FES"))


def image_plan(name, modality, unit, normalisation):
    return ImagePlan(name=name, modality=modality, unit=unit, normalisation=normalisation)


def plan_of(source=("NM", Unit.COUNTS, LEVEL), target=("NM", Unit.COUNTS, LEVEL), **values):
    return Plan(
        task="t", sources=(image_plan("first", *source),), target=image_plan("target", *target), spacing_mm=SPACING,
        patch=(4, 4, 4), **values,
    )  # fmt: skip


def phantom(seed=0):
    """A warm body with a hot cube that lies elsewhere in every patient, shape ``(z, y, x)``."""
    rng = np.random.default_rng(seed)
    image = np.zeros((8, 14, 14), np.float32)
    image[:, 2:12, 2:12] = 1.0 + rng.integers(0, 3, (8, 10, 10))
    y = 3 + seed % 5
    image[2:6, y : y + 3, 4:8] = 8.0
    return image


def prepared(plan, sources, target, *, told=(), name="c"):
    """A case as it is prepared from sources at several levels and a target."""
    fitted = [plan.sources[0].normalisation.fit(s, SPACING) for s in sources]
    ratio = plan.target.normalisation.scale / plan.sources[0].normalisation.scale
    wanted = plan.target.normalisation.fit(target, SPACING)
    if plan.target_level_of_source:
        scale = ratio * float(np.median([f.scale for f in fitted]))
        wanted = type(wanted)("level", 0.0, scale)
    body = (target > 0).astype(np.float32)
    labels = (target == target.max()).astype(np.float32)
    layers = np.stack([*(f.apply(s) for f, s in zip(fitted, sources, strict=True)), wanted.apply(target), body, labels])
    record = {
        "normalisations": [f.to_json() for f in fitted], "target_normalisation": wanted.to_json(),
        "spacing_mm": list(SPACING), "affine": np.eye(4)[[2, 1, 0, 3]].tolist(),
    }  # fmt: skip
    levels = tuple(((k,), tuple(told)) for k in range(len(sources)))
    return PreparedCase(name, name, "train", layers.astype(np.float32), levels, record)


def shown(*cases):
    return [Presented(case, level, "") for case in cases for level in range(len(case.levels))]


def test_leaving_counts_as_they_are_is_measured_alike_by_a_filter_and_by_a_model():
    plan, image = plan_of(), phantom()
    case = prepared(plan, [0.2 * image, 0.05 * image], 30.0 * image)
    for one in shown(case):
        changes_nothing = answer_scale(plan, case, one.level).invert(case.source(one.level)[0])
        filtered = fit_baseline("input", plan, shown(case), [one]).predict(one)
        np.testing.assert_allclose(filtered, changes_nothing, rtol=1e-5)
        np.testing.assert_allclose(filtered, target_of(plan, case), rtol=1e-5)  # they differ by their counts alone
    np.testing.assert_allclose(target_of(plan, case), 0.2 * image, rtol=1e-5)


@pytest.mark.parametrize("name", ["input", "gaussian", "constant", "population-mean", "tissue-lookup"])
def test_counts_of_a_test_target_change_no_answer_and_no_measure(name):
    plan = plan_of()
    training = shown(*(prepared(plan, [k * phantom(k)], 10.0 / k * phantom(k), name=f"c{k}") for k in (1, 2, 3)))
    found = []
    for counts in (1.0, 100.0):
        case = prepared(plan, [2.0 * phantom(4)], counts * (phantom(4) + 0.3 * phantom(5)))
        fitted, one = fit_baseline(name, plan, training, shown(case)), Presented(case, 0, "")
        truth = Truth(
            target_of(plan, case), body_of(case), case.labels, SPACING, "NM", range_on_scale(plan, case)
        )  # fmt: skip
        value = None if fitted.region_value is None else fitted.region_value(one)
        found.append(measure_case(fitted.predict(one), truth, region_value=value))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_range_of_ssim_is_that_of_the_image_where_each_has_its_level():
    plan, image = plan_of(), phantom()
    case = prepared(plan, [20.0 * image], 7.0 * image)
    assert range_of(plan) == 3.0
    assert range_on_scale(plan, case) == pytest.approx(3.0 * activity_level(20.0 * image, SPACING))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (("PT", Unit.SUV_BODY_WEIGHT, Normalisation(kind="linear", scale=3.0)), 3.0),
        (("PT", Unit.SUV_BODY_WEIGHT, Normalisation(kind="asinh", scale=8.33, knee=0.5)), 8.33),
        (("CT", Unit.HOUNSFIELD, Normalisation(kind="window", scale=1000.0, low=-1024.0, high=2000.0)), 3024.0),
    ],
)
def test_what_has_a_unit_is_measured_as_it_was(target, expected):
    """The tasks of the suites that nmsynth brings: results that are kept stay what they are."""
    plan = plan_of(source=target, target=target)
    case = prepared(plan, [0.9 * phantom(), phantom(2)], phantom())
    before = case.target_normalisation().invert(case.target)
    assert np.array_equal(target_of(plan, case), before)
    for level in (0, 1):
        assert np.array_equal(answer_scale(plan, case, level).invert(case.target), before)
        own = type(measured_scale(plan, case))(**case.record["normalisations"][level]).invert(case.layers[level])
        assert np.array_equal(source_on_scale(plan, case, level), own)
    assert range_of(plan) == range_on_scale(plan, case) == expected


def test_mr_is_measured_on_the_scale_of_the_plan():
    plan = plan_of(target=("MR", Unit.RELATIVE, Normalisation(kind="robust", scale=400.0)))
    for gain in (1.0, 50.0):
        case = prepared(plan, [phantom()], gain * phantom())
        np.testing.assert_allclose(target_of(plan, case), 400.0 * np.asarray(case.target), rtol=1e-6)
        np.testing.assert_allclose(answer_scale(plan, case, 0).invert(case.target), target_of(plan, case), rtol=1e-6)


@pytest.mark.parametrize("name", ["tissue-lookup", "tissue-lookup-depth"])
def test_lookup_sees_an_uncalibrated_source_as_networks_do(name):
    """Twice the source, in patients whose counts differ a thousandfold: the ratio is learned."""
    plan = plan_of(same_calibration=True)
    gains = (1.0, 30.0, 1000.0)
    cases = [prepared(plan, [g * phantom(0)], 2.0 * g * phantom(0), name=f"c{g}") for g in gains]
    fitted = fit_baseline(name, plan, shown(*cases[:2]), shown(cases[2]))
    found = fitted.predict(Presented(cases[2], 0, ""))
    body = body_of(cases[2])
    np.testing.assert_allclose(found[body], 2000.0 * phantom(0)[body], rtol=0.01)


def test_an_answer_comes_back_by_the_level_that_is_shown():
    plan, image = plan_of(same_calibration=True), phantom()
    case = prepared(plan, [image, 0.5 * image], 2.0 * image)
    first, second = (answer_scale(plan, case, level).scale for level in (0, 1))
    assert second == pytest.approx(0.5 * first)


def test_population_mean_is_of_the_tracer_that_is_told():
    suv = ("PT", Unit.SUV_BODY_WEIGHT, Normalisation(kind="linear", scale=3.0))
    plan = plan_of(source=suv, target=suv, conditions=(TRACER,))
    body = (phantom() > 0).astype(np.float32)

    def case(tracer, value):
        return prepared(plan, [phantom()], value * body, told=TRACER.encode(tracer), name=f"{tracer}{value}")

    training = shown(case("FDG", 4.0), case("FDG", 6.0), case("FES", 1.0))
    fitted = fit_baseline("population-mean", plan, training, training)
    for tracer, expected in (("FDG", 5.0), ("FES", 1.0)):
        np.testing.assert_allclose(fitted.predict(Presented(case(tracer, 9.0), 0, ""))[body > 0], expected, rtol=1e-5)
    assert fitted.detail == "3 patients' cases, 2 tracers"
    untold = plan.model_copy(update={"conditions": ()})
    mixed = fit_baseline("population-mean", untold, training, training)
    np.testing.assert_allclose(mixed.predict(training[0])[body > 0], 11 / 3, rtol=1e-5)
