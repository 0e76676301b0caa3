"""What the model of a task gives is measured in the units that it comes in, beside a source that may be another's."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow
from nmsynth.evaluation.regional import organs_among
from nmsynth.inference.imitation import Imitation
from nmsynth.io.nifti import write_nifti
from nmsynth.physics.phantom import Organ
from nmsynth.physics.phantom.brain_regions import BrainRegion
from nmsynth.workflows.task_study import TaskStudy, evaluate_task_study, numbers_of, organ_masks, study_masks
from nmsynth.workflows.tasks import load_task, task_names
from tests.evaluation.test_regional import WALL, heart, segments_of, with_defect
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


def test_organs_are_told_apart_from_what_is_none_and_the_dome_lies_under_the_lung():
    labels = np.zeros((12, 24, 24), dtype=np.int32)
    labels[2:] = Organ.FAT
    labels[:8, 2:14, 2:14], labels[8:, 2:14, 2:14] = Organ.LIVER, Organ.LUNG
    labels[:8, 16:, :], labels[8:, 16:, :] = Organ.BONE, Organ.MARROW
    labels[:, 2:14, 16:] = np.where(np.arange(12)[:, None, None] < 6, Organ.BRAIN_GREY, Organ.CEREBELLUM)
    labels[:, :2, :], labels[:, 14:16, :] = Organ.URINE, Organ.CLUTTER
    up = make_volume(array=labels.astype(np.float32), spacing_mm=(10.0, 4.0, 4.0))
    masks = organ_masks(labels, up)
    assert {"urine", "clutter", "air", "outside", "injection_site"}.isdisjoint(masks)
    assert (masks["brain"] == masks["brain_grey"] | masks["cerebellum"]).all()
    assert (masks["skeleton"] == masks["bone"] | masks["marrow"]).all()
    assert (np.flatnonzero(masks["liver_dome"].any((1, 2))) == [6, 7]).all()  # at most 25 mm below the lung
    assert set(organs_among(masks)) == set(masks) - {"brain", "skeleton", "liver_dome"}
    affine = up.affine @ np.diag([-1.0, 1.0, 1.0, 1.0])
    down = organ_masks(labels[::-1], up.with_array(up.array[::-1], affine=affine))
    assert (down["liver_dome"] == masks["liver_dome"][::-1]).all()


@pytest.mark.parametrize("name", ["nac-to-ac-pet", "lowcount-spect", "sparse-spect"])
def test_what_judges_a_task_is_measured(name, tmp_path):
    """On a labelled ball; in two brains where binding and perfusion are told."""
    task = load_task(name)
    target = ball(*KINDS[name][1], 2)
    organs, lesions, regions = (np.zeros(target.shape, dtype=np.float32) for _ in range(3))
    parts = (Organ.LIVER, Organ.LUNG, Organ.KIDNEY, Organ.SPLEEN, Organ.BONE, Organ.BRAIN_GREY)
    for number, organ in enumerate(parts):
        organs[4:12, 5:19, 6 + 2 * number : 8 + 2 * number] = organ
    organs[8:12, 5:19, 6:8] = Organ.LUNG
    lesions[7:9, 11:13, 11:13] = 1
    cortex, cerebellum, putamen = BrainRegion.OCCIPITAL, BrainRegion.CEREBELLAR_CORTEX, BrainRegion.POSTERIOR_PUTAMEN
    for number, region in enumerate((cortex, cerebellum, putamen)):
        regions[4:12, 6:18, 6 + 4 * number : 10 + 4 * number] = region
    found = set()
    for reference in ("occipital", "cerebellum"):
        folder = tmp_path / reference
        folder.mkdir()
        (folder / "simulation.json").write_text(json.dumps({"brain": {"reference_region": [reference]}}))
        rows = [ManifestRow("case", "patient", "train", "target", "noise_free", "target.nii.gz", None, "", "")]
        for kind, array in (("organs", organs), ("lesions", lesions), ("regions", regions)):
            write_nifti(target.with_array(array, unit=Unit.UNITLESS, suv_rule=None), folder / f"{kind}.nii.gz")
            path = f"{reference}/{kind}.nii.gz"
            rows.append(ManifestRow("case", "patient", "train", "reference", kind, path, None, "", ""))
        study = TaskStudy(task, tmp_path, tuple(rows), target)
        answer = target.with_array(1.1 * target.array)
        numbers = numbers_of(task, evaluate_task_study(study, {"prediction": answer}, answer))["prediction"]
        found |= {heading for heading, value in numbers.items() if value is not None}
        if name == "nac-to-ac-pet":
            assert numbers["organ error, 95th percentile"] == pytest.approx(0.1, abs=1e-3)
            assert numbers["bias of the liver's dome"] == pytest.approx(0.1, abs=1e-3)
            assert numbers["brain beyond 5 %"] > 0.8  # the rest lies beside the ball
            assert numbers["brain beyond 15 %"] == 0.0
        elif reference == "cerebellum":
            assert numbers["bias of the spleen"] == pytest.approx(0.1, abs=1e-3)
            assert numbers["cortex to cerebellum, error"] == pytest.approx(0.0, abs=1e-3)
    assert {proof.heading for proof in task.proof} - found <= {"recovery of lesions"}  # a ball has no ring


@pytest.mark.parametrize("name", ["lowcount-mpi", "ac-spect"])
def test_what_judges_a_heart_is_measured(name, tmp_path):
    """Of a heart with a defect, and of one without any, against normal limits of its sex and correction."""
    task = load_task(name)
    stated = {"scanner": "gamma camera, LEHR", "reconstruction": "OSEM 4i6s, 8 mm", "sex": "M"}
    segments = sum(number * segments_of([number]) for number in range(1, 18))
    found = set()
    for lost in (0.5, 0.0):
        folder = tmp_path / f"{lost}"
        folder.mkdir()
        target = heart(with_defect(1 - lost)).with_array(5000 * heart(with_defect(1 - lost)).array, unit=Unit.BQML)
        target = replace(target, acquisition=replace(target.acquisition, corrections=("ATTN",), **stated))
        facts = [{"number": n, "lost_to_defects": lost if n == 10 else 0.0} for n in range(1, 18)]
        (folder / "simulation.json").write_text(json.dumps({"heart": {"segments": facts}}))
        write_nifti(target.with_array(segments.astype(np.float32), unit=Unit.UNITLESS), folder / "segments.nii.gz")
        rows = (
            ManifestRow("case", "patient", "train", "target", "noise_free", "target.nii.gz", None, "", ""),
            ManifestRow("case", "patient", "train", "mask", "segments", "segments.nii.gz", None, "", ""),
        )
        study = TaskStudy(task, folder, rows, target)
        masks = study_masks(study)
        assert masks["normal_wall"].sum() == (WALL & ((segments != 10) | (lost == 0))).sum()
        assert ("defect" in masks) is (lost > 0)
        answer = target.with_array(1.1 * target.array)
        metrics = evaluate_task_study(study, {"prediction": answer}, answer)
        assert any("hearts, which is few" in warning for warning in metrics.warnings)
        numbers = numbers_of(task, metrics)["prediction"]
        found |= {heading for heading, value in numbers.items() if value is not None}
        assert numbers["error of segments [%]"] == pytest.approx(0.0, abs=1e-3)
    assert {proof.heading for proof in task.proof} <= found
    strange = replace(target, acquisition=replace(target.acquisition, sex=None))
    metrics = evaluate_task_study(replace(study, target=strange), {"prediction": answer}, answer)
    assert any("No normal limits fit this heart" in warning for warning in metrics.warnings)
    assert metrics.value("total perfusion deficit error") is None
