"""What an image of a brain says beyond what its anatomy alone lets one say: pattern over regions, and composites.

Regions of one brain differ far more among themselves than one brain from another, so that any image with the usual
pattern correlates with any other. Taken from both is therefore what the population's uptake shows in this very anatomy;
what is left is of the subject.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nmsynth.evaluation.evaluate import REFERENCE
from nmsynth.evaluation.regional import NO_REGIONS, RATIO_REGIONS_LEAST
from nmsynth.metrics.measurement import Measurement
from nmsynth.metrics.suvr import COMPOSITES, composite_ratio

Image = npt.NDArray[np.float32]

PATTERN, COMPOSITE = "pattern correlation", "composite beyond anatomy"
"""Names of the measurements; they need the population's uptake in the anatomy of the subject."""
DEFINITIONS = {
    PATTERN: (
        "Pearson's, over the regions, of the means of image and reference, each less those of the population's uptake "
        "in the same anatomy"
    ),
    COMPOSITE: "composite SUVR less that of the population's uptake in the same anatomy; of the reference too",
}


def measure_beyond_anatomy(
    images: Mapping[str, Image],
    reference: Image,
    anatomy: Image,
    masks: Mapping[str, npt.NDArray[np.generic]],
    *,
    unit: str,
    against: str,
) -> list[Measurement]:
    """Measure images and their reference beside the population's uptake in the same anatomy.

    Parameters
    ----------
    images
        By arm, on the grid of the reference, shape ``(z, y, x)``.
    reference
        That they are compared with [the unit].
    anatomy
        Image of the population's uptake in the anatomy of the subject, same shape.
    masks
        Of regions by name, on the same grid; those of body and lesions are none.
    unit, against
        Unit of the images, and name of the reference, as printed.

    Returns
    -------
        Measurements of each arm, and composites of the arm ``reference``; nothing with fewer than
        :data:`~nmsynth.evaluation.regional.RATIO_REGIONS_LEAST` regions.
    """
    regions = {n: np.asarray(m).astype(bool) for n, m in masks.items() if not n.startswith(NO_REGIONS)}
    if len(regions) < RATIO_REGIONS_LEAST:
        return []

    def means(image: Image) -> dict[str, float]:
        """Of each region."""
        return {name: float(image[mask].mean(dtype=np.float64)) for name, mask in regions.items()}

    usual, expected = means(anatomy), means(reference)
    own_pattern = np.array([expected[name] - usual[name] for name in regions])
    rows: list[Measurement] = []
    for arm, image in [*images.items(), (REFERENCE, reference)]:
        found = means(image)
        if arm != REFERENCE:
            pair = np.stack([[found[name] - usual[name] for name in regions], own_pattern])
            own, expects = (bool(spread > 1e-6) for spread in pair.std(axis=1))
            # what says nothing beyond the anatomy tells nothing of the pattern
            correlation = (float(np.corrcoef(pair)[0, 1]) if own else 0.0) if expects else None
            reason = None if expects else "the reference is what the anatomy says"
            where = f"{len(regions)} regions"
            rows.append(Measurement(PATTERN, correlation, "1", where, against, n=len(regions), reason=reason, arm=arm))
        for name in COMPOSITES:
            shown, plain = composite_ratio(found, name), composite_ratio(usual, name)
            if shown is not None and plain is not None:
                rows.append(Measurement(COMPOSITE, shown - plain, unit, name, arm=arm))
    return rows
