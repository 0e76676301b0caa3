"""Properties that every operator must have, one line a test."""

import torch

from nmsynth.physics.operator import LinearOperator


def assert_adjoint(operator: LinearOperator, domain: tuple[int, ...], image: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(domain, generator=generator)
    y = torch.rand(image, generator=generator)
    forward, adjoint = operator.forward(x), operator.adjoint(y)
    assert tuple(forward.shape) == image
    assert tuple(adjoint.shape) == domain
    left, right = float((forward.double() * y).sum()), float((x.double() * adjoint).sum())
    assert abs(left - right) <= 1e-4 * abs(left)


def assert_linear(operator: LinearOperator, domain: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.rand(domain, generator=generator), torch.rand(domain, generator=generator)
    combined = operator.forward(2 * a - 3 * b)
    assert torch.allclose(combined, 2 * operator.forward(a) - 3 * operator.forward(b), atol=1e-2, rtol=1e-4)
