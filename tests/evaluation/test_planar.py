import numpy as np
import pytest

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
