import pytest

from nmsynth.evaluation import evaluate
from nmsynth.io import read
from nmsynth.metrics.regions import smooth

pytestmark = pytest.mark.slow


def test_liver_like_sphere_and_noise_of_the_real_scan(shared_data):
    """The data's own notes: COV of 18 % picked automatically elsewhere, correlation 0.35 axial and 0.5 in the plane."""
    scan = read(shared_data / "pet_wholebody_ge")
    smoothed = scan.with_array(smooth(scan.array, 6.0, scan.spacing_mm))
    settings = {"with_ssim": False, "with_best_gaussian": False}
    found = evaluate(smoothed, scan, source=scan, settings=settings)
    assert found.unit == "SUVbw [g/mL]"
    assert 1.5 < found.value("SUVmean", mask="homogeneous sphere 30 mm (automatic)", arm="source") < 3.0
    assert 0.11 < found.value("COV", arm="source") < 0.19
    assert found.value("noise autocorrelation axial lag 1", arm="source") == pytest.approx(0.35, abs=0.05)
    assert found.value("noise autocorrelation in-plane lag 1", arm="source") == pytest.approx(0.5, abs=0.05)
    conserved = [m for m in found.measurements if m.reference == "source" and m.name == "relative bias"]
    assert all(abs(m.value) < 0.01 for m in conserved)
    assert found.value("noise reduction") > 0.5
