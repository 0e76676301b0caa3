"""A tiny dataset, and the loop by which every family is taught it: one optimiser a group of parameters."""

import copy

import torch
from torch.nn import functional as F

from nmsynth.models.method import Method, MethodBatch, MethodSetting

PATCHES = {2: (32, 32), 3: (8, 16, 16)}
"""Size of a tiny patch, by dimensions."""


def tiny_setting(dims: int, n_sources: int = 1, n_conditions: int = 0, *, residual: bool = False) -> MethodSetting:
    """What a plan would say of :func:`tiny_batch`."""
    return MethodSetting(
        spatial_dims=dims,
        n_sources=n_sources,
        n_conditions=n_conditions,
        channels=(8, 16),
        patch=PATCHES[dims],
        residual=residual,
    )


def tiny_batch(dims: int, n_sources: int = 1, n_conditions: int = 0, *, n: int = 2, seed: int = 0) -> MethodBatch:
    """Smooth patches; where there are conditions, each source is there twice, with conditions of 1 and of -1.

    The target is ``max(field, 0) + field / 5`` of the mean of the sources, times ``1 + condition / 2``, so that neither
    the source itself nor a constant is an answer.
    """
    generator = torch.Generator().manual_seed(seed)
    blur = F.avg_pool2d if dims == 2 else F.avg_pool3d
    source = torch.randn((n, n_sources, *PATCHES[dims]), generator=generator)
    for _ in range(2):
        source = blur(source, 3, stride=1, padding=1, count_include_pad=False)
    source = source / source.std()
    condition = torch.zeros(n, n_conditions)
    if n_conditions:
        source = source[: n // 2].repeat_interleave(2, dim=0)
        condition[0::2], condition[1::2] = 1.0, -1.0
    field = source.mean(dim=1, keepdim=True)
    scale = 1 + 0.5 * condition.mean(dim=1) if n_conditions else torch.ones(n)
    target = (field.clamp_min(0) + 0.2 * field) * scale.reshape(-1, 1, *(1,) * dims)
    return {"source": source, "target": target, "condition": condition, "weight": torch.ones_like(target)}


def train_method(
    method: Method, batch: MethodBatch, steps: int, *, lr: float = 3e-3, seed: int = 0
) -> list[dict[str, float]]:
    """Train on one batch as training does, stage after stage; the terms of each step, as ``group.term``.

    Every stage takes its share of ``steps``. Each step seeds torch, then steps the groups in their order while the
    parameters of the others need no gradient.
    """
    method.train()
    history: list[dict[str, float]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other take longer than so little work
    try:
        _run_stages(method, batch, steps, lr, seed, history)
    finally:
        torch.set_num_threads(threads)
    return history


def _run_stages(
    method: Method, batch: MethodBatch, steps: int, lr: float, seed: int, history: list[dict[str, float]]
) -> None:
    """The steps of :func:`train_method`."""
    step = 0
    for stage, share in zip(method.stages, method.stage_shares, strict=True):
        groups = method.groups(stage)
        optimisers = {name: torch.optim.AdamW(found, lr=lr) for name, found in groups.items()}
        wanted = {p for found in groups.values() for p in found}
        for _ in range(max(1, round(share * steps))):
            torch.manual_seed(100_003 * seed + step)
            history.append({})
            for name, found in groups.items():
                for p in method.parameters():
                    p.requires_grad_(False)
                for p in found:
                    p.requires_grad_(True)
                terms = method.losses(batch, name, stage)
                optimisers[name].zero_grad(set_to_none=True)
                terms["total"].backward()
                torch.nn.utils.clip_grad_norm_(found, 1.0)
                optimisers[name].step()
                history[-1] |= {f"{name}.{term}": float(value.detach()) for term, value in terms.items()}
            for p in wanted:
                p.requires_grad_(True)
            step += 1


def answer(method: Method, batch: MethodBatch, noise: torch.Tensor | None = None) -> torch.Tensor:
    """What a trained family says."""
    method.eval()
    with torch.no_grad():
        return method(batch["source"], batch["condition"], noise).float()


def relative_error(prediction: torch.Tensor, batch: MethodBatch) -> float:
    """Mean absolute error over that of the best constant; 1 is the trivial answer."""
    target = batch["target"]
    return float((prediction - target).abs().mean() / (target - target.median()).abs().mean())


def noise_for(method: Method, batch: MethodBatch, seed: int = 0) -> torch.Tensor:
    """Noise of the shape that one answer takes."""
    source = batch["source"]
    sizes = [-(-n // method.noise_stride) for n in source.shape[2:]]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((len(source), method.noise_channels, *sizes), generator=generator)


def twins(build, batch: MethodBatch, steps: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """State of two trainings from one seed."""
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        method = build()
        train_method(method, batch, steps)
        states.append(copy.deepcopy(method.state_dict()))
    return states[0], states[1]
