from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from nmsynth.data.method_patches import MethodBatches, read_window
from nmsynth.data.prepared import PreparedCase
from nmsynth.data.warp import Warp, warp_stack
from tests.training.methods import tiny_case, tiny_plan

SPACING = (5.0, 2.0, 4.0)
SHAPE = (21, 81, 61)
MIDDLE = [(n - 1) / 2 for n in SHAPE]


def blob(centre_mm):
    """A Gaussian of 8 mm at a place from the middle of the image [mm]."""
    z, y, x = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    squares = (((i - m) * s - c) ** 2 for i, m, s, c in zip((z, y, x), MIDDLE, SPACING, centre_mm, strict=True))
    return np.exp(-sum(squares) / (2 * 8.0**2)).astype(np.float32)


def place_mm(image):
    centre = ndimage.center_of_mass(image)
    return [(c - (n - 1) / 2) * s for c, n, s in zip(centre, image.shape, SPACING, strict=True)]


def stack_of(image):
    """One source, target, weight and labels that all show one thing."""
    return np.stack([image, image, (image > 0.5).astype(np.float32), 3 * (image > 0.5).astype(np.float32)])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (10.0, 16.0, -12.0)),
        ({"degrees": 90.0}, (10.0, 12.0, 16.0)),
        ({"degrees": 30.0}, (10.0, 16 * np.cos(np.pi / 6) + 12 / 2, 16 / 2 - 12 * np.cos(np.pi / 6))),
        ({"zoom": 1.25}, (12.5, 20.0, -15.0)),
    ],
)
def test_known_warp_moves_a_blob_to_the_known_place(arguments, expected):
    stack = stack_of(blob((10.0, 16.0, -12.0)))
    size = (19, 61, 41)
    out = warp_stack(stack, Warp.of(SPACING, size, **arguments), MIDDLE, size)
    assert out.shape == (4, *size)
    for layer, tolerance in zip(out, (0.15, 0.15, 1.0, 1.0), strict=True):
        assert place_mm(layer) == pytest.approx(expected, abs=tolerance)
    assert set(np.unique(out[2:])) == {0.0, 1.0, 3.0}


def test_shift_moves_the_source_and_nothing_else():
    stack = stack_of(blob((0.0, 0.0, 0.0)))
    size = (15, 51, 41)
    out = warp_stack(stack, Warp.of(SPACING, size, shift_mm=(5.0, -6.0, 8.0)), MIDDLE, size)
    assert place_mm(out[0]) == pytest.approx((5.0, -6.0, 8.0), abs=0.05)
    for layer in out[1:]:
        assert place_mm(layer) == pytest.approx((0.0, 0.0, 0.0), abs=0.05)


def test_no_warp_is_the_window_itself_even_beyond_the_border():
    rng = np.random.default_rng(1)
    layers = rng.random((4, 6, 10, 12), dtype=np.float32)
    start, size = (-2, 7, -3), (5, 6, 8)
    window = read_window(layers, [0, 1, 2, 3], start, size)
    assert np.array_equal(window[0, 2:, :3, 3:], layers[0, 0:3, 7:10, 0:5])
    assert np.array_equal(window[0, 0, 0], window[0, 2, 0])  # images go on
    assert not window[2:, :2].any()  # nothing counts there
    middle = [a + (n - 1) / 2 for a, n in zip(start, size, strict=True)]
    warped = warp_stack(layers, Warp.of((1.0, 1.0, 1.0), size), middle, size)
    assert np.allclose(warped, window, atol=1e-5)


def test_margin_holds_what_is_reached():
    size = (8, 16, 32)
    warp = Warp.of((4.0, 2.0, 1.0), size, degrees=25.0, zoom=0.9, shift_mm=(4.0, 2.0, 0.0))
    corners = np.array([[sy * 7.5, sx * 15.5] for sy in (-1, 1) for sx in (-1, 1)])
    reach = np.abs(corners @ warp.plane.T + warp.shift[1:]).max(axis=0)
    assert reach[0] <= 7.5 + warp.margin[1]
    assert reach[1] <= 15.5 + warp.margin[2]
    assert 3.5 * warp.depth + 1 <= 3.5 + warp.margin[0]


def test_batch_is_a_function_of_its_number():
    cases = [tiny_case(1), tiny_case(2)]
    plan = tiny_plan(schedule={"batch": 2})
    one, other = MethodBatches(cases, plan), MethodBatches(cases, plan, start=5)
    other.draw(9)
    for name, value in one.draw(3).items():
        assert np.array_equal(value, other.draw(3)[name])
    assert not np.array_equal(one.draw(3)["source"], one.draw(4)["source"])
    assert not np.array_equal(one.draw(3)["source"], MethodBatches(cases, plan, rank=1, world=2).draw(3)["source"])
    assert {k: tuple(v.shape) for k, v in one.draw(0).items()} == {
        "source": (2, 1, 4, 8, 8),
        "target": (2, 1, 4, 8, 8),
        "weight": (2, 1, 4, 8, 8),
        "labels": (2, 1, 4, 8, 8),
        "condition": (2, 0),
    }


def test_unpaired_targets_are_drawn_apart():
    case = tiny_case(1)
    case.layers[1] = case.layers[0]
    plan = tiny_plan()
    paired, unpaired = (MethodBatches([case], plan, paired=p).draw(0) for p in (True, False))
    assert np.array_equal(paired["source"], paired["target"])
    assert not np.array_equal(unpaired["source"], unpaired["target"])


