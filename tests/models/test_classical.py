import numpy as np
import pytest
from scipy import ndimage

from nmsynth.core.errors import InputError
from nmsynth.models import classical

SPACING = (3.0, 4.0, 4.0)


def _scene(seed=0, shape=(16, 32, 36)):
    _, y, x = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, SPACING, strict=True)], indexing="ij"
    )
    body = (y / 55) ** 2 + (x / 62) ** 2 <= 1
    truth = body * 1.0 + 1.5 * ((y / 20) ** 2 + ((x - 20) / 20) ** 2 <= 1)
    truth = ndimage.gaussian_filter(truth, 1.0)
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, shape), 0.6)
    return np.maximum(truth + 0.6 * noise * np.sqrt(truth), 0).astype(np.float32), truth.astype(np.float32), body


FILTERS = [
    classical.identity(),
    classical.gaussian(6.0),
    classical.non_local_means(2.0),
    classical.wavelet(1.5),
]


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda f: f.name)
@pytest.mark.parametrize("scale", [2.0, 1e4, 1e-5])
def test_twice_the_input_gives_twice_the_output(filter_, scale):
    noisy, _, _ = _scene()
    once = filter_(noisy, SPACING)
    assert filter_(scale * noisy, SPACING) / scale == pytest.approx(once, abs=2e-3 * float(once.max()))
    assert once.dtype == np.float32
    assert once.shape == noisy.shape


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda f: f.name)
def test_zero_image_stays_zero(filter_):
    zeros = np.zeros((8, 9, 10), dtype=np.float32)
    assert not filter_(zeros, SPACING).any()


@pytest.mark.parametrize("filter_", FILTERS, ids=lambda f: f.name)
def test_activity_in_the_body_is_kept(filter_):
    """Non-local means lose 4 % here, where noise grows with the signal; the others lose nothing."""
    noisy, _, body = _scene()
    assert filter_(noisy, SPACING)[body].sum() == pytest.approx(noisy[body].sum(), rel=0.05)


@pytest.mark.parametrize("filter_", FILTERS[1:], ids=lambda f: f.name)
def test_filters_lower_the_error(filter_):
    noisy, truth, body = _scene()
    before = np.mean((noisy - truth)[body] ** 2)
    assert np.mean((filter_(noisy, SPACING) - truth)[body] ** 2) < 0.6 * before


def test_gaussian_is_in_millimetres():
    point = np.zeros((31, 31, 31), dtype=np.float32)
    point[15, 15, 15] = 1.0
    blurred = classical.gaussian(12.0)(point, SPACING)
    for axis, size in enumerate(SPACING):
        position = (np.arange(31) - 15) * size
        profile = blurred.sum(axis=tuple(i for i in range(3) if i != axis))
        width = np.sqrt((profile * position**2).sum() / profile.sum()) * classical.FWHM_PER_SIGMA
        assert width == pytest.approx(12.0, rel=0.02)


def test_best_gaussian_finds_the_width_that_made_the_reference():
    noisy, _, body = _scene()
    reference = classical.gaussian(7.3)(noisy, SPACING)
    best = classical.best_gaussian(noisy, reference, body, SPACING)
    assert best.fwhm_mm == pytest.approx(7.3, abs=0.15)
    assert best.nrmse < 0.01
    assert best.image == pytest.approx(reference, abs=0.05)


def test_no_gaussian_on_the_grid_beats_the_best():
    noisy, truth, body = _scene()
    best = classical.best_gaussian(noisy, truth, body, SPACING)
    case = classical.TuningCase(noisy, truth, body, SPACING)
    errors = [classical.normalised_error(classical.gaussian(w)(noisy, SPACING), case) for w in np.arange(0, 25, 0.5)]
    assert best.nrmse <= min(errors) + 1e-4
    assert 0 < best.fwhm_mm < 25


def test_best_gaussian_of_the_reference_itself_is_none():
    noisy, _, body = _scene()
    assert classical.best_gaussian(noisy, noisy, body, SPACING).fwhm_mm == 0.0


def test_best_gaussian_does_not_depend_on_the_unit():
    noisy, truth, body = _scene()
    first = classical.best_gaussian(noisy, truth, body, SPACING)
    second = classical.best_gaussian(4096 * noisy, 4096 * truth, body, SPACING)
    assert second.fwhm_mm == pytest.approx(first.fwhm_mm, abs=0.02)


