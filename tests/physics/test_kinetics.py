import numpy as np
import pytest
from scipy.integrate import solve_ivp

from nmsynth.core.errors import InputError
from nmsynth.physics.input_function import InputFunction, fine_minutes
from nmsynth.physics.kinetics import (
    RateConstants,
    convolve_exponential,
    fit_reference_tissue,
    frame_means,
    patlak,
    patlak_extrapolation,
    patlak_image,
    reference_tissue_curve,
    tissue_curve,
)

GREY = RateConstants(0.102, 0.130, 0.062, 0.0068, blood_volume=0.04)
MINUTES = fine_minutes(90.0)
PLASMA = InputFunction().plasma(MINUTES)
FRAMES = np.array([(a, a + 5.0) for a in np.arange(0.0, 90.0, 5.0)])


def test_plasma_rises_after_the_delay_and_clears():
    assert (PLASMA[MINUTES <= 0.3] == 0).all()
    assert 0.4 < MINUTES[PLASMA.argmax()] < 1.0
    late = PLASMA[MINUTES > 5]
    assert (np.diff(late) < 0).all()
    assert np.interp(60.0, MINUTES, PLASMA) == pytest.approx(1.7, abs=0.05)


def test_step_through_an_exponential_is_the_formula():
    t = np.array([0.0, 0.5, 3.0, 3.1, 20.0])
    for rate in (0.0, 1e-7, 0.2, 3.0):
        expected = t if rate == 0 else -np.expm1(-rate * t) / rate
        assert np.allclose(convolve_exponential(np.ones(5), t, rate), expected, rtol=1e-6)


def test_ramp_through_an_exponential_is_the_formula():
    t = np.array([0.0, 1.0, 4.0, 9.0])
    rate = 0.3
    expected = t / rate + np.expm1(-rate * t) / rate**2
    assert np.allclose(convolve_exponential(t, t, rate), expected, rtol=1e-9)


@pytest.mark.parametrize(
    "rates",
    [GREY, RateConstants(0.1, 0.2), RateConstants(0.1, 0.13, 0.06), RateConstants(0.3, 0.2, 0.05, 0.02, 0.1)],
)
def test_tissue_curve_solves_the_differential_equations(rates):
    def change(t, c):
        given = np.interp(t, MINUTES, PLASMA)
        return (
            rates.k1 * given - (rates.k2 + rates.k3) * c[0] + rates.k4 * c[1],
            rates.k3 * c[0] - rates.k4 * c[1],
        )

    solved = solve_ivp(change, (0.0, 90.0), (0.0, 0.0), t_eval=MINUTES, rtol=1e-8, atol=1e-10, max_step=0.05)
    expected = (1 - rates.blood_volume) * solved.y.sum(0) + rates.blood_volume * PLASMA
    assert np.allclose(tissue_curve(rates, PLASMA, MINUTES), expected, rtol=2e-3, atol=2e-3)


def test_constant_input_comes_to_the_distribution_volume():
    minutes = np.linspace(0.0, 3000.0, 30001)
    rates = RateConstants(0.1, 0.2, 0.05, 0.04)
    curve = tissue_curve(rates, np.ones_like(minutes), minutes)
    assert curve[-1] == pytest.approx(rates.distribution_volume, rel=1e-4)


def test_frame_means_keep_the_area():
    means = frame_means(PLASMA, MINUTES, FRAMES)
    assert (means * 5.0).sum() == pytest.approx(np.trapezoid(PLASMA, MINUTES), rel=1e-9)


@pytest.mark.parametrize("blood_volume", [0.0, 0.05])
def test_patlak_returns_the_influx_of_a_trapped_tracer(blood_volume):
    rates = RateConstants(0.102, 0.130, 0.062, 0.0, blood_volume)
    tissue = frame_means(tissue_curve(rates, PLASMA, MINUTES), MINUTES, FRAMES)
    fit = patlak(tissue, FRAMES, PLASMA, MINUTES, start_min=40.0)
    assert fit.slope == pytest.approx((1 - blood_volume) * rates.influx, rel=0.01)


