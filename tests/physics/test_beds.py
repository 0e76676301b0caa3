import math

import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.beds import BedPlan, combine_beds

HALF_LIFE_S = 6586.2


def test_profile_of_a_scanner_without_septa_is_a_triangle_of_mean_one():
    profile = BedPlan(n_planes=8, overlap=2).profile
    assert sum(profile) == pytest.approx(8.0)
    assert [p / profile[0] for p in profile] == pytest.approx([1, 2, 3, 4, 4, 3, 2, 1])


def test_profile_is_cut_at_the_largest_ring_difference():
    cut = BedPlan(n_planes=8, overlap=2, flat_from=2).profile
    assert [p / cut[0] for p in cut] == pytest.approx([1, 2, 2, 2, 2, 2, 2, 1])
    assert BedPlan(n_planes=8, overlap=2, flat_from=1).profile == pytest.approx([1.0] * 8)


def test_beds_cover_what_is_asked_for():
    """Six bed positions of 47 planes that share 3 are 267 planes, as whole-body series of such scanners have."""
    plan = BedPlan(n_planes=47, overlap=3)
    assert plan.n_beds(267) == 6
    assert plan.total_planes(6) == 267
    assert plan.n_beds(268) == 7
    assert plan.n_beds(10) == 1
    positions = plan.positions(6, duration_s=240.0, half_life_s=HALF_LIFE_S)
    assert [bed.first_plane for bed in positions] == [0, 44, 88, 132, 176, 220]


def test_each_bed_begins_later_and_with_less_activity():
    plan = BedPlan(n_planes=10, overlap=2, pause_s=3.0)
    positions = plan.positions(3, duration_s=240.0, half_life_s=243.0)
    assert [bed.delay_s for bed in positions] == [0.0, 243.0, 486.0]
    assert [bed.decay for bed in positions] == pytest.approx([1.0, 0.5, 0.25])
    backwards = BedPlan(n_planes=10, overlap=2, head_first=True).positions(3, duration_s=240.0, half_life_s=243.0)
    assert [bed.delay_s for bed in backwards] == [486.0, 243.0, 0.0]


def test_overlap_is_weighted_by_counts():
    plan = BedPlan(n_planes=4, overlap=2)
    positions = plan.positions(2, duration_s=HALF_LIFE_S - 3.0, half_life_s=HALF_LIFE_S)
    weights = plan.weights(positions)
    assert torch.allclose(weights.sum(0), torch.ones(6, dtype=torch.float64))
    # plane 2: third of the first bed (2 parts), first of the second (1 part, half decayed)
    assert float(weights[0, 2]) == pytest.approx(2 / (2 + 0.5))
    joined = combine_beds([torch.full((4, 1, 1), 1.0), torch.full((4, 1, 1), 2.0)], plan, positions)
    assert joined[:, 0, 0].tolist() == pytest.approx([1.0, 1.0, 1 + 0.5 / 2.5, 1 + 1.0 / 2.0, 2.0, 2.0])


def test_weights_by_counts_leave_the_least_variance():
    """Two means of variance 1 / c leave 1 / (c1 + c2) when weighted by c."""
    plan = BedPlan(n_planes=6, overlap=3)
    positions = plan.positions(2, duration_s=600.0, half_life_s=HALF_LIFE_S)
    counts = plan._counts(positions)
    variance = (plan.weights(positions) ** 2 / counts.clamp_min(1e-9)).sum(0)
    assert torch.allclose(variance, 1 / plan.relative_counts(positions), rtol=1e-6)


def test_a_bed_of_an_odd_number_of_planes_may_not_share_more_than_half():
    assert BedPlan(n_planes=9, overlap=4).total_planes(2) == 14


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_planes": 1, "overlap": 0}, "at least two planes"),
        ({"n_planes": 10, "overlap": 6}, "at most half"),
        ({"n_planes": 10, "overlap": -1}, "at most half"),
        ({"pause_s": math.nan}, "at least 0 s"),
        ({"flat_from": 0}, "flat from plane 1"),
    ],
)
def test_impossible_plans_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        BedPlan(**values)


def test_images_must_fit_the_plan():
    plan = BedPlan(n_planes=4, overlap=2)
    positions = plan.positions(2, duration_s=60.0, half_life_s=HALF_LIFE_S)
    with pytest.raises(InputError, match="image of 4 planes; found"):
        combine_beds([torch.zeros(4, 2, 2), torch.zeros(5, 2, 2)], plan, positions)
