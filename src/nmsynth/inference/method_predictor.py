"""A method over an image of any size: windows that overlap, blended, with one noise for the whole image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from nmsynth.core.errors import NumericalError
from nmsynth.core.plan import CoarsePlan, Plan
from nmsynth.inference.card_model import Progress
from nmsynth.inference.tiling import FloatImage
from nmsynth.metrics.regions import smooth

if TYPE_CHECKING:
    from nmsynth.models.method import Method

SLICES_AT_ONCE = 8
"""Slices of a 2D network that are computed together."""
WINDOWS_AT_ONCE = 2
"""Windows of a 3D network that are computed together: torch takes several times as long for one alone, as it then
chooses another convolution; more than two gain little."""
AROUND_MM = 60.0
"""Surroundings out of which a coarse difference stands, full width at half maximum [mm]."""


@dataclass(frozen=True, slots=True)
class PredictionSettings:
    """How an image is predicted."""

    seed: int = 0
    """Of the noise; the same seed gives the same image."""
    n_samples: int = 4
    """Answers that a stochastic method gives; their mean is the image."""
    overlap: float = 0.5
    """Share of a window that overlaps the next, 0 to below 1."""
    device: str = "cpu"


def predict_method(
    method: Method,
    plan: Plan,
    source: FloatImage,
    condition: npt.ArrayLike,
    settings: PredictionSettings | None = None,
    *,
    progress: Progress | None = None,
) -> tuple[FloatImage, list[FloatImage]]:
    """Answer of a method for a whole image.

    Windows have the size of a training patch and overlap; where they do, they are blended with weights that fall
    towards their borders. By plans with windows of slices 2D networks see whole slices, and methods with one code for
    an image the image. The noise of a stochastic method is drawn once for the whole image, so that windows agree where
    they overlap, and so is a code, from the patch about the middle of what the image shows.

    Parameters
    ----------
    method
        In evaluation mode.
    plan
        Patch, dimensions and context.
    source
        Normalised sources on the plan's grid, shape ``(source, z, y, x)``.
    condition
        The numbers that the network is told, shape ``(condition,)``.
    settings
        Seed, number of samples, overlap, device.
    progress
        Told how many of how many windows are done.

    Returns
    -------
        The image, and the samples of which it is the mean (none for a deterministic method); normalised, shape
        ``(z, y, x)``.

    Raises
    ------
    NumericalError
        If the network gives NaN or infinity.
    """
    settings = settings or PredictionSettings()
    margins = [(max(0, p - n + 1) // 2, max(0, p - n) // 2) for n, p in zip(source.shape[1:], plan.patch, strict=True)]
    if plan.windows == "patch" and np.any(margins):
        wide = np.pad(source, [(0, 0), *margins], mode="edge")
        image, samples = predict_method(method, plan, wide, condition, settings, progress=progress)
        inner = tuple(slice(before, before + n) for (before, _), n in zip(margins, source.shape[1:], strict=True))
        return image[inner], [sample[inner] for sample in samples]
    told = torch.as_tensor(np.asarray(condition, dtype=np.float32)).to(settings.device)[None]
    n_z, n_y, n_x = source.shape[1:]
    windows = [(slice(0, n_z), slice(0, n_y), slice(0, n_x))]
    by_code = method.whole_image and plan.windows == "patch"
    if by_code or not method.whole_image:
        aligned = (1, 1, 1) if by_code else _strides(method, plan)  # all windows take the same numbers of a code
        windows = list(plan_windows((n_z, n_y, n_x), plan, settings.overlap, aligned=aligned))
    n_samples = settings.n_samples if method.stochastic else 1
    noises = drawn_noises(method, plan, source.shape[1:], settings) if method.stochastic else iter([None])
    samples = []
    for k, noise in enumerate(noises):
        code = _code(method, plan, source, told, noise, settings.device) if by_code else None
        total = np.zeros(source.shape[1:], dtype=np.float64)
        weights = np.zeros(source.shape[1:], dtype=np.float64)
        at_once = WINDOWS_AT_ONCE if plan.spatial_dims == 3 else 1
        for number in range(0, len(windows), at_once):
            chosen = windows[number : number + at_once]
            for window, answer in zip(
                chosen, _answers(method, plan, source, told, noise, chosen, settings.device, code), strict=True
            ):
                if not np.isfinite(answer).all():
                    raise NumericalError(
                        "The network gave NaN or infinity; nothing was written. Verify the model and look at the input."
                    )
                weight = _blending(answer.shape, plan)
                total[window] += weight * answer
                weights[window] += weight
            if progress is not None:
                progress(k * len(windows) + number + len(chosen), n_samples * len(windows))
        answered = np.asarray(total / weights, dtype=np.float32)
        if plan.coarse.share:
            answered += coarse_difference(answered, source[0], plan.coarse, plan.spacing_mm)
        samples.append(answered)
    if not method.stochastic:
        return samples[0], []
    return np.asarray(np.mean(samples, axis=0), dtype=np.float32), samples


def coarse_difference(
    answer: FloatImage, source: FloatImage, plan: CoarsePlan, spacing_mm: tuple[float, float, float]
) -> FloatImage:
    """What is added to an answer so that it has what is coarse from its source, as far as a plan says.

    What stands out of its surroundings is told from noise by the shrinkage of James and Stein [James1961]_: the
    variance is the mean square of the difference about each voxel, at the level of the answer there, as the noise of
    an iterative reconstruction grows with activity.

    Parameters
    ----------
    answer, source
        On one scale, shape ``(z, y, x)``.
    plan
        Share, width, and by how much something must stand out.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].

    References
    ----------
    .. [James1961] W. James, C. Stein, Estimation with quadratic loss, Proc 4th Berkeley Symp Math Stat Prob 1:361-379,
       1961.
    """
    coarse = np.float32(plan.share) * smooth(source - answer, plan.fwhm_mm, spacing_mm)
    if plan.standing_out:
        power, level = coarse**2, smooth(answer, plan.fwhm_mm, spacing_mm) ** 2
        about_power, about_level = (smooth(x, AROUND_MM, spacing_mm) for x in (power, level))
        noise = np.float32(plan.standing_out) * about_power * level
        signal = about_level * power
        coarse *= np.divide(signal - noise, signal, out=np.zeros_like(signal), where=signal > noise)
    return coarse


def plan_windows(
    shape: tuple[int, ...], plan: Plan, overlap: float, *, aligned: tuple[int, ...] = (1, 1, 1)
) -> Iterator[tuple[slice, slice, slice]]:
    """Windows that cover an image: patches that overlap; in 2D those of some slices at once, or whole slices.

    Parameters
    ----------
    shape
        Of the image, ``(z, y, x)``.
    plan
        Patch, dimensions, and windows of 2D.
    overlap
        Share of a window that overlaps the next; along z of 2D none does.
    aligned
        Windows begin at multiples of this along ``(z, y, x)``, but for the last, which ends with the image.
    """
    size, shares = plan.patch, (overlap,) * 3
    if plan.spatial_dims == 2:
        in_plane = plan.patch[1:] if plan.windows == "patch" else shape[1:]
        size, shares = (SLICES_AT_ONCE, in_plane[0], in_plane[1]), (0.0, overlap, overlap)
    axes = []
    for n, width, share, multiple in zip(shape, size, shares, aligned, strict=True):
        width = min(n, width)
        axes.append([slice(start, start + width) for start in _starts(n, width, share, multiple)])
    yield from itertools.product(*axes)


def _starts(n: int, width: int, overlap: float, multiple: int) -> list[int]:
    """Where windows of a width begin along an axis of n voxels: evenly, rounded down, and as many as leave no gap."""
    if n == width:
        return [0]
    n_windows = int(np.ceil((n - width) / max(1.0, width * (1 - overlap)))) + 1
    while True:
        even = np.linspace(0, n - width, n_windows)
        starts = np.unique([*(even[:-1] // multiple * multiple).astype(int), n - width])
        if np.diff(starts).max() <= width:
            return [int(start) for start in starts]
        n_windows += 1


def _blending(shape: tuple[int, ...], plan: Plan) -> npt.NDArray[np.float64]:
    """Weights of a window: a hill along the axes along which windows share voxels."""
    hill = np.ones(shape)
    for axis, n in enumerate(shape):
        if plan.spatial_dims == 2 and (axis == 0 or plan.windows == "slice"):
            continue
        place = (np.arange(n) + 0.5) / n * 2 - 1
        profile = np.exp(-0.5 * (place / 0.5) ** 2)
        hill = hill * profile.reshape([-1 if k == axis else 1 for k in range(3)])
    return hill


class WholeNoise:
    """Standard normal noise of a whole image, of which each window takes its part."""

    def __init__(self, method: Method, plan: Plan, shape: tuple[int, ...], seed: tuple[int, int]) -> None:
        self.strides = _strides(method, plan)
        # one more than fits, for a last window that begins between two multiples of the stride
        coarse = [-(-n // s) + 1 for n, s in zip(shape, self.strides, strict=True)]
        rng = np.random.default_rng(seed)
        self.array = rng.standard_normal((method.noise_channels, *coarse), dtype=np.float32)

    def part(self, window: tuple[slice, slice, slice]) -> FloatImage:
        """Noise of a window, ``(channel, z, y, x)``, sizes divided by the stride and rounded up."""
        parts = []
        for axis, stride in zip(window, self.strides, strict=True):
            start = axis.start // stride
            parts.append(slice(start, start + -(-(axis.stop - axis.start) // stride)))
        return self.array[(slice(None), *parts)]


def drawn_noises(
    method: Method, plan: Plan, shape: tuple[int, ...], settings: PredictionSettings
) -> Iterator[WholeNoise]:
    """Noise of each sample of an image.

    A method with one code for the whole image draws few numbers, and some samples of them lie off their mean by chance,
    by the same in every image of one seed; they are balanced, so that over the samples each number has mean 0 and
    standard deviation 1.

    Parameters
    ----------
    method, plan, shape
        As of :class:`WholeNoise`.
    settings
        Seed and number of samples.
    """
    drawn = (WholeNoise(method, plan, shape, (settings.seed, k)) for k in range(settings.n_samples))
    if not method.whole_image or settings.n_samples < 2:
        yield from drawn  # one at a time: of a large image each takes its room
        return
    noises = list(drawn)
    codes = np.stack([noise.array[:, 0, 0, 0] for noise in noises])
    codes = (codes - codes.mean(axis=0)) / codes.std(axis=0, ddof=1)
    for noise, code in zip(noises, codes, strict=True):
        noise.array = np.broadcast_to(code[:, None, None, None], noise.array.shape)
        yield noise


def _strides(method: Method, plan: Plan) -> tuple[int, ...]:
    """Voxels of the image for one of the noise, along ``(z, y, x)``."""
    stride = method.noise_stride
    strides = (stride,) * plan.spatial_dims if isinstance(stride, int) else tuple(stride)
    return strides if plan.spatial_dims == 3 else (1, *strides)


def _answers(
    method: Method,
    plan: Plan,
    source: FloatImage,
    told: torch.Tensor,
    noise: WholeNoise | None,
    windows: list[tuple[slice, slice, slice]],
    device: str,
    code: torch.Tensor | None = None,
) -> FloatImage:
    """Answers for windows of one size, shape ``(window, z, y, x)``; in 2D for the slices of one window."""
    parts = None
    if plan.spatial_dims == 3:
        patches = np.stack([source[(slice(None), *w)] for w in windows])
        if noise is not None:
            parts = np.stack([noise.part(w) for w in windows])
    else:
        planes, rows, columns = windows[0]
        patches = slices_with_context(source[:, :, rows, columns], planes, plan.context)
        if noise is not None:
            # (channel, slice, y, x) -> (slice, channel, y, x)
            parts = np.ascontiguousarray(noise.part(windows[0]).swapaxes(0, 1))
    with torch.inference_mode():
        drawn = None if parts is None else torch.from_numpy(parts).to(device)
        given = torch.from_numpy(patches).to(device)
        told = told.expand(len(given), -1)
        answer = method(given, told, drawn) if code is None else method.decode(given, told, code.expand(len(given), -1))
        out = answer.float().cpu().numpy()[:, 0]
    return np.asarray(out if plan.spatial_dims == 3 else out[None])


def _code(
    method: Method, plan: Plan, source: FloatImage, told: torch.Tensor, noise: WholeNoise | None, device: str
) -> torch.Tensor:
    """What is common to an image, found in the patch about the middle of what it shows."""
    shown = np.asarray(source[0] - source[0].min(), dtype=np.float64)
    middle = ndimage.center_of_mass(shown if shown.any() else np.ones_like(shown))
    starts = [
        int(np.clip(round(m - (width - 1) / 2), 0, n - width))
        for m, n, width in zip(middle, shown.shape, plan.patch, strict=True)
    ]
    z, y, x = (slice(start, start + width) for start, width in zip(starts, plan.patch, strict=True))
    with torch.inference_mode():
        drawn = None if noise is None else torch.from_numpy(noise.part((z, y, x))[None]).to(device)
        return method.code(torch.from_numpy(source[None, :, z, y, x].copy()).to(device), told, drawn)


def slices_with_context(source: FloatImage, planes: slice, context: int) -> FloatImage:
    """Slices with their neighbours as channels, ``(slice, source * context, y, x)``; the ends repeat.

    Parameters
    ----------
    source
        Shape ``(source, z, y, x)``.
    planes
        Slices that are wanted.
    context
        Slices a channel group spans, odd.
    """
    n_z = source.shape[1]
    wanted = np.arange(planes.start, planes.stop)
    index = np.clip(wanted[:, None] + np.arange(context) - context // 2, 0, n_z - 1)
    # (source, slice, context, y, x) -> (slice, source, context, y, x)
    stack = source[:, index].swapaxes(0, 1)
    return np.ascontiguousarray(stack.reshape(len(wanted), -1, *source.shape[2:]), dtype=np.float32)
