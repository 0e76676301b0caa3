"""What a department without a CT has, on bodies whose attenuation is known."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation
from nmsynth.core.units import Unit
from nmsynth.physics.chang import chang_gains
from nmsynth.workflows.benchmark_baselines import Presented, fit_baseline, source_body, source_volume
from nmsynth.workflows.heart_baselines import ARC_DEG, CHANG, FITTED, MU_PER_CM, POPULATION_GAIN
from nmsynth.workflows.tasks import load_task
from tests.workflows.test_benchmark_scale import SPACING, plan_of, prepared, shown

LEVEL = Normalisation(kind="level", scale=3.0)
MU = 0.10
SHAPE = (6, 36, 36)


def heart(seed):
    """A warm body with a hot wall and a defect somewhere in it, without noise."""
    z, y, x = np.indices(SHAPE)
    body = ((y - 17.5) / 15) ** 2 + ((x - 17.5) / 16) ** 2 <= 1
    angle = np.arctan2(y - 12, x - 23)
    wall = (abs(np.hypot(y - 12, x - 23) - 4) <= 1) & (z > 0) & (z < 5)
    centre = np.random.default_rng(seed).uniform(-np.pi, np.pi)
    defect = np.cos(angle - centre) > 0.8
    return np.where(wall, np.where(defect, 3.0, 6.0), 1.0 * body).astype(np.float32)


def case_of(plan, seed, noise=0.05):
    target = heart(seed)
    gains = chang_gains(target > 0, SPACING, mu_per_cm=MU, first_deg=ARC_DEG[0], arc_deg=ARC_DEG[1])
    drawn = np.random.default_rng(100 + seed).standard_normal(SHAPE)
    return prepared(plan, [(target / gains * (1 + noise * drawn)).astype(np.float32)], target, name=f"c{seed}")


@pytest.fixture(scope="module")
def patients():
    plan = plan_of(source=("NM", Unit.RELATIVE, LEVEL), target=("NM", Unit.BQML, LEVEL), same_calibration=True)
    *training, tested = shown(*(case_of(plan, seed) for seed in range(5)))
    return plan, training, tested


def error(image, tested):
    """Mean over the wall, after the factor that fits it best."""
    wall, expected = np.asarray(tested.case.labels) > 0, heart(4)
    factor = (image[wall] * expected[wall]).sum() / (image[wall] ** 2).sum()
    return float(np.abs(factor * image[wall] - expected[wall]).mean())


@pytest.mark.parametrize("name", FITTED)
def test_attenuation_of_the_training_is_found_and_undone(patients, name):
    plan, training, tested = patients
    fitted = fit_baseline(name, plan, training, [tested])
    source = source_volume(plan, tested)
    assert error(fitted.predict(tested), tested) < 0.6 * error(source.array, tested)
    if name == CHANG:
        assert any(f"{mu:g} /cm" in fitted.detail for mu in MU_PER_CM if abs(mu - MU) <= 0.021)
    assert source_body(source).any()


def test_the_target_of_a_test_patient_changes_nothing(patients):
    plan, training, tested = patients
    case = tested.case
    layers = np.array(case.layers)
    layers[-3] *= 7.0
    other = Presented(type(case)("x", "x", "train", layers, case.levels, case.record), 0, "")
    for name in (CHANG, POPULATION_GAIN):
        fitted = fit_baseline(name, plan, training, [tested])
        assert np.array_equal(fitted.predict(tested), fitted.predict(other))


def test_nothing_is_fitted_to_nobody(patients):
    with pytest.raises(InputError, match="fitted to training patients; found none"):
        fit_baseline(CHANG, patients[0], [], [patients[2]])


def test_they_stand_beside_the_model_of_the_task():
    assert load_task("ac-spect").baselines == FITTED
