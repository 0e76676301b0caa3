import pytest
import torch

from nmsynth.models.fusion import fuse
from nmsynth.models.unet import HomogeneousUNet, depth_to_space, local_level, space_to_depth


@pytest.fixture(params=[{}, {"planes": 1, "context": 5}], ids=["3D", "2.5D"])
def network(request) -> HomogeneousUNet:
    torch.manual_seed(0)
    return HomogeneousUNet((8, 8, 8), **request.param).eval()


def test_folding_is_lossless():
    x = torch.rand(2, 3, 4, 6, 8)
    assert torch.equal(depth_to_space(space_to_depth(x)), x)


def test_twice_the_activity_gives_twice_the_output(network):
    x = torch.rand(1, 1, 8, 16, 16)
    with torch.no_grad():
        once, twice = network(x), network(2 * x)
    assert torch.allclose(twice[:, :2], 2 * once[:, :2], rtol=1e-5, atol=1e-6)
    assert torch.allclose(twice[:, 2], once[:, 2], rtol=1e-4, atol=1e-5)


def test_zero_image_gives_zero_and_no_nan(network):
    with torch.no_grad():
        out = network(torch.zeros(1, 1, 8, 16, 16))
    assert torch.isfinite(out).all()
    assert float(out[:, :2].abs().max()) == 0.0


def test_nothing_beyond_the_margin_matters(network):
    margin, stride = network.margin, network.stride
    shape = [2 * m + 2 * s for m, s in zip(margin, stride, strict=True)]
    centre = [n // 2 for n in shape]
    x = torch.rand(1, 1, *shape)
    changed = x.clone()
    for axis, (c, m) in enumerate(zip(centre, margin, strict=True), start=2):
        for place in (c - m - 1, c + m + 1):
            if 0 <= place < changed.shape[axis]:
                changed.select(axis, place).fill_(50.0)
    with torch.no_grad():
        difference = (network(changed) - network(x))[(slice(None), slice(None), *centre)]
    assert float(difference.abs().max()) < 1e-6


def test_same_seed_same_network():
    torch.manual_seed(4)
    first = HomogeneousUNet((8, 8))
    torch.manual_seed(4)
    second = HomogeneousUNet((8, 8))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_overfits_one_patch():
    torch.manual_seed(1)
    target = torch.zeros(1, 1, 16, 16, 16)
    target[..., 4:12, 4:12, 4:12] = 2.0
    source = target + 0.5 * torch.randn(target.shape)
    network = HomogeneousUNet((8, 16))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    before = float((source - target).square().mean())
    for _ in range(150):
        optimiser.zero_grad()
        loss = (network(source)[:, :1] - target).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1 * before


def test_local_level_of_a_constant_is_that_constant():
    assert torch.allclose(local_level(torch.full((1, 1, 9, 17, 17), -3.0))[..., 4, 8, 8], torch.tensor(3.0))


def test_fusion_takes_contrast_where_evidence_is_strong():
    heads = torch.zeros(1, 3, 1, 1, 3)
    heads[:, 0], heads[:, 1] = 1.0, 5.0
    heads[0, 2, 0, 0] = torch.tensor([-20.0, 1.0, 20.0])
    assert torch.allclose(fuse(heads, 1.0).flatten(), torch.tensor([1.0, 3.0, 5.0]), atol=1e-4)
