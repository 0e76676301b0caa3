import pytest
import torch

from nmsynth.core.errors import InputError
from nmsynth.physics.noise import poisson
from nmsynth.physics.ordered_subsets import WeightedOperator, log_likelihood, ordered_subsets
from nmsynth.physics.penalised import RelativeDifferencePrior, penalised_likelihood
from nmsynth.physics.projector import SinogramGeometry, SliceProjector
from tests.physics.test_projector import disc

N, VIEWS = 32, 24
GEOMETRY = SinogramGeometry(VIEWS, 40, 4.0)


def scan(seed=0, planes=2):
    image = (disc(N, 4.0, 50.0) + 3 * disc(N, 4.0, 10.0, (20.0, 0.0))).expand(-1, -1, planes).contiguous()
    subsets = [tuple(range(s, VIEWS, 4)) for s in range(4)]
    weight = torch.tensor(0.2)
    systems = [WeightedOperator(weight, SliceProjector(N, 4.0, GEOMETRY, v)) for v in subsets]
    generator = torch.Generator().manual_seed(seed)
    counts = [poisson(s.forward(image) + 1.0, generator) for s in systems]
    return image, systems, counts, [torch.ones_like(c) for c in counts]


def test_gradient_is_the_derivative():
    prior = RelativeDifferencePrior((4.0, 4.0, 6.0))
    x = torch.rand(5, 6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    gradient = prior.gradient(x)
    for place in ((0, 0, 0), (2, 3, 1), (4, 5, 3)):
        moved = [x.clone(), x.clone()]
        moved[0][place] += 1e-6
        moved[1][place] -= 1e-6
        numeric = (prior.value(moved[0]) - prior.value(moved[1])) / 2e-6
        assert float(gradient[place]) == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def test_prior_of_a_flat_image_is_nothing_and_scales_with_activity():
    prior = RelativeDifferencePrior((4.0, 4.0, 4.0), epsilon=0.0)
    assert prior.value(torch.full((4, 4, 4), 7.0)) == 0.0
    x = torch.rand(4, 4, 4, generator=torch.Generator().manual_seed(2)) + 0.5
    assert prior.value(10 * x) == pytest.approx(10 * prior.value(x), rel=1e-5)


def test_penalised_objective_rises_and_settles():
    _, systems, counts, background = scan()
    prior = RelativeDifferencePrior((4.0, 4.0, 4.0))
    start = ordered_subsets(torch.ones(N, N, 2), systems, counts, background, n_iterations=1)
    reached = []

    def note(x):
        reached.append(log_likelihood(x, systems, counts, background) - 2.0 * prior.value(x))

    penalised_likelihood(start, systems, counts, background, prior, beta=2.0, n_iterations=30, after_each=note)
    assert reached[-1] > reached[0]
    assert abs(reached[-1] - reached[-2]) < 1e-3 * (max(reached) - reached[0]) + 1e-6 * abs(reached[-1])
    assert reached[-1] >= max(reached) - 1e-6 * abs(reached[-1])


def test_stronger_penalty_is_smoother_and_keeps_the_total():
    image, systems, counts, background = scan()
    prior = RelativeDifferencePrior((4.0, 4.0, 4.0))
    start = ordered_subsets(torch.ones(N, N, 2), systems, counts, background, n_iterations=2)
    even = (disc(N, 4.0, 35.0, (-10.0, 0.0)) > 0.99) & (disc(N, 4.0, 20.0, (20.0, 0.0)) < 0.01)
    even = even.expand(-1, -1, 2)
    spreads = []
    for beta in (0.0, 1.0, 10.0):
        found = penalised_likelihood(start, systems, counts, background, prior, beta=beta, n_iterations=15)
        spreads.append(float(found[even].std()))
        assert float(found.sum()) == pytest.approx(float(image.sum()), rel=0.05)
        assert float(found.min()) >= 0
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[2] < 0.5 * spreads[0]


def test_negative_strength_is_refused():
    _, systems, counts, background = scan()
    with pytest.raises(InputError, match="beta"):
        penalised_likelihood(
            torch.ones(N, N, 2), systems, counts, background, RelativeDifferencePrior((4.0, 4.0, 4.0)), beta=-1.0
        )
