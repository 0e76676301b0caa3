"""Each number of the proof of a task of counts or attenuation is measured in some study of its tests as trained.

Those of the other tasks are in the test of their demonstrations.
"""

import pytest

from nmsynth.evaluation.beyond_anatomy import DEFINITIONS as OF_FITTED
from nmsynth.io import read
from nmsynth.workflows.region_intervals import DEFINITIONS as OF_INTERVALS
from nmsynth.workflows.task_study import evaluate_task_study, numbers_of, plan_task_studies, simulate_task_study
from nmsynth.workflows.tasks import load_task, task_names
from tests.workflows.test_task_demos import DEMOS

SPECT = {"settings.voxel_mm": 9.6, "settings.n_iterations": 1}
POPULATIONS = (
    {"choices": [{"tracer": "DOTATATE"}], "settings.lesions": 6},
    {"choices": [{"tracer": "HMPAO", "phantom": "brain", "disease": "alzheimer"}]},
    {"choices": [{"tracer": "ioflupane", "phantom": "brain", "disease": "parkinson"}]},
)
DEFECT = {"defects": [{"segment": 10, "severity": 0.8, "extent_deg": 90.0}]}
HEARTS = tuple(
    {"settings.voxel_mm": 9.6, "settings.n_views": 12, "draws.heart": [heart]} for heart in (DEFECT, {"n_defects": 0})
)
PLANAR = (
    {"settings.pixel_mm": 9.6, "draws.tracer": ["MDP"], "settings.lesions": 20},
    {"settings.pixel_mm": 9.6, "draws.tracer": ["DMSA"]},
)
SHORT = {"settings.length_mm": 250.0}
STUDIES = {
    "lowcount-pet": (SHORT | {"draws.voxel_mm": [8.0], "settings.lesions": 6},),
    "lowcount-spect": tuple(SPECT | {"draws.n_views": [12]} | own for own in POPULATIONS),
    "sparse-spect": tuple(SPECT | {"draws.n_views": [16], "draws.sparse_factor": [4]} | own for own in POPULATIONS),
    "lowcount-mpi": HEARTS,
    "ac-spect": HEARTS,
    "lowcount-planar": PLANAR,
    "nac-to-ac-pet": ({"draws.voxel_mm": [8.0]},),
    "mr-to-ct": (SHORT | {"settings.voxel_mm": 8.0},),
    "nac-to-ct": (SHORT | {"draws.voxel_mm": [8.0]},),
    "mr-to-fdg": ({"settings.voxel_mm": 6.0},),  # of coarser voxels too few lie in the precuneus
}
"""Changes for small studies of each task, of the populations that have its numbers."""


@pytest.mark.parametrize("name", STUDIES)
def test_every_number_of_a_proof_is_measured(name, tmp_path):
    task, found = load_task(name), set()
    for number, changes in enumerate(STUDIES[name]):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        study = simulate_task_study(task, plan_task_studies(task, 1, 9_501, changes)[0], folder)[0]
        source = read(next(iter(study.sources.values())))
        # the target itself as the answer, so that nothing but a measure or a mask can be missing
        numbers = numbers_of(task, evaluate_task_study(study, {"prediction": study.target}, source))["prediction"]
        found |= {heading for heading, value in numbers.items() if value is not None}
    # what samples and trained baselines are needed for is of no answer alone
    known = [proof for proof in task.proof if proof.measure not in {**OF_FITTED, **OF_INTERVALS}]
    assert [proof.heading for proof in known if proof.heading not in found] == []


def test_all_tasks_are_looked_at():
    assert set(STUDIES) | set(DEMOS) == set(task_names())
