"""What the model of a task gives is measured in the units that it comes in, beside a source that may be another's."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow
from nmsynth.inference.imitation import Imitation
from nmsynth.io.nifti import write_nifti
from nmsynth.workflows.task_study import TaskStudy, evaluate_task_study
from nmsynth.workflows.tasks import load_task, task_names
from tests.helpers import make_volume

INJECTED = datetime(2026, 1, 1, 13, 0)
SCANNED = Acquisition(
    half_life_s=6586.0,
    injected_activity_bq=3.5e8,
    body_mass_kg=70.0,
    injection_time=INJECTED,
    reference_time=INJECTED + timedelta(hours=1),
    decay_correction="START",
)
NOT_CORRECTED, SPECT = ("PT", Unit.RELATIVE), ("NM", Unit.BQML)
PET, INFLUX, RATIO = ("PT", Unit.BQML), ("PT", Unit.INFLUX), ("PT", Unit.SUVR)
CT, MR = ("CT", Unit.HOUNSFIELD), ("MR", Unit.RELATIVE)
KINDS = {
    "ac-spect": (("NM", Unit.RELATIVE), SPECT),
    "ct-to-pet": (CT, PET),
    "early-to-influx": (PET, INFLUX),
    "early-to-late": (PET, PET),
    "lowcount-mpi": (SPECT, SPECT),
    "lowcount-pet": (PET, PET),
    "lowcount-planar": (("NM", Unit.COUNTS), ("NM", Unit.COUNTS)),
    "lowcount-spect": (SPECT, SPECT),
    "mr-to-amyloid": (MR, RATIO),
    "mr-to-ct": (MR, CT),
    "mr-to-fdg": (MR, RATIO),
    "nac-to-ac-pet": (NOT_CORRECTED, PET),
    "nac-to-ct": (NOT_CORRECTED, CT),
    "pet-to-ct": (PET, CT),
    "pet-to-mr": (PET, MR),
    "sparse-spect": (SPECT, SPECT),
    "tracer-to-tracer": (PET, RATIO),
}
"""Source and target of simulated studies; an answer is of the target's kind but for :data:`ANSWERS`."""
ANSWERS = {"ct-to-pet": ("PT", Unit.SUV_BODY_WEIGHT), "nac-to-ac-pet": NOT_CORRECTED, "ac-spect": ("NM", Unit.RELATIVE)}
REGIONAL = {"ac-spect", "mr-to-amyloid", "mr-to-fdg", "tracer-to-tracer"}
"""Measured first in regions, which the ball has not."""


def ball(modality, unit, seed, **fields):
    """A noisy ball in air, in numbers that its unit may have."""
    shape = (1, 24, 24) if unit is Unit.COUNTS else (16, 24, 24)
    axes = np.indices(shape) - np.reshape([(n - 1) / 2 for n in shape], (3, 1, 1, 1))
    inside = (axes**2).sum(axis=0) < 64
    values = inside * (2.0 + 0.1 * np.random.default_rng(seed).standard_normal(shape))
    array = {Unit.HOUNSFIELD: np.where(inside, 20 * values, -1000.0), Unit.BQML: 5000.0 * values}.get(unit, values)
    if modality == "PT" and unit is Unit.BQML:
        fields = {"acquisition": SCANNED, "suv_rule": SuvRule(time_rule="a", decay_rule="START")} | fields
    return make_volume(array=array, spacing_mm=(6.0, 6.0, 6.0), unit=unit, modality=modality, **fields)


@pytest.mark.parametrize("is_reference", [False, True])
def test_full_counts_are_a_control_unless_they_are_the_reference(tmp_path, is_reference):
    target, scan = ball(*PET, 2), ball(*PET, 4)
    write_nifti(target if is_reference else scan, tmp_path / "full.nii.gz")
    row = ManifestRow("case", "patient", "train", "target", "full_count", "full.nii.gz", 1.0, "", "")
    study = TaskStudy(load_task("nac-to-ac-pet"), tmp_path, (row,), target)
    metrics = evaluate_task_study(study, {"prediction": ball(*NOT_CORRECTED, 3)}, ball(*NOT_CORRECTED, 1))
    assert ("full counts" in metrics.arms) is not is_reference


def test_a_source_of_another_level_gets_a_gaussian_with_a_factor():
    target = ball(*PET, 2)
    source = ball(*NOT_CORRECTED, 1)  # whose numbers are 5000 times less
    row = ManifestRow("case", "patient", "train", "target", "target", "target.nii.gz", None, "", "")
    study = TaskStudy(load_task("nac-to-ac-pet"), Path(), (row,), target)
    metrics = evaluate_task_study(study, {"prediction": source}, source)
    assert metrics.value("NRMSE", arm="best Gaussian of the source") > 0.95
    assert metrics.value("NRMSE", arm="best Gaussian of the source, scaled") < 0.075
    assert metrics.value("factor", arm="best Gaussian of the source, scaled") == pytest.approx(5000.0, rel=0.05)


@pytest.mark.parametrize("name", task_names())
def test_the_answer_of_every_task_is_measured(name):
    source_kind, target_kind = KINDS[name]
    source, target = ball(*source_kind, 1), ball(*target_kind, 2)
    answer = ball(*ANSWERS.get(name, target_kind), 3)
    if name == "ct-to-pet":  # of which no SUV follows: it was never injected
        answer = ball(*ANSWERS[name], 3, suv_rule=Imitation("FDG", "PT", Unit.SUV_BODY_WEIGHT).suv_rule)
    rows = (ManifestRow("case", "patient", "train", "target", "target", "target.nii.gz", None, "", ""),)
    study = TaskStudy(load_task(name), Path(), rows, target)
    metrics = evaluate_task_study(study, {"prediction": answer}, source)
    if name not in REGIONAL:
        assert metrics.value(study.task.proof[0].measure, arm="prediction") is not None
    can_be_compared = source_kind == target_kind or name in ("nac-to-ac-pet", "ac-spect")
    assert ("source" in metrics.arms) == can_be_compared
