import numpy as np
import pytest
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from nmsynth.core.errors import InputError
from nmsynth.metrics import image


def _pair(seed=0, shape=(12, 20, 24)):
    generator = np.random.default_rng(seed)
    reference = generator.uniform(1.0, 4.0, shape)
    return reference + generator.normal(0.0, 0.3, shape), reference


def test_constant_factor_gives_its_excess_as_nrmse_and_relative_bias():
    _, reference = _pair()
    assert image.nrmse(1.1 * reference, reference) == pytest.approx(0.1)
    assert image.relative_bias(1.1 * reference, reference) == pytest.approx(0.1)


def test_constant_offset_gives_itself_as_mae_bias_and_rmse():
    _, reference = _pair()
    assert image.mae(reference - 0.5, reference) == pytest.approx(0.5)
    assert image.bias(reference - 0.5, reference) == pytest.approx(-0.5)
    assert image.rmse(reference - 0.5, reference) == pytest.approx(0.5)


def test_psnr_of_error_at_a_tenth_of_the_range_is_20_db():
    reference = np.ones((3, 4, 5))
    assert image.psnr(reference + 0.7, reference, data_range=7.0) == pytest.approx(20.0)


def test_errors_outside_the_mask_do_not_count():
    _, reference = _pair()
    mask = np.zeros(reference.shape, dtype=bool)
    mask[3:6, 5:9, 5:9] = True
    wrong = np.where(mask, reference, 99.0)
    assert image.nrmse(wrong, reference, mask) == 0.0
    assert image.relative_bias(wrong, reference, mask) == pytest.approx(0.0)


@pytest.mark.parametrize("scale", [1e-6, 3.0, 1e5])
def test_metrics_do_not_depend_on_the_unit(scale):
    noisy, reference = _pair()
    assert image.nrmse(scale * noisy, scale * reference) == pytest.approx(image.nrmse(noisy, reference))
    assert image.psnr(scale * noisy, scale * reference, data_range=7 * scale) == pytest.approx(
        image.psnr(noisy, reference, data_range=7.0)
    )
    assert image.ssim(scale * noisy, scale * reference, data_range=7 * scale) == pytest.approx(
        image.ssim(noisy, reference, data_range=7.0)
    )


def test_ssim_agrees_with_scikit_image():
    noisy, reference = _pair()
    _, full = structural_similarity(
        reference, noisy, data_range=7.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert image.ssim_map(noisy, reference, data_range=7.0) == pytest.approx(full)


def test_ssim_in_a_mask_equals_the_mean_of_the_whole_map_there():
    noisy, reference = _pair(shape=(30, 31, 32))
    mask = np.zeros(reference.shape, dtype=bool)
    mask[12:16, 14:18, 13:17] = True
    whole = image.ssim_map(noisy, reference, data_range=7.0)
    assert image.ssim(noisy, reference, mask, data_range=7.0) == pytest.approx(whole[mask].mean())


def test_ssim_sees_a_global_bias_and_falls_with_a_smaller_range():
    _, reference = _pair()
    assert image.ssim(reference, reference, data_range=7.0) == pytest.approx(1.0)
    biased = image.ssim(0.5 * reference, reference, data_range=7.0)
    assert biased < 0.9
    assert image.ssim(0.5 * reference, reference, data_range=70.0) > biased


def test_ssim_works_on_a_thin_volume():
    noisy, reference = _pair(shape=(2, 16, 16))
    assert 0.0 < image.ssim(noisy, reference, data_range=7.0) < 1.0


def test_zero_reference_gives_no_number_and_no_warning():
    zeros = np.zeros((4, 5, 6))
    rows = image.image_metrics(
        zeros, zeros, np.ones(zeros.shape, bool), data_range=7.0, unit="SUV", mask_name="body", reference_kind="T1"
    )
    by_name = {row.name: row for row in rows}
    assert by_name["NRMSE"].value is None
    assert by_name["NRMSE"].reason == "the reference is zero in the mask"
    assert by_name["PSNR"].value is None
    assert by_name["relative bias"].value is None
    assert by_name["MAE"].value == 0.0


def test_empty_mask_gives_no_number():
    noisy, reference = _pair()
    rows = image.image_metrics(
        noisy, reference, np.zeros(noisy.shape, bool), data_range=7.0, unit="SUV", mask_name="m", reference_kind="T1"
    )
    assert all(row.value is None and row.reason == "the mask is empty" for row in rows)


def test_each_result_carries_range_mask_unit_and_reference():
    noisy, reference = _pair()
    rows = image.image_metrics(
        noisy, reference, np.ones(noisy.shape, bool), data_range=7.0, unit="SUV", mask_name="body", reference_kind="T0"
    )
    assert {row.mask for row in rows} == {"body"}
    assert {row.reference for row in rows} == {"T0"}
    assert {row.name: row.data_range for row in rows if row.data_range} == {"PSNR": 7.0, "SSIM": 7.0}
    assert {row.name: row.unit for row in rows}["MAE"] == "SUV"


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match="must share a grid"):
        image.nrmse(np.ones((2, 2, 2)), np.ones((2, 2, 3)))
    with pytest.raises(InputError, match="must have the shape of the image"):
        image.nrmse(np.ones((2, 2, 2)), np.ones((2, 2, 2)), np.ones((2, 2, 3), bool))
    with pytest.raises(InputError, match="positive data range"):
        image.ssim_map(np.ones((2, 2, 2)), np.ones((2, 2, 2)), data_range=0.0)


def test_nrmse_and_psnr_agree_with_scikit_image():
    noisy, reference = _pair()
    assert image.nrmse(noisy, reference) == pytest.approx(normalized_root_mse(reference, noisy))
    expected = peak_signal_noise_ratio(reference, noisy, data_range=7.0)
    assert image.psnr(noisy, reference, data_range=7.0) == pytest.approx(expected)