def test_best_gaussian_needs_a_reference():
    noisy, truth, body = _scene()
    with pytest.raises(InputError, match="reference is not zero"):
        classical.best_gaussian(noisy, 0 * truth, body, SPACING)


def test_equal_noise_gaussian_leaves_the_noise_of_its_target():
    noisy, _, _ = _scene()
    region = np.zeros(noisy.shape)
    region[5:11, 8:14, 6:12] = 1.0
    target = classical.gaussian(5.0)(noisy, SPACING)[region > 0].std(ddof=1)
    found = classical.equal_noise_gaussian(noisy, region, float(target), SPACING)
    assert found.fwhm_mm == pytest.approx(5.0, abs=0.1)
    assert classical.equal_noise_gaussian(noisy, region, 1e9, SPACING).fwhm_mm == 0.0


def test_tuning_takes_the_candidate_with_the_smallest_mean_error():
    cases = [classical.TuningCase(*_scene(seed)[:2], _scene(seed)[2], SPACING) for seed in (1, 2)]
    tuned = classical.tune("Gaussian", cases)
    scores = dict(tuned.scores)
    assert scores[tuned.baseline.name] == min(scores.values())
    assert tuned.baseline.fwhm_mm not in (2.0, 20.0)


def test_tuning_takes_any_objective():
    cases = [classical.TuningCase(*_scene()[:2], _scene()[2], SPACING)]
    tuned = classical.tune([classical.gaussian(4.0), classical.gaussian(9.0)], cases, lambda f, _: float(f.max()))
    assert tuned.baseline == classical.gaussian(9.0)


def test_tuning_refuses_nothing_and_unknown_families():
    with pytest.raises(InputError, match="needs cases and candidates"):
        classical.tune("Gaussian", [])
    with pytest.raises(InputError, match="must be one of"):
        classical.tune("median", [])


def test_wavelet_takes_images_too_small_for_a_level():
    tiny = np.random.default_rng(0).uniform(0, 1, (2, 9, 9)).astype(np.float32)
    assert classical.wavelet()(tiny, SPACING) == pytest.approx(tiny, abs=1e-6)


@pytest.mark.parametrize("filter_", [classical.non_local_means(1.5), classical.wavelet(1.0)])
def test_one_slice_is_filtered_in_its_plane(filter_):
    expected = np.zeros((1, 64, 64), dtype=np.float32)
    expected[0, 10:50, 10:50], expected[0, 25:32, 25:32] = 20.0, 60.0
    counts = np.random.default_rng(0).poisson(expected).astype(np.float32)
    filtered = filter_(counts, (1.0, 2.4, 2.4))
    assert filtered.shape == counts.shape
    assert ((filtered - expected) ** 2).mean() < 0.5 * ((counts - expected) ** 2).mean()
    turned = filter_(counts.transpose(0, 2, 1), (1.0, 2.4, 2.4)).transpose(0, 2, 1)
    assert ((turned - filtered) ** 2).mean() < 0.02 * ((counts - expected) ** 2).mean()


def test_the_narrowest_gaussian_leaves_the_noise_that_is_wanted():
    noisy, truth, _ = _scene()

    def left(image):
        return float((image - truth)[5:11, 8:14, 6:12].std())

    wanted = left(classical.gaussian(3.0)(noisy, SPACING))
    found = classical.narrowest_gaussian(noisy, SPACING, left, wanted)
    assert found.fwhm_mm == pytest.approx(3.0, abs=0.1)
    assert left(found(noisy, SPACING)) <= wanted * 1.001
    assert classical.narrowest_gaussian(noisy, SPACING, left, 1e9).fwhm_mm == 0.0


def test_where_no_gaussian_leaves_as_little_it_is_the_one_that_leaves_least():
    widths = []

    def left(image):
        widths.append(float(np.abs(np.diff(image, axis=2)).mean()))
        return 1.0 + abs(len(widths) - 5)  # least at the fifth width

    found = classical.narrowest_gaussian(_scene()[0], SPACING, left, 0.5)
    assert found.fwhm_mm == classical.GAUSSIAN_GRID_MM[4]
