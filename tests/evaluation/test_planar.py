import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import InputError, UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES
from nmsynth.evaluation import evaluate
from tests.helpers import make_volume
from tests.metrics.test_hot_spots import body, view

TASK = {"task": "lowcount-planar"}


def volume_of(array, fraction=None, **fields):
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.0, -2.4, 2.4, 1.0
    given = {"axes": PLANAR_AXES, "affine": affine, "unit": Unit.COUNTS, "modality": "NM"} | fields
    return make_volume(array=array, acquisition=Acquisition(simulated_count_fraction=fraction), **given)


EXPECTED = view([(40, 30, 3.0), (80, 50, 4.0)])
LESIONS = view([(40, 30, 3.0), (80, 50, 4.0)]) > 10.0


def test_a_reference_is_scaled_to_the_counts_of_the_image():
    quarter = volume_of(EXPECTED / 4, 0.25)
    found = evaluate(quarter, volume_of(EXPECTED), masks={"body": body(), "lesions": LESIONS}, **TASK)
    assert found.value("NRMSE") == pytest.approx(0.0, abs=1e-6)
    assert found.value("total counts") == pytest.approx(0.0, abs=1e-6)
    assert found.value("contrast recovery") == pytest.approx(1.0)
    assert (found.value("hot spots"), found.value("missed hot spots"), found.value("false hot spots")) == (2, 0, 0)
    complement = evaluate(quarter, volume_of(0.75 * EXPECTED, 0.75), masks={"body": body()}, **TASK)
    assert complement.value("NRMSE") == pytest.approx(0.0, abs=1e-6)
    stated = evaluate(volume_of(EXPECTED / 4), volume_of(EXPECTED), settings={"reference_scale": 0.25}, **TASK)
    assert stated.value("NRMSE") == pytest.approx(0.0, abs=1e-6)


def test_lost_and_invented_lesions_are_told():
    shown = view([(40, 30, 2.0), (60, 30, 3.0)])
    found = evaluate(volume_of(shown), volume_of(EXPECTED), masks={"body": body(), "lesions": LESIONS}, **TASK)
    assert (found.value("missed hot spots"), found.value("false hot spots")) == (1, 1)
    # one lesion has half of its contrast, the other none
    assert found.value("contrast recovery") == pytest.approx(0.25, abs=1e-6)
    assert found.value("hot-spot index error") is not None


def test_counts_are_compared_by_region():
    right = np.zeros(EXPECTED.shape, dtype=bool)
    right[:, :, :40] = True
    shown = np.where(right, 1.1 * EXPECTED, EXPECTED)
    found = evaluate(volume_of(shown), volume_of(EXPECTED), masks={"body": body(), "right": right}, **TASK)
    assert found.value("total counts", mask="right") == pytest.approx(0.1)


def test_views_do_not_touch_one_another():
    noise = np.random.default_rng(0).poisson(EXPECTED)
    noise[1] = 0
    reference = np.stack([EXPECTED[0], 0 * EXPECTED[0]])
    source = volume_of(noise)
    found = evaluate(source, volume_of(reference), source=volume_of(noise), masks={"body": body()}, **TASK)
    best = "best Gaussian of the source"
    assert found.value("NRMSE", arm=best) < found.value("NRMSE")
    assert found.value("width", arm=best) > 3.0


def test_one_view_may_be_a_slice():
    image = volume_of(EXPECTED[:1], axes=("z", "y", "x"))
    assert evaluate(image, image, masks={"body": body()[:1]}, **TASK).value("NRMSE") == 0.0
    assert evaluate(image, image, **TASK).value("total counts", mask="body (automatic)") == pytest.approx(0.0)


