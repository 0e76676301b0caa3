"""Synthesis of planar views: each for itself, as a single slice, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nmsynth.core.errors import EnvelopeError, InputError
from nmsynth.core.volume import PLANAR_AXES, Volume
from nmsynth.inference.card_model import Progress
from nmsynth.inference.method_model import MethodModel
from nmsynth.inference.method_synthesis import synthesize_with_method
from nmsynth.inference.settings import SynthesisSettings
from nmsynth.inference.synthesis import Synthesis, described


def is_planar(given: Volume | Mapping[str, Volume], model: MethodModel) -> bool:
    """Whether the first input of a model has views."""
    first = given if isinstance(given, Volume) else given.get(model.plan.sources[0].name)
    return first is not None and first.axes == PLANAR_AXES


def synthesize_views(
    given: Volume | Mapping[str, Volume],
    model: MethodModel,
    settings: SynthesisSettings,
    *,
    progress: Progress | None = None,
) -> Synthesis:
    """Synthesise planar views with a method that was trained on single ones.

    Each view is one slice of the coronal plane, and has a level of its own; a view that is empty stays empty. Grid,
    unit and acquisition are those of the input.

    Parameters
    ----------
    given
        Views, axes ``("view", "y", "x")``, or these by the name of the plan's only source.
    model, settings, progress
        As in :func:`~nmsynth.inference.method_synthesis.synthesize_with_method`.

    Raises
    ------
    InputError
        If several inputs are given.
    EnvelopeError
        If the model works on volumes, or as for one view.
    UnsafeInputError, NumericalError
        As for one view.
    """
    first = given if isinstance(given, Volume) else given[model.plan.sources[0].name]
    if model.plan.dimensions != "2d" or model.plan.patch[0] != 1 or model.envelope.single_slices is False:
        raise EnvelopeError(
            f"Planar views need a model of planar views; found {model.name}, which takes volumes. Give it a "
            "reconstructed volume (RECON TOMO), or choose a model of planar views, as that of lowcount-planar."
        )
    if not isinstance(given, Volume) and len(given) > 1:
        raise InputError(f"Planar views are the only input of a model; found {', '.join(given)}. Pass one image.")
    parts = []
    for number in range(first.shape[0]):
        told = None if progress is None else _of_view(progress, number, first.shape[0])
        parts.append(synthesize_with_method(first.single_view(number), model, settings, progress=told))
    flags = tuple(dict.fromkeys(flag for part in parts for flag in part.flags))
    provenance = replace(
        parts[0].image.provenance,
        parents=(first.acquisition.series_uid or first.sha256,),
        simulated=first.provenance.simulated,
    )
    image, *samples = (
        first.with_array(
            np.concatenate([v.array for v in views]), provenance=provenance, unit=views[0].unit
        ).with_warnings(flags)
        for views in zip(*((part.image, *part.samples) for part in parts), strict=True)
    )
    record = parts[0].record | {
        "input": described(first),
        "inputs": {model.plan.sources[0].name: described(first)},
        "checks": {f"view {k + 1}": part.record["checks"] for k, part in enumerate(parts)},
        "flags": list(flags),
    }
    record["output"] = record["output"] | {"shape": list(image.shape)}
    return Synthesis(image, {"image": image}, tuple(samples), None, flags, record)


def _of_view(progress: Progress, number: int, n_views: int) -> Progress:
    """Progress within one view, of all."""

    def told(done: int, total: int) -> None:
        progress(number * total + done, n_views * total)

    return told
