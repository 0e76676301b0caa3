"""Hearts are scanned by the camera of the training, or by the other one of the proof, at all counts of the model."""

from benchmarks.heart_detection import CAMERAS, FRACTIONS, SUBJECTS, camera_settings

from nmsynth.workflows.spect_simulation import SimulateSpectSettings
from nmsynth.workflows.tasks import load_task


def test_the_other_camera_is_that_of_the_proof():
    assert camera_settings(CAMERAS[0]) == {}
    other = SimulateSpectSettings(phantom="heart", **camera_settings("another"))
    assert (other.collimator, other.n_views, other.scatter_correction) == ("LEUHR", 45, "windows")


def test_counts_are_those_of_the_task():
    assert load_task("lowcount-mpi").levels.values == FRACTIONS
    assert SUBJECTS >= 450
