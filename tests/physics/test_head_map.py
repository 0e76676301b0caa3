import numpy as np
import pytest

from nmsynth.core.errors import InputError
from nmsynth.physics.phantom.brain import brain_patient
from nmsynth.physics.phantom.brain_regions import BrainRegion, brain_frame
from nmsynth.physics.phantom.head_map import head_map

SEEDS = (1, 2, 3)
# Medians of segmented heads: volume of both sides [mL], and centre of the right one (right, anterior, superior) [mm].
USUAL = {
    (3, 42): (472, (32, -17, 16)),
    (2, 41): (445, (28, -18, 19)),
    (4, 43): (35, (14, -12, 16)),
    (8, 47): (111, (23, -61, -36)),
    (7, 46): (29, (17, -52, -33)),
    (10, 49): (14.2, (13, -18, 6)),
    (11, 50): (7.4, (17, 9, 10)),
    (12, 51): (9.8, (27, 1, 0)),
    (13, 52): (2.8, (22, -4, -1)),
    (17, 53): (7.1, (26, -21, -14)),
    (18, 54): (2.8, (25, -4, -19)),
    (26, 58): (1.0, (10, 11, -7)),
    (28, 60): (8.0, (12, -16, -9)),
}


@pytest.fixture(scope="module")
def heads():
    return [head_map(seed, spacing_mm=2.0) for seed in SEEDS]


def test_structures_have_the_usual_volumes_and_places(heads):
    frames = [brain_frame(labels, spacing) for labels, spacing in heads]
    for pair, (volume_ml, centre) in USUAL.items():
        volumes, centres = [], []
        for (labels, spacing), frame in zip(heads, frames, strict=True):
            volumes.append(np.isin(labels, pair).sum() * np.prod(spacing) / 1000)
            centres.append(frame.coordinates(np.argwhere(labels == pair[1]), spacing).mean(0))
        assert np.median(volumes) == pytest.approx(volume_ml, rel=0.35), pair
        assert np.abs(np.median(centres, axis=0) - centre).max() < 8.0, pair


def test_the_axes_of_a_head_are_found_from_its_own_structures(heads):
    for labels, spacing in heads:
        linear = brain_frame(labels, spacing).linear
        assert np.abs(linear / np.cbrt(np.linalg.det(linear)) - np.eye(3)).max() < 0.12  # hardly turned


def test_a_head_is_closed_and_its_sides_are_two(heads):
    for labels, _ in heads:
        brain = np.isin(labels, (2, 3, 41, 42, 8, 47, 16))
        bone = np.isin(labels, (515, 516))
        for axis in (1, 2):  # from a middle plane every ray out of the brain above its base meets bone
            rows = np.flatnonzero(brain.any(axis=(1, 2)))
            planes = slice((rows[0] + rows[-1]) // 2, rows[-1])
            has_brain = brain[planes].any(axis=axis)
            assert bone[planes].any(axis=axis)[has_brain].all()
        left, right = (labels == 3).sum(), (labels == 42).sum()
        assert 0.75 < left / right < 1.33


def test_heads_differ_by_their_seed_alone():
    first, again, other = (head_map(seed, spacing_mm=2.5)[0] for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.1


def test_a_drawn_head_takes_a_tracer_as_a_map_does(heads):
    labels, spacing = heads[0]
    patient = brain_patient(labels, spacing, seed=1, tracer="ioflupane", spread=0.0, textured=False)
    ratio = {r.number: r.suvr for r in patient.truth}
    assert ratio[int(BrainRegion.CAUDATE)] == pytest.approx(7.5, rel=1e-3)
    names = {r.name for r in patient.truth}
    for region in ("left posterior putamen", "right insula", "left precuneus", "right medial temporal", "pons"):
        assert region in names


@pytest.mark.parametrize(("seed", "spacing"), [(-1, 1.5), (1, 4.0)])
def test_what_no_head_can_be_drawn_of_is_refused(seed, spacing):
    with pytest.raises(InputError, match=r"seed of 0 or more and voxels of 0\.8 to 2\.5 mm"):
        head_map(seed, spacing_mm=spacing)