def test_patlak_underrates_a_tracer_that_leaves():
    tissue = frame_means(tissue_curve(GREY, PLASMA, MINUTES), MINUTES, FRAMES)
    bias = patlak(tissue, FRAMES, PLASMA, MINUTES, start_min=40.0).slope / ((1 - 0.04) * GREY.influx) - 1
    assert -0.35 < bias < -0.05


@pytest.mark.parametrize("binding_potential", [0.3, 1.0, 3.0])
def test_reference_model_recovers_its_own_parameters(binding_potential):
    reference = tissue_curve(RateConstants(0.1, 0.15), PLASMA, MINUTES)
    target = reference_tissue_curve(reference, MINUTES, r1=1.2, k2_per_min=0.15, binding_potential=binding_potential)
    fit = fit_reference_tissue(frame_means(target, MINUTES, FRAMES), FRAMES, reference, MINUTES)
    assert fit.binding_potential == pytest.approx(binding_potential, rel=0.01)
    assert fit.r1 == pytest.approx(1.2, rel=0.01)
    assert fit.k2_per_min == pytest.approx(0.15, rel=0.01)


def test_patlak_carries_a_trapped_tracer_on_to_a_later_window_whatever_the_scale_of_the_plasma():
    minutes = fine_minutes(60.0)
    plasma = InputFunction().plasma(minutes)
    area = np.concatenate([[0.0], np.cumsum(0.5 * (plasma[1:] + plasma[:-1]) * np.diff(minutes))])
    curve = 0.03 * area + 0.6 * plasma  # on its line from the start
    frames_min = np.array([[5, 7.5], [7.5, 10], [30, 60]], dtype=float)
    seen, late = np.split(frame_means(curve, minutes, frames_min), [2])
    frames = seen.astype(np.float32).reshape(2, 1, 1, 1)
    for scale in (1.0, 7.0):
        found = patlak_extrapolation(
            frames, frames_min[:2], scale * plasma, minutes, start_min=5.0, window_min=(30.0, 60.0)
        )
        assert float(found[0, 0, 0]) == pytest.approx(late[0], rel=0.01)
    with pytest.raises(InputError, match="reach to the end of the window, 90 min; it ends at 60"):
        patlak_extrapolation(frames, frames_min[:2], plasma, minutes, start_min=5.0, window_min=(60.0, 90.0))


def test_reference_model_without_binding_is_the_reference():
    reference = tissue_curve(RateConstants(0.1, 0.15), PLASMA, MINUTES)
    same = reference_tissue_curve(reference, MINUTES, r1=1.0, k2_per_min=0.15, binding_potential=0.0)
    assert np.allclose(same, reference)


def test_impossible_kinetics_are_refused():
    with pytest.raises(InputError, match="not be negative"):
        RateConstants(-0.1, 0.1)
    with pytest.raises(InputError, match="rising times"):
        convolve_exponential([1.0, 2.0], [0.0, 0.0], 0.1)
    with pytest.raises(InputError, match="two frames"):
        patlak(np.ones(18), FRAMES, PLASMA, MINUTES, start_min=86.0)
    with pytest.raises(InputError, match="divides by plasma"):
        patlak(np.ones(18), FRAMES, 0 * PLASMA, MINUTES, start_min=40.0)
    with pytest.raises(InputError, match="divides by plasma"):
        patlak_image(np.ones((18, 1, 1, 1)), FRAMES, 0 * PLASMA, MINUTES, start_min=40.0)
    with pytest.raises(InputError, match="NaN or infinity"):
        patlak(np.full(18, np.nan), FRAMES, PLASMA, MINUTES, start_min=40.0)
    with pytest.raises(InputError, match="reference with activity"):
        fit_reference_tissue(np.ones(18), FRAMES, 0 * PLASMA, MINUTES)
    with pytest.raises(InputError, match="within the curve"):
        frame_means(PLASMA, MINUTES, [(80.0, 95.0)])
    with pytest.raises(InputError, match="longer than 0"):
        fine_minutes(0.0)
    with pytest.raises(InputError, match="above 0"):
        InputFunction(a1=0.0)
