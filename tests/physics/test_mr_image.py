"""T1-like MR: signal equation, contrast, bias field, noise and point spread."""

import math
from dataclasses import replace

import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.mr_image import (
    MR_SCALE,
    MrSettings,
    bias_field,
    mr_image,
    mr_signal,
    rician,
    spoiled_gradient_echo,
    tissue_signals,
)
from nmsynth.physics.mr_tissues import MR_TISSUES
from nmsynth.physics.phantom import Grid, Organ, Phantom
from nmsynth.physics.psf import FWHM_PER_SIGMA

EXACT = MrSettings(t1_spread=0.0, density_spread=0.0, texture=0.0, bias=0.0, resolution_mm=0.0, snr=0.0)
GRID = Grid.centred((8, 40, 40), (3.0, 3.0, 3.0))


def _phantom(labels, mu):
    shape = labels.shape
    grid = Grid.centred(shape, (3.0, 3.0, 3.0))
    zeros = np.zeros(shape, np.float32)
    return Phantom(
        grid, zeros, mu.astype(np.float32), labels, zeros.astype(np.uint8), (), 75.0, 1.7, "O", 0, "whole_body"
    )


def test_signal_equation_in_its_limits():
    tissue = {"t1_ms": 1000.0, "t2_star_ms": 50.0, "proton_density": 0.8}
    relaxed = spoiled_gradient_echo(**tissue, repetition_ms=1e5, echo_ms=10.0, flip_deg=90.0)
    assert relaxed == pytest.approx(0.8 * math.exp(-0.2), rel=1e-6)
    # at the Ernst angle, cos a = E, the signal is M sqrt((1 - E) / (1 + E))
    e = math.exp(-20.0 / 1000.0)
    ernst = {"repetition_ms": 20.0, "echo_ms": 1e-9, "flip_deg": math.degrees(math.acos(e))}
    peak = spoiled_gradient_echo(**tissue, **ernst)
    assert peak == pytest.approx(0.8 * math.sqrt((1 - e) / (1 + e)), rel=1e-6)
    for turn in (0.9, 1.1):
        assert spoiled_gradient_echo(**tissue, **{**ernst, "flip_deg": turn * ernst["flip_deg"]}) < peak


def test_fat_and_white_matter_are_bright_and_fluid_is_dark():
    for seed in range(12):
        signals = tissue_signals(MrSettings.randomised(seed), seed)
        order = [Organ.FAT, Organ.BRAIN_WHITE, Organ.BRAIN_GREY, Organ.CSF]
        values = [signals[o] for o in order]
        assert values == sorted(values, reverse=True)
        assert signals[Organ.AIR] == 0
        assert signals[Organ.BONE] < 0.25 * signals[Organ.MUSCLE]
    assert signals[Organ.BRAIN_GREY] == signals[Organ.CEREBELLUM]


def test_randomised_contrast_differs_between_subjects():
    ratios = []
    for seed in range(12):
        signals = tissue_signals(MrSettings.randomised(seed), seed)
        ratios.append(signals[Organ.FAT] / signals[Organ.MUSCLE])
    assert np.std(ratios) > 0.2
    assert MrSettings.randomised(3) == MrSettings.randomised(3) != MrSettings.randomised(4)


def test_voxels_have_the_signal_of_their_tissue_and_share_of_air():
    labels = np.full((2, 4, 4), Organ.LIVER, np.uint8)
    labels[:, :, 2:] = Organ.FAT
    labels[:, 3] = Organ.LUNG
    mu = np.full(labels.shape, 0.1)
    mu[:, 0] = 0.04
    mu[:, 3] = 0.03
    signal = mr_signal(_phantom(labels, mu), EXACT, 0)
    t1, t2_star = MR_TISSUES[Organ.LIVER].at(1.5)
    expected = MR_SCALE * spoiled_gradient_echo(
        t1_ms=t1, t2_star_ms=t2_star, proton_density=MR_TISSUES[Organ.LIVER].proton_density,
        repetition_ms=EXACT.repetition_ms, echo_ms=EXACT.echo_ms, flip_deg=EXACT.flip_deg,
    )  # fmt: skip
    assert signal[0, 1, 0] == pytest.approx(expected, rel=1e-5)
    assert signal[0, 0, 0] == pytest.approx(expected / 2, rel=1e-5)
    assert (signal[:, 3] == signal[0, 3, 0]).all()


def test_noise_is_rayleigh_in_air_and_nearly_normal_in_tissue():
    rng = np.random.default_rng(0)
    air = rician(np.zeros(200_000, np.float32), 10.0, rng)
    assert air.mean() == pytest.approx(10.0 * math.sqrt(math.pi / 2), rel=0.01)
    assert air.var() == pytest.approx((2 - math.pi / 2) * 100.0, rel=0.02)
    tissue = rician(np.full(200_000, 300.0, np.float32), 10.0, rng)
    assert tissue.mean() == pytest.approx(300.0 + 100.0 / 600.0, abs=0.1)
    assert tissue.std() == pytest.approx(10.0, rel=0.01)


def test_bias_field_is_smooth_and_one_on_average():
    body = np.zeros(GRID.shape, bool)
    body[:, 8:32, 8:32] = True
    field = bias_field(GRID, MrSettings(bias=0.2), 4, body)
    assert field[body].mean() == pytest.approx(1.0, rel=1e-5)
    assert field.min() > 0
    assert 0.02 < field.std() < 0.5
    assert np.abs(np.diff(field, axis=1)).max() < 0.05


def test_point_spread_has_its_width_in_plane_and_along_the_axis():
    grid = Grid.centred((65, 65, 3), (1.0, 1.0, 1.0))
    signal = np.zeros(grid.shape, np.float32)
    signal[32, 32] = 1000.0
    image = mr_image(signal, grid, replace(EXACT, resolution_mm=4.0, slice_mm=6.0), 0)
    offset = np.arange(65) - 32.0
    for axis, width in ((0, 6.0), (1, 4.0)):
        profile = image[:, :, 1].sum(axis=1 - axis)
        sigma = np.sqrt((profile * offset**2).sum() / profile.sum() - 1 / 12)
        assert sigma * FWHM_PER_SIGMA == pytest.approx(width, rel=0.03)


def test_one_seed_gives_one_image():
    signal = np.zeros(GRID.shape, np.float32)
    signal[:, 10:30, 10:30] = 900.0
    one, same, other = (mr_image(signal, GRID, MrSettings(snr=20.0), s) for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
    assert one.min() >= 0
    air = one[:, :6, :6]
    assert air.mean() == pytest.approx(900.0 / 20.0 * math.sqrt(math.pi / 2), rel=0.1)


def test_impossible_sequences_are_refused():
    with pytest.raises(InputError, match="one of"):
        MrSettings(field_t=7.0)
    with pytest.raises(InputError, match="echo_ms < repetition_ms"):
        MrSettings(echo_ms=20.0)
    with pytest.raises(InputError, match="snr must be"):
        MrSettings(snr=-1.0)
    with pytest.raises(InputError, match="bias_mm must be positive"):
        MrSettings(bias_mm=0.0)
    with pytest.raises(InputError, match="tabulated at"):
        MR_TISSUES[Organ.LIVER].at(0.5)
