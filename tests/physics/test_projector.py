import numpy as np
import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.projector import SinogramGeometry, SliceProjector, scaled_matrix, system_matrix
from nmsynth.physics.psf import GaussianBlur
from tests.physics.properties import assert_adjoint, assert_linear


def disc(n: int, pixel_mm: float, radius_mm: float, centre: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    fine = 8
    axis = (np.arange(n * fine) - (n * fine - 1) / 2) * pixel_mm / fine
    inside = (axis[:, None] - centre[0]) ** 2 + (axis[None] - centre[1]) ** 2 <= radius_mm**2
    return torch.from_numpy(inside.reshape(n, fine, n, fine).mean((1, 3)).astype(np.float32))[..., None]


def test_disc_projects_to_its_chords():
    geometry = SinogramGeometry(n_views=12, n_bins=64, bin_mm=4.0)
    sinogram = SliceProjector(64, 4.0, geometry).forward(disc(64, 4.0, 80.0))[..., 0].numpy()
    t = (np.arange(64) - 31.5) * 4.0
    chord = 2 * np.sqrt(np.maximum(80.0**2 - t**2, 0))
    inner = np.abs(t) < 70
    assert np.abs(sinogram[:, inner] / chord[inner] - 1).max() < 0.02


def test_every_view_holds_the_whole_activity():
    geometry = SinogramGeometry(n_views=9, n_bins=64, bin_mm=4.0)
    image = disc(48, 4.0, 60.0, (15.0, -20.0))
    sinogram = SliceProjector(48, 4.0, geometry).forward(image)
    area = float(image.sum()) * 16.0
    assert torch.allclose(sinogram.sum(1)[:, 0] * 4.0, torch.full((9,), area), rtol=1e-5)


def test_point_traces_its_sinusoid():
    geometry = SinogramGeometry(n_views=16, n_bins=65, bin_mm=2.0)
    image = torch.zeros(65, 65, 1)
    image[32 + 10, 32 + 20] = 1.0
    sinogram = SliceProjector(65, 2.0, geometry).forward(image)[..., 0]
    centre = (sinogram * torch.arange(65)).sum(1) / sinogram.sum(1) - 32
    angle = torch.arange(16) * torch.pi / 16
    assert torch.allclose(centre, 20 * torch.cos(angle) + 10 * torch.sin(angle), atol=0.05)


def test_projector_is_linear_and_its_adjoint_exact():
    projector = SliceProjector(24, 3.0, SinogramGeometry(10, 30, 2.7), views=(0, 3, 7))
    assert_adjoint(projector, (24, 24, 3), (3, 30, 3))
    assert_linear(projector, (24, 24, 3))


def test_scaled_matrix_equals_the_direct_one():
    geometry = SinogramGeometry(6, 20, 3.3)
    direct = system_matrix(16, 5.0, geometry)
    assert abs(direct - scaled_matrix(16, 5.0, geometry)).max() < 1e-4


def test_agrees_with_scikit_image():
    radon = pytest.importorskip("skimage.transform").radon
    image = disc(63, 1.0, 12.0, (8.0, -6.0)) + 0.5 * disc(63, 1.0, 25.0)
    ours = SliceProjector(63, 1.0, SinogramGeometry(20, 63, 1.0)).forward(image)[..., 0].numpy()
    theirs = radon(image[..., 0].numpy(), theta=-np.arange(20) * 9.0, circle=True).T
    assert np.linalg.norm(ours - theirs) / np.linalg.norm(theirs) < 0.03


def test_impossible_geometry_is_refused():
    with pytest.raises(InputError, match="at least one view"):
        SinogramGeometry(0, 10, 1.0)


def test_wrong_slice_size_is_refused():
    projector = SliceProjector(8, 1.0, SinogramGeometry(4, 8, 1.0))
    with pytest.raises(InputError, match="slices of 8"):
        projector.forward(torch.zeros(9, 9, 1))


def test_system_of_blur_projection_and_attenuation_has_its_exact_adjoint():
    projector = SliceProjector(20, 3.0, SinogramGeometry(12, 26, 2.7))
    system = projector @ GaussianBlur((6.0, 6.0, 5.0), (3.0, 3.0, 4.0))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(20, 20, 5, generator=generator).double(), torch.rand(12, 26, 5, generator=generator).double()
    factors = torch.rand(12, 26, 5, generator=generator).double()
    left = float((factors * system.forward(x) * y).sum())
    right = float((x * system.adjoint(factors * y)).sum())
    assert abs(left - right) < 1e-11 * abs(left)


def test_subsets_of_views_add_up_to_the_whole():
    geometry = SinogramGeometry(12, 26, 2.7)
    y = torch.rand(12, 26, 3, generator=torch.Generator().manual_seed(1))
    subsets = [SliceProjector(20, 3.0, geometry, tuple(range(s, 12, 4))) for s in range(4)]
    parts = [subset.adjoint(y[s::4].contiguous()) for s, subset in enumerate(subsets)]
    assert torch.allclose(sum(parts), SliceProjector(20, 3.0, geometry).adjoint(y), rtol=1e-5)
