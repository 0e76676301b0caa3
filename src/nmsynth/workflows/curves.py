"""Curves of one study: a model at its three significances and other images, beside the Gaussian of the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.evaluation.curves import Curves, Settings
    from nmsynth.inference.predictor import Model


def significance_settings(model: Model, source: Volume) -> Iterator[tuple[str, Volume]]:
    """Images of a model at each significance of its card, from one run of its network.

    Parameters
    ----------
    model
        Loaded.
    source
        The low-count image; the model is homogeneous, so its unit stays.
    """
    import numpy as np
    import torch

    from nmsynth.models.card import SIGNIFICANCE_LEVELS
    from nmsynth.models.fusion import fuse

    heads = model.predict(source.array, source.spacing_mm, heads=True)
    stack = torch.from_numpy(np.stack([heads[name] for name in ("mean", "contrast", "evidence")])[None])
    for level in SIGNIFICANCE_LEVELS:
        if level in model.card.significance:
            yield level, source.with_array(fuse(stack, model.threshold(level))[0, 0].numpy())


def study_curves(
    source: Volume,
    reference: Volume,
    *,
    masks: Mapping[str, Any],
    main: str,
    prediction: Volume | None = None,
    model: Model | None = None,
    others: Mapping[str, Volume] | None = None,
    reference_kind: str = "T1",
) -> Curves | None:
    """Recovery against noise and against false structures on one study.

    Parameters
    ----------
    source
        The low-count image; its Gaussian's curve is always there.
    reference
        What recovery and false structures are measured against.
    masks
        As in :func:`nmsynth.evaluation.evaluate`.
    main
        Name of the curve of the model, or of the point of the prediction where there is no model.
    prediction, model
        The synthetic image; the model that made it, whose curve over significances is then drawn instead.
    others
        Further images by name: a point each.
    reference_kind
        ``T0``, ``T1`` or ``T2``.

    Returns
    -------
        ``None`` where no mask holds a lesion.
    """
    import numpy as np

    from nmsynth.evaluation.curves import GAUSSIAN, gaussian_settings, measure_curves, pool_curves
    from nmsynth.evaluation.preparation import LESION_PREFIX

    lesions = [getattr(mask, "array", mask) for name, mask in masks.items() if name.startswith(LESION_PREFIX)]
    if not any(np.any(np.asarray(mask) > 0) for mask in lesions):
        return None
    images: dict[str, Settings] = {}
    if model is not None:
        images[main] = significance_settings(model, source)
    elif prediction is not None:
        images[main] = [("", prediction)]
    images[GAUSSIAN] = gaussian_settings(source)
    images |= {name: [("", image)] for name, image in (others or {}).items()}
    settings = {"reference_kind": reference_kind}
    samples = measure_curves(images, reference, masks=masks, settings=settings)
    return pool_curves(samples, reference_kind=reference_kind)
