"""An image like those of the training is near them; a darker, a wider and an emptier one are not."""

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.metrics.typicality import NAMES, image_numbers, typical_of

SPACING = (4.0, 4.0, 4.0)


def head(seed, *, fluid=0.1, contrast=1.0, size=12):
    """A block of tissue with some dark fluid in it."""
    rng = np.random.default_rng(seed)
    body = np.zeros((20, 32, 32), dtype=bool)
    extent = size + int(rng.integers(-1, 2))
    body[4:16, 16 - extent : 16 + extent, 16 - extent : 16 + extent] = True
    is_fluid = rng.random(body.shape) < fluid + 0.01 * rng.standard_normal()
    image = np.where(is_fluid, 0.2, rng.choice([0.6, 1.0], body.shape))
    image = image * (contrast + 0.03 * rng.standard_normal()) + 0.02 * rng.standard_normal(body.shape)
    return image_numbers(image, body, SPACING)


@pytest.fixture(scope="module")
def typical():
    return typical_of([head(k) for k in range(30)])


def test_those_of_the_training_and_their_like_are_typical(typical):
    assert len(typical.mean) == len(NAMES) == len(head(0))
    assert all(typical.distance(head(k))[0] < typical.limit for k in range(60))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"fluid": 0.45}, "dark|percentile"), ({"contrast": 2.0}, "percentile"), ({"size": 6}, "volume|depth|width")],
)
def test_what_departs_is_told_and_named(typical, changes, named):
    distance, which = typical.distance(head(99, **changes))
    assert distance > typical.limit
    assert any(word in which for word in named.split("|"))


def test_two_images_and_an_empty_body_tell_nothing():
    with pytest.raises(InputError, match="at least three images; found 2"):
        typical_of([head(0), head(1)])
    with pytest.raises(InputError, match="mask is empty"):
        image_numbers(np.ones((2, 2, 2)), np.zeros((2, 2, 2), dtype=bool), SPACING)