@pytest.mark.parametrize("flat", [False, True])
def test_each_side_is_drawn_from_the_cases_that_have_it(flat):
    source, target = tiny_case(1), tiny_case(2)
    source, target = (
        replace(case, layers=np.delete(case.layers, lacks, axis=0), record={**case.record, "side": side})
        for case, lacks, side in ((source, 1, "source"), (target, 0, "target"))
    )
    target = replace(target, levels=())
    source.layers[0], source.layers[2], target.layers[0] = 5.0, 7.0, 6.0
    plan = tiny_plan(**({"dimensions": "2.5d", "context": 3, "patch": (1, 8, 8)} if flat else {}))
    one, other = (MethodBatches([source, target], plan, paired=False, start=k) for k in (0, 5))
    for number in range(4):
        batch = one.draw(number)
        assert torch.allclose(batch["source"], torch.tensor(5.0))
        assert torch.allclose(batch["target"], torch.tensor(6.0))
        assert 7.0 in batch["labels"]  # of the source
        assert batch["source"].shape[1] == (3 if flat else 1)
        assert all(torch.equal(value, other.draw(number)[name]) for name, value in batch.items())


def test_patches_centre_in_regions_as_often_as_planned():
    plan = tiny_plan(patch=(2, 2, 2), schedule={"region_share": 1.0})
    batches = MethodBatches([tiny_case(1, shape=(8, 24, 24))], plan)
    assert all(batches.draw(k)["labels"].max() == 1 for k in range(10))


@pytest.mark.parametrize(("share", "seen"), [(0.0, {1.0}), (1.0, {0.05, 1.0})])
def test_patches_lie_in_the_air_as_often_as_planned(share, seen):
    case = tiny_case(1, shape=(8, 24, 24))
    case.layers[-2] = 0.05
    case.layers[-2][:, 4:20, 4:20] = 1.0  # the body
    plan = tiny_plan(patch=(1, 1, 1), schedule={"region_share": 0.0, "outside_share": share})
    batches = MethodBatches([case], plan)
    drawn = {round(float(batches.draw(k)["weight"].max()), 2) for k in range(40)}
    assert drawn == seen


def test_slices_bring_their_neighbours_as_channels():
    case = tiny_case(1)
    case.layers[0] = np.arange(6, dtype=np.float32)[:, None, None]
    case.layers[1] = case.layers[0]
    plan = tiny_plan(dimensions="2.5d", context=3, patch=(1, 8, 8), augmentation={"flip_axes": ()})
    batch = MethodBatches([case], plan).draw(0)
    assert batch["source"].shape == (1, 3, 8, 8)
    middle = float(batch["target"][0, 0, 0, 0])
    assert [float(v) for v in batch["source"][0, :, 0, 0]] == [middle - 1, middle, middle + 1]


@pytest.mark.parametrize(("ends", "seen"), [(False, {1, 2, 3, 4}), (True, {0, 1, 2, 3, 4, 5})])
def test_slices_at_the_ends_are_learned_with_what_is_repeated_beyond(ends, seen):
    case = tiny_case(1)
    case.layers[0] = np.arange(6, dtype=np.float32)[:, None, None]
    case.layers[1], case.layers[2] = case.layers[0], 1.0
    plan = tiny_plan(dimensions="2.5d", context=3, patch=(1, 8, 8), schedule={"learns_ends": ends, "region_share": 0.0})
    drawn = {}
    for number in range(60):
        batch = MethodBatches([case], plan).draw(number)
        middle = round(float(batch["target"][0, 0, 4, 4]))
        drawn[middle] = [round(float(v)) for v in batch["source"][0, :, 4, 4]]
        assert batch["weight"][0, 0, 4, 4] == 1
    assert set(drawn) == seen
    assert all(shown == [max(n - 1, 0), n, min(n + 1, 5)] for n, shown in drawn.items())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_some_patches_are_shown_as_they_are(share):
    case = tiny_case(1, shape=(8, 24, 24))
    plan = tiny_plan(augmentation={"flip_axes": (), "rotation_degrees": 10.0, "zoom": 0.05, "plain_share": share})
    patch = MethodBatches([case], plan).draw(0)["source"]
    assert bool(np.isin(patch.numpy(), case.layers[0]).all()) is bool(share)


def test_image_smaller_than_a_patch_lies_in_its_middle():
    small = tiny_case(1, shape=(2, 6, 6))
    batch = MethodBatches([small], tiny_plan(augmentation={"flip_axes": ()})).draw(0)
    weight = batch["weight"][0, 0].numpy()
    assert weight.shape == (4, 8, 8)
    assert not weight[0].any()
    assert weight[1:3, 1:7, 1:7].all()


def test_error_of_a_batch_reaches_the_training():
    from nmsynth.data.feed import Feed

    broken = PreparedCase("c", "s", "train", np.zeros((2, 4, 4, 4), np.float32), (((7,), ()),), {})
    with pytest.raises(IndexError, match="out of bounds"):
        list(Feed(MethodBatches([broken], tiny_plan()), 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_feed_gives_the_batches_in_order(workers):
    from nmsynth.data.feed import Feed

    batches = MethodBatches([tiny_case(1)], tiny_plan(), start=2)
    feed = Feed(batches, 5, workers=workers)
    found = list(feed)
    assert len(found) == len(feed) == 5
    assert all(np.array_equal(b["source"], batches.draw(2 + k)["source"]) for k, b in enumerate(found))
    assert feed.waited_s > 0
