import pytest
import torch

from nmsynth.physics.noise import poisson
from nmsynth.physics.ordered_subsets import _lost_planes
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from nmsynth.physics.reconstruction import OsemSettings, osem, subset_problem
from tests.physics.test_projector import disc

N, PIXEL_MM = 48, 6.0
GEOMETRY = SinogramGeometry(n_views=96, n_bins=N, bin_mm=PIXEL_MM)
SETTINGS = OsemSettings(
    n_pixels=N, pixel_mm=PIXEL_MM, plane_mm=PIXEL_MM, n_iterations=2, n_subsets=16, filter_fwhm_mm=0.0,
    axial_filter_fwhm_mm=0.0,
)  # fmt: skip


def lines():
    return SliceProjector(N, PIXEL_MM, GEOMETRY).forward(disc(N, PIXEL_MM, 75.0).expand(-1, -1, 8).contiguous())


def found(counts_per_plane, background_share=0.3):
    """Counts that the image of noisy data explains over those that were measured, beside a background."""
    clean = lines()
    clean = clean * (counts_per_plane / clean[..., 0].sum())
    background = torch.full_like(clean, background_share * counts_per_plane / clean[..., 0].numel())
    prompts = poisson(clean + background, torch.Generator().manual_seed(3))
    image = osem(prompts, background, torch.tensor(1.0).expand_as(prompts), GEOMETRY, SETTINGS)
    explained = SliceProjector(N, PIXEL_MM, GEOMETRY).forward(image).sum()
    return float(explained / (prompts - background).sum())


@pytest.mark.parametrize("counts_per_plane", [20.0, 60.0, 5000.0])
def test_subsets_without_counts_do_not_empty_the_image(counts_per_plane):
    assert found(counts_per_plane) == pytest.approx(1.0, abs=0.2)


def test_nothing_is_done_where_subsets_have_counts_enough():
    clean = lines()
    prompts = clean * (5000.0 / clean[..., 0].sum())
    problem = subset_problem(prompts, 0 * prompts, torch.ones_like(prompts), GEOMETRY, SETTINGS)
    assert _lost_planes(0 * problem.start, problem.systems, problem.counts, problem.background) is None
    few = _lost_planes(
        0 * problem.start, problem.systems, [y / 100 for y in problem.counts], problem.background
    )  # fmt: skip
    assert few is not None
    assert few.tolist() == list(range(8))
