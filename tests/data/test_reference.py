import numpy as np

from nmsynth.data.reference import scored_lesions


def test_lesions_without_contrast_or_with_an_uneven_ring_are_not_scored():
    image = np.ones((24, 72, 72), dtype=np.float32)
    labels = np.zeros(image.shape, dtype=np.uint8)
    z, y, x = np.indices(image.shape)
    for number, centre, level in ((1, 12, 3.0), (2, 36, 1.1), (3, 60, 3.0)):
        ball = (z - 12) ** 2 + (y - 36) ** 2 + (x - centre) ** 2 <= 4
        labels[ball] = number
        image[ball] = level
    image[:, :36, 56:] = np.where(labels[:, :36, 56:] > 0, image[:, :36, 56:], 4.0)
    kept = scored_lesions(image, labels, (4.0, 4.0, 4.0))
    assert set(np.unique(kept)) == {0, 1}
    assert np.array_equal(kept == 1, labels == 1)
