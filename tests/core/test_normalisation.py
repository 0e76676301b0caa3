import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmsynth.core.errors import InputError
from nmsynth.core.normalisation import Normalisation, activity_level, bright_level

NUMBERS = st.floats(-3000, 3000, width=32)
POSITIVE = st.floats(0.01, 1e4)


@given(value=NUMBERS, offset=st.floats(-1000, 1000), scale=POSITIVE)
def test_linear_is_undone(value, offset, scale):
    fitted = Normalisation(kind="linear", offset=offset, scale=scale).fit([value])
    assert fitted.invert(fitted.apply([value]))[0] == pytest.approx(value, abs=1e-6 * (abs(value) + abs(offset)) + 1e-6)


@given(value=st.floats(-1e3, 1e3, width=32), knee=st.floats(0.1, 100), scale=st.floats(0.1, 1000))
def test_asinh_is_undone(value, knee, scale):
    fitted = Normalisation(kind="asinh", knee=knee, scale=scale).fit([value])
    assert fitted.invert(fitted.apply([value]))[0] == pytest.approx(value, rel=1e-4, abs=1e-4)


@given(value=NUMBERS)
def test_window_gives_back_what_lies_in_it_and_its_border_beyond(value):
    fitted = Normalisation(kind="window", scale=1000.0, low=-1024.0, high=2000.0).fit([value])
    assert fitted.invert(fitted.apply([value]))[0] == pytest.approx(np.clip(value, -1024, 2000), abs=1e-3)


@given(factor=st.floats(0.01, 100))
def test_robust_takes_out_the_scale_of_an_image(factor):
    image = np.concatenate([np.zeros(50), np.linspace(100, 300, 201)])
    normalisation = Normalisation(kind="robust", scale=290.0)
    own, scaled = normalisation.fit(image), normalisation.fit(factor * image)
    assert np.allclose(own.apply(image), scaled.apply(factor * image), atol=1e-4)
    assert normalisation.typical().invert(own.apply([200.0]))[0] == pytest.approx(200.0, rel=1e-3)


def activity(noise=0.0, pad=0):
    """A body of 1, an organ of 4, and noise of no mean between them and nothing outside."""
    image = np.zeros((24, 60, 60))
    image[:, 10:50, 10:50] = 1.0
    image[6:16, 20:35, 20:35] = 4.0
    image += noise * np.random.default_rng(3).standard_normal(image.shape) * (image > 0)
    return np.pad(image, pad)


@given(factor=st.floats(1e-3, 1e6))
def test_a_level_takes_out_the_unit_of_an_image_and_gives_it_back(factor):
    normalisation = Normalisation(kind="level", scale=3.0)
    own, scaled = (normalisation.fit(f * activity(), (4.0, 4.0, 4.0)) for f in (1.0, factor))
    assert np.allclose(own.apply(activity()), scaled.apply(factor * activity()), atol=1e-5)
    assert np.allclose(scaled.invert(own.apply(activity())), factor * activity(), rtol=1e-5)
    assert own.scale == pytest.approx(3.0 * activity_level(activity(), (4.0, 4.0, 4.0)))


def test_noise_voxels_and_field_of_view_hardly_move_a_level():
    level = activity_level(activity(), (4.0, 4.0, 4.0))
    assert 1.0 < level < 4.0
    assert activity_level(activity(noise=1.0), (4.0, 4.0, 4.0)) == pytest.approx(level, rel=0.03)
    assert activity_level(activity(pad=13), (4.0, 4.0, 4.0)) == pytest.approx(level, rel=0.1)
    halved = activity().reshape(12, 2, 30, 2, 30, 2).mean(axis=(1, 3, 5))
    assert activity_level(halved, (8.0, 8.0, 8.0)) == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize("image", [np.zeros((4, 8, 8)), -np.ones((4, 8, 8))])
def test_image_without_a_level_is_refused(image):
    with pytest.raises(InputError, match="no cube of 20 mm has a positive mean"):
        activity_level(image, (4.0, 4.0, 4.0))


def test_twice_the_activity_stays_twice_the_number():
    fitted = Normalisation(kind="linear", scale=7.3).fit([])
    assert fitted.apply([2.0])[0] == pytest.approx(2 * fitted.apply([1.0])[0])
    assert fitted.apply([0.0])[0] == 0.0


def test_bright_level_has_known_answer():
    image = np.concatenate([np.zeros(1000), np.linspace(100, 200, 101)])
    assert bright_level(image) == pytest.approx(195.0)


@pytest.mark.parametrize("image", [np.zeros(10), np.full(10, 3.0), -np.ones(4)])
def test_image_without_a_body_is_refused(image):
    with pytest.raises(InputError, match="no body of more than one value"):
        bright_level(image)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "linear", "scale": 0.0}, "positive scale"),
        ({"kind": "window"}, "low < high"),
        ({"kind": "window", "low": 2.0, "high": 1.0}, "low < high"),
        ({"kind": "linear", "offset": float("nan")}, "finite offset"),
    ],
)
def test_what_cannot_be_undone_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Normalisation(**values)
