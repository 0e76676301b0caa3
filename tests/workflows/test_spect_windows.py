import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.io.nifti import read_nifti
from nmsynth.workflows.spect_simulation import SimulateSpectSettings, scan_spect_study, simulate_spect, study_of

SMALL = SimulateSpectSettings(
    phantom="cylinder", tracer="DOTATATE", voxel_mm=9.6, length_mm=77.0, n_views=16, n_iterations=6, n_subsets=4,
    filter_fwhm_mm=0.0,
)  # fmt: skip


def test_both_windows_of_lutetium_can_be_chosen():
    high, low = (study_of(SMALL.model_copy(update={"window_kev": kev})) for kev in (None, 112.9))
    assert (high.camera.window.centre_kev, low.camera.window.centre_kev) == (208.4, 112.9)
    photons = [s.camera.counts_per_decay("Lu-177") / s.camera.crystal_efficiency for s in (high, low)]
    assert photons[1] / photons[0] == pytest.approx(0.0623 / 0.1038, rel=0.15)  # the collimator differs a little too
    assert high.camera.scatter_model == "compton"


def test_scatter_from_windows_is_near_the_truth_and_draws_no_other_counts(tmp_path):
    plain = scan_spect_study(SMALL)
    record = simulate_spect(SMALL.model_copy(update={"scatter_correction": "windows"}), tmp_path / "out")
    assert record["scan"]["camera"]["side_window_percent"] == 5.0
    assert (np.load(tmp_path / "out" / "projections.npy") == plain.projections[0]).all()
    inner = np.s_[2:-2, 28:36, 28:36]
    for name, other in (("reference/noise_free", plain.noise_free), ("scan", plain.scans[0])):
        found = read_nifti(tmp_path / "out" / f"{name}.nii.gz").array
        assert found[inner].mean() == pytest.approx(plain.truth.array[inner].mean(), rel=0.15)
        # the counts are the same, the estimate of scatter is another
        assert found[inner].mean() != pytest.approx(other.array[inner].mean(), rel=1e-3)


@pytest.mark.parametrize(("tracer", "kev"), [("MDP", 140.5), ("ioflupane", 159.0), ("DOTATATE", 208.4)])
def test_stating_the_usual_window_changes_nothing(tracer, kev):
    phantom = "brain" if tracer == "ioflupane" else "cylinder"
    usual = SimulateSpectSettings(phantom=phantom, tracer=tracer)
    assert study_of(usual) == study_of(usual.model_copy(update={"window_kev": kev}))


def test_a_window_above_what_is_known_of_the_crystal_is_refused():
    with pytest.raises(InputError, match=r"known up to 208\.4 keV; found 364 keV"):
        study_of(SMALL.model_copy(update={"window_kev": 364.0}))