def test_what_is_not_planar_or_not_alike_is_refused():
    flat = volume_of(EXPECTED)
    with pytest.raises(InputError, match="have views or a single slice; the prediction has the axes"):
        evaluate(volume_of(EXPECTED, axes=("z", "y", "x")), flat, **TASK)
    with pytest.raises(InputError, match="must share grid, views and unit"):
        evaluate(volume_of(EXPECTED, unit=Unit.BECQUEREL), flat, **TASK)
    broken = EXPECTED.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(UnsafeInputError, match="must be finite; the prediction"):
        evaluate(volume_of(broken), flat, **TASK)


def test_a_filled_defect_is_told_by_its_cold_contrast():
    organ, defect = (np.zeros((1, 60, 60)) for _ in range(2))
    organ[:, 15:45, 20:40], defect[:, 20:28, 31:40] = 1, 1
    expected = np.where(defect > 0, 40.0, np.where(organ > 0, 100.0, 5.0))
    filled = np.where(defect > 0, 85.0, expected)
    masks = {"body": np.ones_like(organ), "organ": organ, "lesions": defect}
    found = evaluate(volume_of(filled), volume_of(expected), masks=masks, **TASK)
    assert found.value("cold contrast recovery") == pytest.approx(0.25)  # 15 below the organ instead of 60
    assert found.value("contrast recovery") is None
    assert found.value("lesion counts") == pytest.approx(85 / 40 - 1)
    # where the organ is thick a defect may outshine its ring: nothing is told of it, and it is no hot lesion
    thick = volume_of(np.where(defect > 0, 120.0, expected))
    told = evaluate(thick, thick, masks=masks, **TASK)
    assert (told.value("cold contrast recovery"), told.value("contrast recovery")) == (None, None)
    # without the organ the ring holds background, and the defect is hardly one
    bare = evaluate(volume_of(filled), volume_of(expected), masks={"body": organ + 1, "lesions": defect}, **TASK)
    assert bare.value("cold contrast recovery") != pytest.approx(0.25, abs=0.05)


def test_the_gaussian_at_equal_noise_has_the_noise_of_the_image():
    rng = np.random.default_rng(1)
    expected = 100.0 * np.ones((2, 120, 80))
    source = volume_of(rng.poisson(0.25 * expected), 0.25)
    smooth = ndimage.gaussian_filter(source.array, (0, 4.0 / 2.4 / 2.3548, 4.0 / 2.4 / 2.3548))  # 4 mm FWHM
    given = {"source": source, "masks": {"body": body()}, "settings": {"reference_kind": "T1"}}
    full = volume_of(rng.poisson(expected), 1.0)
    found = evaluate(source.with_array(smooth), volume_of(expected), full_counts=full, **given, **TASK)
    noise = {arm: found.value("residual noise", arm=arm) for arm in found.arms}
    assert noise["source"] == pytest.approx(1 / 25**0.5, rel=0.03)  # of Poisson counts
    assert noise["full counts"] == pytest.approx(1 / 100**0.5, rel=0.03)
    sigma = 4.0 / 2.4 / 2.3548
    assert noise["prediction"] == pytest.approx(noise["source"] / (2 * np.pi**0.5 * sigma), rel=0.15)
    equal = "Gaussian of the source at equal noise"
    assert found.value("width", arm=equal) == pytest.approx(4.0, abs=0.1)
    assert noise[equal] == pytest.approx(noise["prediction"], rel=0.02)
    scan = evaluate(source, volume_of(expected), **{**given, "settings": {"reference_kind": "T2"}}, **TASK)
    assert equal not in scan.arms
    assert scan.value("residual noise") is None


def test_noise_of_views_is_measured_apart_from_lesions():
    masks = {"body": body(), "lesions": LESIONS}
    shown = EXPECTED.copy()
    shown[LESIONS] *= 0.5  # a model that loses lesions is no noisier for it
    settings = {"reference_kind": "T1"}
    found = evaluate(volume_of(shown), volume_of(EXPECTED), masks=masks, settings=settings, **TASK)
    assert found.value("residual noise") == pytest.approx(0.0, abs=1e-9)
