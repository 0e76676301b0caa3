import itertools

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.dynamic_tracers import dynamic_tracer
from nmsynth.physics.input_function import fine_minutes
from nmsynth.physics.kinetics import (
    RateConstants,
    fit_reference_tissue,
    frame_means,
    patlak_image,
    reference_tissue_curve,
    tissue_curve,
)
from nmsynth.physics.rate_constants import amyloid_rates, dopa_rates
from nmsynth.physics.reference_models import logan_reference, patlak_reference
from nmsynth.physics.reference_tissue_image import curve_of_frames, srtm_image
from nmsynth.physics.static_window import static_image, window_weights

TRACER = dynamic_tracer("florbetaben")
EDGES = np.concatenate([[0.0], np.cumsum(TRACER.frames_s)]) / 60
FRAMES = np.stack([EDGES[:-1], EDGES[1:]], axis=1)
MINUTES = fine_minutes(110.0)
PLASMA = TRACER.blood.plasma(MINUTES)
REFERENCE = tissue_curve(RateConstants(0.25, 0.076), PLASMA, MINUTES)
REFERENCE_MEANS = frame_means(REFERENCE, MINUTES, FRAMES)


def means_of(rates, blood=0.0):
    curve = tissue_curve(rates, PLASMA, MINUTES)
    return frame_means((1 - blood) * curve, MINUTES, FRAMES)


def test_every_voxel_gets_back_its_own_parameters_within_a_percent():
    grid = list(itertools.product((0.7, 1.1, 1.4), (0.05, 0.09, 0.15), (0.2, 0.6, 1.2, 2.0)))
    curves = [reference_tissue_curve(REFERENCE, MINUTES, r1=a, k2_per_min=b, binding_potential=c) for a, b, c in grid]
    frames = np.stack([frame_means(c, MINUTES, FRAMES) for c in curves], axis=1).reshape(len(FRAMES), 6, 6)
    fit = srtm_image(frames, FRAMES, REFERENCE, minutes=MINUTES)
    r1, k2, binding = (np.array(column).reshape(6, 6) for column in zip(*grid, strict=True))
    assert fit.fitted.all()
    assert np.allclose(fit.r1, r1, rtol=0.01)
    assert np.allclose(fit.k2_per_min, k2, rtol=0.01)
    assert np.allclose(1 + fit.binding_potential, 1 + binding, rtol=0.002)
    # a reference known by its frames alone costs little
    by_frames = srtm_image(frames, FRAMES, REFERENCE_MEANS)
    assert np.allclose(by_frames.r1, r1, rtol=0.01)
    assert np.allclose(by_frames.binding_potential, binding, atol=0.005)


def test_image_and_curve_are_fitted_alike():
    rates = amyloid_rates("florbetaben", 0.7)
    target, reference = means_of(rates["cortex"]), tissue_curve(rates["cerebellar grey"], PLASMA, MINUTES)
    one = fit_reference_tissue(target, FRAMES, reference, MINUTES)
    image = srtm_image(target[:, None], FRAMES, reference, minutes=MINUTES)
    assert image.binding_potential[0] == pytest.approx(one.binding_potential, abs=0.01)
    assert image.r1[0] == pytest.approx(one.r1, rel=0.01)


def test_noise_and_emptiness_never_give_nan():
    rng = np.random.default_rng(0)
    frames = rng.normal(0.0, 1.0, (len(FRAMES), 200)) * REFERENCE_MEANS.mean()
    frames[:, :50] = 0.0
    fit = srtm_image(frames, FRAMES, REFERENCE_MEANS)
    for image in (fit.r1, fit.k2_per_min, fit.binding_potential):
        assert np.isfinite(image).all()
        assert (image[:50] == 0).all()
    ratio = logan_reference(frames, FRAMES, REFERENCE_MEANS, start_min=50.0)
    assert np.isfinite(ratio).all()
    assert (ratio[:50] == 0).all()


@pytest.mark.parametrize("binding", [0.0, 0.5, 1.5])
def test_constant_infusion_comes_to_a_ratio_of_one_plus_k3_over_k4(binding):
    minutes = np.linspace(0.0, 2000.0, 20001)
    target = tissue_curve(RateConstants(0.2, 0.08, binding * 0.02, 0.02), np.ones_like(minutes), minutes)
    reference = tissue_curve(RateConstants(0.25, 0.10), np.ones_like(minutes), minutes)
    assert target[-1] / reference[-1] == pytest.approx(1 + binding, rel=1e-4)
    frames = np.stack([np.arange(0.0, 2000.0, 20.0), np.arange(20.0, 2001.0, 20.0)], axis=1)
    curves = [frame_means(c, minutes, frames) for c in (target, reference)]
    assert logan_reference(curves[0], frames, curves[1], start_min=500.0) == pytest.approx(1 + binding, rel=1e-3)


@pytest.mark.parametrize("binding", [0.2, 0.8, 1.6])
def test_logan_with_the_efflux_of_the_reference_finds_the_ratio_of_a_bolus(binding):
    target = means_of(RateConstants(0.22, 0.0669, binding * 0.03, 0.03))
    ratio = RateConstants(0.22, 0.0669, binding * 0.03, 0.03).distribution_volume * 0.076 / 0.25
    found = logan_reference(target, FRAMES, REFERENCE_MEANS, start_min=50.0, k2_reference_per_min=0.076)
    assert found == pytest.approx(ratio, rel=0.03)


