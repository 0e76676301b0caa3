"""What the first minutes give without a network, on numbers that are known."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.data.prepared import open_prepared, prepare_case
from nmsynth.io import read
from nmsynth.workflows.benchmark_baselines import Presented, fit_baseline
from nmsynth.workflows.early_baselines import (
    BY_REGION,
    LAST_PART,
    OVER_PLASMA,
    PartExample,
    PartFactors,
    influx_seen,
    late_of_seen,
    patlak_of_study,
)
from nmsynth.workflows.study_recipe import load_study_recipe, plan_studies, simulate_study
from nmsynth.workflows.task_study import TaskStudy, evaluate_task_study
from nmsynth.workflows.tasks import load_task
from tests.models.method_packages import make_plan
from tests.workflows.test_task_demos import HEAD, INFLUX, LATE, PARTS, PLASMA, SEEN

LABELS = np.repeat([1, 2, 0], 20)


def example(n_parts, scale, plasma=None):
    """Region 1 rises three times, region 2 twice, of a patient who takes up more or less."""
    last = scale * np.where(LABELS == 1, 2.0, 4.0)
    return PartExample(n_parts, last, last * np.where(LABELS == 1, 3.0, 2.0), LABELS, plasma)


def test_factors_are_of_the_regions_and_of_the_minutes_that_were_seen():
    late = example(3, 1.0)
    factors = PartFactors.fit([example(1, 0.5), example(1, 2.0), late], over_plasma=False)
    new = example(1, 1.3)
    # sums of both regions: (20 * 6 + 20 * 8) / (20 * 2 + 20 * 4)
    assert factors(new.last, 1) == pytest.approx(new.last * 14 / 6, rel=1e-6)
    by_region = factors(new.last, 1, labels=LABELS)
    assert by_region[:40] == pytest.approx(new.target[:40], rel=1e-6)
    assert by_region[40:] == pytest.approx(new.last[40:] * 14 / 6, rel=1e-6)
    assert np.array_equal(factors(new.last, 2), factors(new.last, 1))


def test_influx_is_relative_to_the_plasma_of_the_patient():
    patients = [example(2, 1.0, plasma=50.0), example(2, 3.0, plasma=100.0)]
    targets = [PartExample(2, p.last, p.last * 4.0 / p.plasma_integral, LABELS, p.plasma_integral) for p in patients]
    factors = PartFactors.fit(targets, over_plasma=True)
    assert factors(np.array([10.0]), 2, plasma_integral=80.0) == pytest.approx([10.0 * 4 / 80])
    assert factors(np.array([10.0]), 2) == pytest.approx([10.0 * 4 / 75])  # the usual patient's
    with pytest.raises(InputError, match="told of none"):
        PartFactors.fit([example(2, 1.0)], over_plasma=True)
    with pytest.raises(InputError, match="regions of the brain; found none"):
        PartFactors.fit([PartExample(1, np.ones(4), np.ones(4), np.zeros(4))], over_plasma=False)


@pytest.mark.parametrize(
    ("kind", "plan", "names"),
    [
        ("late", {"target": LATE, "conditions": (SEEN,), "target_time": "30 to 60 min"}, (LAST_PART, BY_REGION)),
        ("influx", {"target": INFLUX, "conditions": (SEEN, PLASMA)}, (OVER_PLASMA,)),
    ],
)
def test_baselines_of_simulated_heads_are_better_than_the_last_minutes_as_they_are(tmp_path, kind, plan, names):
    task = load_task(f"early-to-{kind}")
    assert set(names) <= set(task.baselines)
    made = make_plan(task=task.name, sources=PARTS, spacing_mm=(6.0, 6.0, 6.0), patch=(8, 16, 16), **plan)
    studies = []
    for study in plan_studies(load_study_recipe(task.study, HEAD), 3, 0):
        rows, _ = simulate_study(study, tmp_path / study.case_id, file_format="nifti")
        prepare_case(study.case_id, rows, tmp_path / study.case_id, made, tmp_path / "prepared")
        studies.append(rows)
    *training, tested = [Presented(case, 0, "") for case in open_prepared(tmp_path / "prepared")]
    assert len(np.unique(tested.case.labels)) > 6  # regions of the brain alone, whose factors differ
    rows = tuple(studies[2])
    folder = tmp_path / rows[0].case
    target = read(folder / next(row.path for row in rows if row.role == "target"))
    study = TaskStudy(task, folder, rows, target)
    source = read(list(study.sources.values())[-1])
    arms = {"prediction": patlak_of_study(study)}
    for name in names:
        image = fit_baseline(name, made, training, [tested]).predict(tested)
        unit = made.target.unit
        assert image.shape == target.shape
        arms[name] = target.with_array(image * (study_scale(target) if unit.is_suv else 1.0))
    metrics = evaluate_task_study(study, arms, source)
    errors = {arm: metrics.value("regional error, mean", arm=arm) for arm in metrics.arms}
    if kind == "late":
        assert 0.15 < errors["source"] < 0.8
        assert metrics.value("regional bias", mask="cortex", arm="source") < -0.1
    for name in names:
        assert errors[name] < (0.7 * errors["source"] if kind == "late" else 0.35), name
    assert errors["prediction"] < 0.7
    assert metrics.value("regional bias", mask="thalamus", arm="prediction") is not None


def study_scale(target):
    """Bq/mL of an SUV."""
    return float(target.array.max() / target.to_suv().array.max())


def test_a_patlak_plot_sees_no_frame_that_was_not_seen():
    frames_min = np.array([[0, 5], [5, 7.5], [7.5, 10], [10, 60]], dtype=float)
    rng = np.random.default_rng(0)
    frames = rng.random((4, 1, 2, 2)).astype(np.float32)
    other = frames.copy()
    other[3] = 100.0
    minutes = np.linspace(0, 60, 601)
    plasma = 1 + 10 * np.exp(-minutes / 5)
    assert np.array_equal(
        late_of_seen(frames, frames_min, 10.0, (30.0, 60.0)), late_of_seen(other, frames_min, 10.0, (30.0, 60.0))
    )
    assert np.array_equal(
        influx_seen(frames, frames_min, plasma, minutes, 10.0), influx_seen(other, frames_min, plasma, minutes, 10.0)
    )
