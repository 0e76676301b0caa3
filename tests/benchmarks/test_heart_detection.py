"""Hearts are scanned by the camera of the training, or by the other one of the proof, in a crop with all cubes."""

from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.heart_detection import (
    CAMERAS,
    FRACTIONS,
    LENGTH_MM,
    SIDE,
    SUBJECTS,
    areas,
    camera_settings,
    cube,
    verdict,
)
from benchmarks.heart_detection import Heart as Read
from benchmarks.heart_normals import FIRST_SEED, SEXES, VIEWS, seeds_of, ways

from nmsynth.metrics.agreement import Interval
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, study_of
from nmsynth.workflows.spect_subject import spect_subject
from nmsynth.workflows.tasks import load_task


def test_the_other_camera_is_that_of_the_proof():
    assert camera_settings(CAMERAS[0]) == {}
    other = SimulateSpectSettings(phantom="heart", **camera_settings("another"))
    assert (other.collimator, other.n_views, other.scatter_correction) == ("LEUHR", 45, "windows")


def test_counts_are_those_of_the_task_that_the_issue_asks_for():
    assert set(FRACTIONS) <= set(load_task("lowcount-mpi").levels.values)
    assert FRACTIONS == (0.5, 0.25, 0.125)
    assert SUBJECTS >= 200


def test_a_cube_is_scaled_where_the_image_without_noise_is_best():
    rng = np.random.default_rng(0)
    labels = np.zeros((21, 40, 40), dtype=np.uint8)
    labels[7:14, 15:25, 15:25] = 7
    free = np.where(labels > 0, np.arange(40.0), 1.0).astype(np.float32)
    study = SimpleNamespace(segment_labels=labels, noise_free=SimpleNamespace(array=free))
    best = (labels > 0) & (free >= 20)
    noisy = (free * (1 + 0.5 * rng.standard_normal(free.shape))).astype(np.float32)
    found = cube(noisy, study, 7)
    assert found.shape == (SIDE,) * 3
    level = float(noisy[best].mean())
    assert found[6, 6, 6] == pytest.approx(noisy[10, 20, 20] / level, rel=1e-5)


def test_cubes_lie_within_the_crop():
    """Middles of the segments that are read lie within 25 mm of the middle of the ventricle along the axis."""
    assert LENGTH_MM / 2 >= 25.0 + SIDE * 6.4 / 2


def test_verdicts_say_better_not_worse_worse_or_nothing():
    def found(lower, upper):
        return verdict(Interval((lower + upper) / 2, lower, upper, 250, 0.95))

    assert [found(0.01, 0.05), found(-0.02, 0.01), found(-0.06, -0.04), found(-0.05, 0.02)] == [
        "better", "not worse", "worse", "not told",
    ]  # fmt: skip


def test_both_differences_are_told_with_their_verdicts(tmp_path):
    """A model that changes nothing is not worse than its input, and one that loses the defect is worse."""
    rng = np.random.default_rng(4)
    numbers = [(k, with_defect) for k in range(60) for with_defect in (True, False)]
    hearts = [Read(k, with_defect, "m", tmp_path, fractions=(0.5, 0.25)) for k, with_defect in numbers]
    z, y, x = np.indices((SIDE,) * 3) - SIDE // 2
    blob = -1.0 * np.exp(-(z**2 + y**2 + x**2) / (2 * 1.5**2))
    for heart in hearts:
        noise = 0.4 * rng.standard_normal((SIDE,) * 3)
        seen = noise + heart.with_defect * blob
        np.savez(heart.path, **{
            "full": seen, "input 0.5": seen, "model 0.5": seen, "input 0.25": seen,
            "model 0.25": 0.4 * rng.standard_normal((SIDE,) * 3),
        })  # fmt: skip
    found = areas(hearts)
    assert found["verdicts"]["model at 0.5"] == {"less input": "not worse", "less full counts": "not worse"}
    assert found["verdicts"]["model at 0.25"] == {"less input": "worse", "less full counts": "worse"}
    assert found["model at 0.5"]["less input"] == [0.0, 0.0, 0.0]


def test_limits_are_made_of_hearts_imaged_as_those_of_the_task():
    named = {way.name(sex) for way in ways() for sex in SEXES}
    assert named == set(load_task("lowcount-mpi").normals)
    assert set(load_task("ac-spect").normals) == {name for name in named if "-corrected-" in name}
    usual = SimulateSpectSettings(phantom="heart")
    for way in ways():
        settings = way.settings(FIRST_SEED)
        studied = SimulateSpectSettings(phantom="heart", **way.changes)
        assert settings.n_views == VIEWS
        # so many counts as in the study, and filter and updates as there
        assert study_of(settings).duration_s == pytest.approx(study_of(studied).duration_s)
        assert (settings.filter_fwhm_mm, settings.n_subsets) == (studied.filter_fwhm_mm, usual.n_subsets)
    sexes = [spect_subject(ways()[0].settings(seed)).habitus["sex"] for seed in seeds_of("F", 2)]
    assert sexes == ["F", "F"]
