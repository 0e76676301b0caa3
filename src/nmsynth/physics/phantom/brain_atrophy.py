"""Atrophy of a brain label map: cortex, hippocampus and amygdala shrink, the ventricles widen.

A geometric change of the labels, graded from 0 to 1. Each region of cortex loses the share of its voxels in
:data:`CORTEX_LOSS` from its outer surface, which becomes cerebrospinal fluid; hippocampus and amygdala lose theirs from
their surface to the temporal horn; each lateral ventricle grows into the white matter around it, which keeps a wall of
2 mm towards everything else. The larger the atrophy, the more voxels change, and every change of a smaller one is among
those of a larger one. Shares at full atrophy are chosen: those of the temporal lobe are largest, as in Alzheimer's
disease, hippocampal loss is of the size seen in dementia [Jack1997]_, and ventricles double.

White matter is not thinned elsewhere, sulci whose banks touch in the map stay closed, and nothing moves: a shrunken
gyrus does not sink. The pattern is the same for every disease.

References
----------
.. [Jack1997] C. R. Jack et al., Medial temporal atrophy on MRI in normal aging and very mild Alzheimer's disease,
   Neurology 49:786-794, 1997.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nmsynth.physics.phantom.brain_disease import checked_share
from nmsynth.physics.phantom.brain_regions import RIGHT, BrainRegion

_B = BrainRegion
CORTEX_LOSS = {
    _B.MEDIAL_TEMPORAL: 0.35,
    _B.LATERAL_TEMPORAL: 0.25,
    _B.PARIETAL: 0.22,
    _B.PRECUNEUS: 0.22,
    _B.FRONTAL: 0.18,
    _B.INSULA: 0.18,
    _B.ANTERIOR_CINGULATE: 0.15,
    _B.OCCIPITAL: 0.10,
    _B.SENSORIMOTOR: 0.10,
}
"""Share of a region's volume that full atrophy removes."""
LIMBIC_LOSS = {_B.HIPPOCAMPUS: 0.35, _B.AMYGDALA: 0.30}
VENTRICLE_GROWTH = 1.0
"""Volume that each lateral ventricle gains at full atrophy, over its own."""
_CSF, _WALL_MM = 24, 2.0
_VENTRICLE = {0: (4, 2), RIGHT: (43, 41)}
_TEMPORAL_HORN = {0: 5, RIGHT: 44}


def atrophied(
    labels: NDArray[np.int32], regions: NDArray[np.uint8], spacing_mm: tuple[float, float, float], atrophy: float
) -> NDArray[np.int32]:
    """A brain label map with atrophy.

    Parameters
    ----------
    labels
        FreeSurfer numbers, shape ``(z, y, x)``.
    regions
        Region of each voxel, from `brain_regions`.
    spacing_mm
        Voxel edges ``(z, y, x)`` [mm].
    atrophy
        From 0, the map as it is, to 1.

    Returns
    -------
        The map with voxels of the brain turned to cerebrospinal fluid; nothing outside the brain changes.
    """
    checked_share("atrophy", atrophy)
    result = labels.copy()
    if atrophy == 0 or not (regions > 0).any():
        return result
    where = ndimage.find_objects((regions > 0).astype(np.uint8))[0]
    box = tuple(slice(max(s.start - 2, 0), s.stop + 2) for s in where)
    inner, part = labels[box], regions[box]
    target = inner.copy()
    grain = _grain(inner.shape) * min(spacing_mm)
    depth = ndimage.distance_transform_edt(_solid(part), sampling=spacing_mm) + grain
    for side in (0, RIGHT):
        for region, share in CORTEX_LOSS.items():
            _take(target, part == region + side, depth, share * atrophy, _CSF)
        for region, share in LIMBIC_LOSS.items():
            own = part == region + side
            _take(target, own, _depth_of(own, spacing_mm) + grain, share * atrophy, _TEMPORAL_HORN[side])
        _widen(target, inner, side, spacing_mm, grain, VENTRICLE_GROWTH * atrophy)
    result[box] = target
    return result


def _solid(regions: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tissue of the brain without choroid plexus."""
    solid: NDArray[np.bool_] = (regions > 0) & (regions % RIGHT != _B.CHOROID_PLEXUS)
    return solid


def _grain(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Smooth numbers from 0 to 1 that break ties between voxels of one depth, the same for every map of a shape."""
    field = ndimage.gaussian_filter(np.random.default_rng(17).standard_normal(shape), 1.5)
    order = field.std() or 1.0
    return np.asarray(0.5 + 0.5 * np.tanh(field / order), dtype=np.float64)


def _depth_of(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Depth under the surface of a mask [mm], computed in its own box."""
    depth = np.zeros(mask.shape, np.float64)
    where = ndimage.find_objects(mask.astype(np.uint8))
    if where:
        box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in where[0])
        depth[box] = ndimage.distance_transform_edt(mask[box], sampling=spacing_mm)
    return depth


def _take(
    target: NDArray[np.int32], mask: NDArray[np.bool_], depth: NDArray[np.float64], share: float, label: int
) -> None:
    """Turn the shallowest voxels of a mask into another label, in place."""
    index = np.flatnonzero(mask)
    count = round(share * len(index))
    if count:
        order = np.argsort(depth.reshape(-1)[index], kind="stable")
        target.reshape(-1)[index[order[:count]]] = label


def _widen(
    target: NDArray[np.int32],
    labels: NDArray[np.int32],
    side: int,
    spacing_mm: tuple[float, float, float],
    grain: NDArray[np.float64],
    growth: float,
) -> None:
    """Grow a lateral ventricle into the white matter of its side, in place."""
    ventricle, white = _VENTRICLE[side]
    cavity = labels == ventricle
    count = round(growth * int(cavity.sum()))
    if not count:
        return
    free = _depth_of((labels == white) | cavity, spacing_mm) > _WALL_MM
    index = np.flatnonzero((labels == white) & free)
    distance = (ndimage.distance_transform_edt(~cavity, sampling=spacing_mm) + grain).reshape(-1)[index]
    target.reshape(-1)[index[np.argsort(distance, kind="stable")[:count]]] = ventricle
