"""Tiles cover an image once, keep their margins, begin on the stride, and change nothing."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmsynth.core.errors import InputError
from nmsynth.inference.tiling import pad, padding_for, plan_tiles, round_up, tile_voxels_in_memory


@settings(max_examples=60, deadline=None)
@given(
    parts=st.tuples(st.integers(1, 40), st.integers(1, 8), st.integers(1, 8)),
    margin=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
    stride=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 4]), st.sampled_from([1, 8])),
    share=st.floats(0.05, 1.0),
)
def test_a_plan_is_exact_for_any_size(parts, margin, stride, share):
    shape = tuple(n * s for n, s in zip(parts, stride, strict=True))
    limit = int(share * math.prod(shape))
    try:
        tiles = plan_tiles(shape, margin=margin, stride=stride, max_voxels=limit)
    except InputError:
        return
    covered = np.zeros(shape, dtype=int)
    for tile in tiles:
        covered[tile.core] += 1
        for window, core, n, m, s in zip(tile.window, tile.core, shape, margin, stride, strict=True):
            assert window.start % s == 0
            assert (window.stop - window.start) % s == 0
            assert 0 <= window.start <= core.start < core.stop <= window.stop <= n
            assert window.start == 0 or core.start - window.start >= m
            assert window.stop == n or window.stop - core.stop >= m
    assert (covered == 1).all()
    sizes = {tuple(w.stop - w.start for w in tile.window) for tile in tiles}
    assert len(sizes) == 1
    assert math.prod(sizes.pop()) <= limit


def test_an_image_that_fits_is_one_tile():
    (tile,) = plan_tiles((8, 16, 16), margin=(4, 8, 8), stride=(2, 8, 8), max_voxels=8 * 16 * 16)
    assert tile.window == tile.core


def test_a_long_scan_is_cut_along_its_axis_only():
    tiles = plan_tiles((300, 128, 128), margin=(16, 56, 56), stride=(2, 8, 8), max_voxels=1_500_000)
    assert all(tile.window[1:] == (slice(0, 128), slice(0, 128)) for tile in tiles)
    assert len(tiles) > 2


def test_a_limit_below_the_margins_is_a_mistake():
    with pytest.raises(InputError, match="at least 27 voxels"):
        plan_tiles((9, 9, 9), margin=(1, 1, 1), stride=(1, 1, 1), max_voxels=26)


def test_padding_reaches_the_stride_and_mirrors_the_ends():
    padding = padding_for((5, 6, 7), margin=(3, 4, 4), stride=(2, 4, 4), axial="reflect")
    assert padding == ((4, 7), (0, 10), (0, 9))
    image = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    padded = pad(image, padding, axial="reflect")
    assert padded.shape == (16, 16, 16)
    np.testing.assert_array_equal(padded[4:9, :6, :7], image)
    np.testing.assert_array_equal(padded[3, :6, :7], image[1])
    assert not padded[:, 6:].any()
    zero = pad(image, padding_for((5, 6, 7), margin=(3, 4, 4), stride=(2, 4, 4), axial="zero"), axial="zero")
    assert zero.shape == (16, 16, 16)
    assert not zero[5:].any()


def test_a_single_slice_is_continued_by_itself():
    padding = padding_for((1, 4, 4), margin=(3, 4, 4), stride=(2, 4, 4), axial="reflect")
    padded = pad(np.ones((1, 4, 4), dtype=np.float32), padding, axial="reflect")
    assert padded.shape == (16, 16, 16)
    assert padded[:, :4, :4].all()


def test_the_default_is_bounded_by_free_memory(monkeypatch):
    from nmsynth.inference import tiling

    monkeypatch.setattr(tiling, "free_bytes", lambda: 12_000)
    assert tile_voxels_in_memory(1000) == 10
    monkeypatch.setattr(tiling, "free_bytes", lambda: None)
    assert tile_voxels_in_memory(1000) == 1000


def test_rounding_up():
    assert [round_up(n, m) for n, m in itertools.product((0, 1, 8), (1, 8))] == [0, 0, 1, 8, 8, 8]
