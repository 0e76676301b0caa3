"""How near a synthetic CT comes to the true one: errors by tissue, and whether bone and body lie where they should."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nmsynth.metrics.image import bias, mae
from nmsynth.metrics.regions import bounding_box

BONE_HU = (150.0, 300.0)
"""Values from which a voxel of the true CT counts as bone: with trabecular bone, and dense bone alone [HU]."""
TISSUES = {
    "air and lung": (-np.inf, -200.0),
    "fat": (-200.0, -30.0),
    "soft tissue": (-30.0, BONE_HU[0]),
    "bone": (BONE_HU[0], np.inf),
    "dense bone": (BONE_HU[1], np.inf),
}
"""Range of the true CT, from and below [HU]."""

ORGAN_REACH_MM = 10.0
"""Around an organ, where its voxels are told from others [mm]."""
LEAST_SHOWN = 0.7
"""Overlap with which a reference must show an organ by one level."""
Mask = npt.NDArray[np.bool_]


def tissue_mask(reference: npt.ArrayLike, body: npt.ArrayLike, tissue: str) -> Mask:
    """Where the true CT shows a tissue inside the body.

    Parameters
    ----------
    reference
        True CT [HU], any shape.
    body
        Same shape.
    tissue
        One of ``TISSUES``.
    """
    low, high = TISSUES[tissue]
    values = np.asarray(reference)
    return np.asarray(np.asarray(body, dtype=bool) & (values >= low) & (values < high))


def tissue_errors(
    image: npt.ArrayLike, reference: npt.ArrayLike, body: npt.ArrayLike
) -> dict[str, tuple[float | None, float | None, int]]:
    """Mean absolute error and mean error [HU] of each tissue of the true CT, and its voxels.

    Parameters
    ----------
    image, reference
        Synthetic and true CT [HU], one shape.
    body
        Where tissues are looked for, same shape.

    Examples
    --------
    >>> tissue_errors([10.0, 700.0], [40.0, 800.0], [True, True])["bone"]
    (100.0, -100.0, 1)
    """
    found = {}
    for name in TISSUES:
        mask = tissue_mask(reference, body, name)
        found[name] = (mae(image, reference, mask), bias(image, reference, mask), int(mask.sum()))
    return found


def overlap(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Dice coefficient of two masks; ``None`` where the second, the true one, is empty.

    Examples
    --------
    >>> overlap([True, True, False], [True, False, False])
    0.6666666666666666
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if not b.any():
        return None
    return 2.0 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def bone_dice(image: npt.ArrayLike, reference: npt.ArrayLike, body: npt.ArrayLike, level_hu: float) -> float | None:
    """Overlap of what is bone in both images, inside the body; ``None`` where the true CT has none.

    Parameters
    ----------
    image, reference
        Synthetic and true CT [HU], one shape.
    body
        Same shape.
    level_hu
        Value from which a voxel counts as bone [HU].

    Examples
    --------
    >>> bone_dice([310.0, 0.0, 400.0], [350.0, 500.0, 0.0], [True, True, False], 300.0)
    0.6666666666666666
    """
    inside = np.asarray(body, dtype=bool)
    return overlap(inside & (np.asarray(image) >= level_hu), inside & (np.asarray(reference) >= level_hu))


def organ_overlap(
    image: npt.ArrayLike, reference: npt.ArrayLike, organ: npt.ArrayLike, spacing_mm: tuple[float, float, float]
) -> float | None:
    """Dice coefficient of an organ with what of an image is as bright as it, within 10 mm of it.

    The level, and on which side of it the organ lies, are those by which the reference itself shows the organ best; it
    is measured where it does so with a coefficient of 0.7 at least: a kidney in fat, not a spleen beside bowel.

    Parameters
    ----------
    image, reference
        Synthetic and true CT or MR on one scale, shape ``(z, y, x)``.
    organ
        Its voxels, same shape.
    spacing_mm
        Voxel size along ``(z, y, x)`` [mm].

    Returns
    -------
        ``None`` where the organ is empty or the reference does not show it.

    Examples
    --------
    >>> fat = np.full((1, 1, 9), -100.0)
    >>> kidney = np.arange(9).reshape(1, 1, 9) // 3 == 1
    >>> reference = np.where(kidney, 40.0, fat)
    >>> organ_overlap(np.where(np.roll(kidney, 1), 40.0, fat), reference, kidney, (3.0, 3.0, 3.0))
    0.6666666666666666
    """
    known = np.asarray(organ, dtype=bool)
    if not known.any():
        return None
    box = bounding_box(known, spacing_mm, ORGAN_REACH_MM)
    near = ndimage.distance_transform_edt(~known[box], sampling=spacing_mm) <= ORGAN_REACH_MM
    inside = known[box][near]
    own, true = (np.asarray(a, dtype=np.float64)[box][near] for a in (image, reference))
    if inside.all():
        return None
    best, level, above = 0.0, 0.0, True
    for cut in np.unique(np.quantile(true, np.linspace(0.02, 0.98, 49))):
        for side in (True, False):
            shown = overlap((true > cut) == side, inside) or 0.0
            if shown > best:
                best, level, above = shown, float(cut), side
    return overlap((own > level) == above, inside) if best >= LEAST_SHOWN else None


def class_overlap(
    image: npt.ArrayLike, reference: npt.ArrayLike, body: npt.ArrayLike, n_classes: int = 3
) -> float | None:
    """Mean Dice coefficient of the classes of brightness of two images in no common unit.

    Each image is cut into classes by its own thresholds, those of [Otsu1979]_ for several classes, so that scale and
    contrast do not matter: of a T1-weighted MR the classes are about fluid and bone, soft tissue, and fat.

    Parameters
    ----------
    image, reference
        One shape.
    body
        Where, same shape.
    n_classes
        Number of classes.

    Returns
    -------
        ``None`` where the body is empty or an image is the same everywhere in it.

    References
    ----------
    .. [Otsu1979] N. Otsu, A threshold selection method from gray-level histograms, IEEE Trans Syst Man Cybern 9:62-66,
       1979.

    Examples
    --------
    >>> reference = np.repeat([0.0, 5.0, 9.0], 20)
    >>> class_overlap(100 + 3 * reference, reference, np.ones(60, bool))
    1.0
    """
    from skimage.filters import threshold_multiotsu

    inside = np.asarray(body, dtype=bool)
    values = [np.asarray(a, dtype=np.float64)[inside] for a in (image, reference)]
    if any(v.size == 0 or len(np.unique(v[:: max(1, v.size // 10_000)])) < n_classes for v in values):
        return None
    cuts = [threshold_multiotsu(v, classes=n_classes) for v in values]  # type: ignore[no-untyped-call]
    classes = [np.digitize(v, c) for v, c in zip(values, cuts, strict=True)]
    found = [overlap(classes[0] == k, classes[1] == k) for k in range(n_classes)]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None