@pytest.mark.parametrize("region", ["caudate", "putamen"])
def test_patlak_with_a_reference_finds_the_influx_within_a_percent(region):
    rates = dopa_rates(0.0)
    target, reference = (means_of(RateConstants(r.k1, r.k2, r.k3, r.k4)) for r in (rates[region], rates["occipital"]))
    r = rates[region]
    frames = np.stack([target, reference], axis=1)
    # late, so that free tracer has come to its steady share of the reference
    slopes = patlak_reference(frames, FRAMES, reference, start_min=80.0)
    assert slopes[1] == pytest.approx(0.0, abs=1e-12)
    assert slopes[0] == pytest.approx(r.k2 * r.k3 / (r.k2 + r.k3), rel=0.01)


def test_patlak_image_of_a_trapped_tracer_is_its_influx_within_a_percent():
    fdg, minutes = dynamic_tracer("FDG"), fine_minutes(90.0)
    spans = [(a, a + 5.0) for a in np.arange(0.0, 90.0, 5.0)]
    rates = RateConstants(0.102, 0.130, 0.062, 0.0, 0.05)
    plasma = fdg.blood.plasma(minutes)
    curve = frame_means(tissue_curve(rates, plasma, minutes), minutes, spans)
    image = patlak_image(np.float32(curve[:, None, None, None]), spans, plasma, minutes, start_min=40.0)
    assert image[0, 0, 0] == pytest.approx(0.95 * rates.influx, rel=0.01)


@pytest.mark.parametrize("severity", [0.4, 1.0])
def test_late_ratio_of_uptake_overrates_the_ratio_of_volumes(severity):
    rates = amyloid_rates("florbetaben", severity)
    target, reference = means_of(rates["cortex"]), means_of(rates["cerebellar grey"])
    ratio = rates["cortex"].distribution_volume / rates["cerebellar grey"].distribution_volume
    late = static_image(target[:, None, None, None], FRAMES, (90.0, 110.0)) / static_image(
        reference[:, None, None, None], FRAMES, (90.0, 110.0)
    )
    assert 1.02 * ratio < late[0, 0, 0] < 1.3 * ratio
    early = target[EDGES[1:] <= 10].sum() / reference[EDGES[1:] <= 10].sum()
    assert abs(early - rates["cortex"].k1 / rates["cerebellar grey"].k1) < 0.1


def test_window_is_the_mean_of_the_curve_over_it():
    curve = frame_means(PLASMA, MINUTES, FRAMES)[:, None, None, None]
    for window in ((0.0, 10.0), (50.0, 70.0), (90.0, 110.0)):
        exact = frame_means(PLASMA, MINUTES, [window])[0]
        assert static_image(curve, FRAMES, window)[0, 0, 0] == pytest.approx(exact, rel=1e-6)
    assert window_weights(FRAMES, (7.5, 10.0)).sum() == pytest.approx(1.0)


def test_curve_of_frames_starts_at_zero_and_has_their_means():
    minutes, values = curve_of_frames(REFERENCE_MEANS, FRAMES)
    assert (minutes[0], values[0], minutes[-1]) == (0.0, 0.0, 110.0)
    found = frame_means(values, minutes, FRAMES)
    late = FRAMES[:, 0] >= 1
    assert np.allclose(found[late], REFERENCE_MEANS[late], rtol=2e-3)
    assert np.allclose(np.interp(MINUTES[MINUTES > 5], minutes, values), REFERENCE[MINUTES > 5], rtol=0.025)


def test_what_cannot_be_fitted_is_refused():
    frames = np.ones((len(FRAMES), 4))
    zero = np.zeros(len(FRAMES))
    for fit in (
        lambda r, f=FRAMES: srtm_image(frames, f, r),
        lambda r, f=FRAMES: logan_reference(frames, f, r, start_min=50.0),
        lambda r, f=FRAMES: patlak_reference(frames, f, r, start_min=50.0),
    ):
        with pytest.raises(InputError, match="0 throughout"):
            fit(zero)
        with pytest.raises(InputError, match="NaN or infinity"):
            fit(np.full(len(FRAMES), np.nan))
        with pytest.raises(InputError, match="one entry a frame"):
            fit(np.ones(3))
        with pytest.raises(InputError, match="follow each other"):
            fit(np.ones(len(FRAMES)), FRAMES + 5.0)
    with pytest.raises(InputError, match="0 or below"):
        patlak_reference(frames, FRAMES, np.where(FRAMES[:, 0] > 100, 0.0, 1.0), start_min=50.0)
    with pytest.raises(InputError, match="efflux of the reference"):
        logan_reference(frames, FRAMES, REFERENCE_MEANS, start_min=50.0, k2_reference_per_min=0.0)
    with pytest.raises(InputError, match="rising rates"):
        srtm_image(frames, FRAMES, REFERENCE_MEANS, k2a_range_per_min=(0.5, 0.1))


def test_windows_that_are_not_covered_are_refused():
    with pytest.raises(InputError, match="cover the window of 100 to 120 min"):
        window_weights(FRAMES, (100.0, 120.0))
    with pytest.raises(InputError, match="end after it starts"):
        window_weights(FRAMES, (20.0, 20.0))
    with pytest.raises(InputError, match="one image a frame"):
        static_image(np.ones((2, 1, 1, 1)), FRAMES, (0.0, 10.0))
