"""What is said of a brain without a network: each pair of tracers has a line of its own, and regions their uptake."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import FittedNormalisation
from nmsynth.data.population_uptake import Anatomy
from nmsynth.data.prepared import PreparedCase
from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion
from nmsynth.workflows.benchmark_baselines import Presented, fit_baseline
from nmsynth.workflows.brain_baselines import POPULATION_UPTAKE, RATIO_MAP, RatioLine, told_tracers
from tests.models.method_packages import make_plan
from tests.workflows.test_task_demos import MR, PET, TRACERS, ratio

PLAN = make_plan(
    sources=(PET, MR), target=ratio(FDG="pons", florbetapir="whole cerebellum"), conditions=TRACERS, dimensions="3d"
)
SHAPE = (12, 12, 12)
PARTS = (
    BrainRegion.FRONTAL, BrainRegion.FRONTAL + RIGHT, BrainRegion.PONS, BrainRegion.CEREBELLAR_CORTEX,
    BrainRegion.CEREBELLAR_WHITE, 0,
)  # fmt: skip
LABELS = np.repeat(PARTS, 2)[:, None, None] * np.ones(SHAPE)
LINES = {("FDG", "florbetapir"): (0.5, 0.7), ("florbetapir", "FDG"): (2.0, -0.4)}


def case(number, pair, level=1.0):
    """A brain of five slabs, one of another tissue beside; the target is the ratio of the source by a known line."""
    rng = np.random.default_rng(number)
    suv = level * np.select([p == LABELS for p in PARTS], rng.uniform(0.5, 3.0, len(PARTS)))
    references = (
        (BrainRegion.PONS,) if pair[1] == "FDG" else (BrainRegion.CEREBELLAR_CORTEX, BrainRegion.CEREBELLAR_WHITE)
    )
    slope, offset = LINES[pair]
    target = slope * suv / suv[np.isin(LABELS, references)].mean() + offset
    scales = [PET.normalisation.scale, 1.0]
    layers = [suv / scales[0], np.ones(SHAPE), target / 2.0, np.ones(SHAPE), LABELS]
    told = tuple(float(t == c) for t in pair for c in TRACERS[0].categories)
    kinds = [FittedNormalisation("linear", 0.0, scale).to_json() for scale in scales]
    record = {
        "spacing_mm": [4.0, 4.0, 4.0], "affine": np.diag([4.0, 4.0, 4.0, 1.0]).tolist(), "normalisations": kinds,
        "target_normalisation": FittedNormalisation("linear", 0.0, 2.0).to_json(),
    }  # fmt: skip
    images = np.stack(layers).astype(np.float32)
    return Presented(PreparedCase(f"c{number}", f"s{number}", "train", images, (((0, 1), told),), record), 0, "")


TRAINING = [case(k, pair) for k, pair in enumerate([*LINES] * 4)]


def test_each_pair_of_tracers_has_its_own_line_whatever_was_injected():
    assert told_tracers(PLAN, TRAINING[1].case, 0) == ("florbetapir", "FDG")
    fitted = fit_baseline(RATIO_MAP, PLAN, TRAINING, [])
    for pair in LINES:
        for level in (1.0, 3.0):
            shown = case(99, pair, level)
            found = fitted.predict(shown)
            assert found[2:-3] == pytest.approx(2.0 * shown.case.target[2:-3], abs=0.02)
    assert "FDG to florbetapir: 0.5 times the ratio +0.7, Gaussian 0 mm, 4 patients" in fitted.detail
    with pytest.raises(InputError, match="fitted to FDG to florbetapir; found florbetapir to FDG"):
        fit_baseline(RATIO_MAP, PLAN, TRAINING[::2], []).predict(TRAINING[1])


def test_a_line_is_of_regions_not_of_voxels():
    labels = np.array([[[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]]]).repeat(30, axis=0)
    ratio_image = labels.astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(labels.shape).astype(np.float32)
    noise -= sum(np.where(labels == k, noise[labels == k].mean(), 0.0) for k in (1, 2, 3))
    anatomy = Anatomy(labels, np.ones(labels.shape, bool), (4.0, 4.0, 4.0))
    line = RatioLine.fit([ratio_image + noise], [3.0 * ratio_image - 1.0], [anatomy], 0.0)
    assert line.brain == pytest.approx((3.0, -1.0), abs=1e-4)  # noise of the source does not flatten it


def test_uptake_is_of_the_population_and_of_the_pair_of_tracers():
    fitted = fit_baseline(POPULATION_UPTAKE, PLAN, TRAINING, [])
    found = {pair: fitted.predict(case(99, pair)) for pair in LINES}
    for number, pair in enumerate(LINES):
        own = [2.0 * np.asarray(t.case.target) for t in TRAINING[number::2]]
        expected = np.mean([image[LABELS == BrainRegion.PONS].mean() for image in own])
        shown = found[pair][LABELS == BrainRegion.PONS].mean()
        assert shown == pytest.approx(expected, rel=0.35)
    assert not np.allclose(*found.values())
