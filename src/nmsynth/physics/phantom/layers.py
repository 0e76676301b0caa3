"""Painting layered shapes onto a grid or evaluating them at points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nmsynth.physics.phantom.fields import SmoothField
from nmsynth.physics.phantom.grid import FloatArray, Grid
from nmsynth.physics.phantom.shapes import Shape

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Layer:
    """One structure, painted over those before it.

    Attributes
    ----------
    name
        Name, to be referred to by `inside`.
    label
        Value in the label image.
    shapes
        Their union is the structure.
    suv
        Uptake [g/mL].
    mu
        Attenuation at 511 keV [1/cm]; None leaves what is below.
    texture
        Relative standard deviation of the uptake within the structure.
    texture_field
        Which of the patient's fields gives the texture.
    bump_mm, bump_field
        Standard deviation of a smooth displacement of the surface [mm], and its field.
    blur_mm
        Extra width of the edge, for breathing [mm].
    inside
        Name of an earlier layer that the structure cannot leave.
    fold_mm
        Depth over which a folded surface (cerebral cortex) alternates with what is below [mm]; 0 for none.
    """

    name: str
    label: int
    shapes: tuple[Shape, ...]
    suv: float
    mu: float | None = 0.096
    texture: float = 0.0
    texture_field: int = 1
    bump_mm: float = 0.0
    bump_field: int = 1
    blur_mm: float = 0.0
    inside: str | None = None
    fold_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Fields:
    """Random fields of one patient: three displacements [mm] and several textures from fine to coarse."""

    warp: tuple[SmoothField, SmoothField, SmoothField]
    warp_mm: float
    textures: tuple[SmoothField, ...]


def _box_slices(shape: Shape, grid: Grid, margin_mm: float) -> Slices | None:
    """Index ranges of a shape's box grown by a margin, None where it misses the grid."""
    result = []
    for (low, high), n, spacing, origin in zip(
        shape.bounds(), grid.shape, grid.spacing_mm, grid.origin_mm, strict=True
    ):
        first = max(0, int(np.floor((low - margin_mm - spacing - origin) / spacing)))
        last = min(n, int(np.ceil((high + margin_mm + spacing - origin) / spacing)) + 1)
        if first >= last:
            return None
        result.append(slice(first, last))
    return result[0], result[1], result[2]


def _occupancy(distance: FloatArray, width: float) -> FloatArray:
    """Fraction of a voxel inside, a ramp of the given width [mm] across the surface."""
    distance *= np.float32(-1.0 / width)
    distance += np.float32(0.5)
    np.clip(distance, 0, 1, out=distance)
    return distance


class Painter:
    """Paints layers on one grid; `activity`, `mu_map` and `labels` are the result."""

    def __init__(self, grid: Grid, fields: Fields) -> None:
        """Start with empty air."""
        self.grid = grid
        self.fields = fields
        self._axes = grid.axes()
        self._margin = 3.5 * fields.warp_mm
        self._width = float(np.mean(grid.spacing_mm))
        self._coordinates = tuple(
            (
                axis.reshape([-1 if i == k else 1 for k in range(3)]) + fields.warp_mm * field.on_axes(*self._axes)
            ).astype(np.float32)
            for i, (axis, field) in enumerate(zip(self._axes, fields.warp, strict=True))
        )
        self._textures: dict[int, FloatArray] = {}
        self._weight = np.ones(grid.shape, dtype=np.float32)
        self._masks: dict[str, FloatArray] = {}
        self.activity = np.zeros(grid.shape, dtype=np.float32)
        self.mu_map = np.zeros(grid.shape, dtype=np.float32)
        self.labels = np.zeros(grid.shape, dtype=np.uint8)

    def texture(self, index: int, where: Slices) -> FloatArray:
        """Field values in a part of the grid."""
        if index not in self._textures:
            self._textures[index] = self.fields.textures[index].on_axes(*self._axes)
        return self._textures[index][where]

    def paint(self, layers: Sequence[Layer], *, also_needed: Collection[str | None] = ()) -> None:
        """Paint in order; a later layer hides an earlier one. Layers ``also_needed`` limit others painted later on."""
        needed = {layer.inside for layer in layers} | set(also_needed)
        for layer in layers:
            found = self._layer_occupancy(layer)
            if layer.name in needed and layer.name not in self._masks:
                self._masks[layer.name] = np.zeros(self.grid.shape, dtype=np.float32)
            if found is None:
                continue
            where, occupancy = found
            if layer.name in needed:
                np.maximum(self._masks[layer.name][where], occupancy, out=self._masks[layer.name][where])
            self._blend(layer, where, occupancy)

    def replace(
        self, where: Slices, *, keep: FloatArray, activity: FloatArray, mu: FloatArray, parts: Mapping[int, FloatArray]
    ) -> None:
        """Leave a fraction ``keep`` of what a part of the grid holds, and add to it.

        Parameters
        ----------
        where
            Part of the grid; all arrays have its shape.
        activity, mu
            What is added [g/mL], [1/cm].
        parts
            Fraction of each voxel by label.
        """
        for image, added in ((self.activity, activity), (self.mu_map, mu)):
            image[where] *= keep
            image[where] += added
        weight = self._weight[where]
        weight *= keep
        for label, fraction in parts.items():
            wins = fraction > weight
            np.copyto(weight, fraction, where=wins)
            np.copyto(self.labels[where], np.uint8(label), where=wins)

    def _layer_occupancy(self, layer: Layer) -> tuple[Slices, FloatArray] | None:
        """Union of the layer's shapes: where, and the fraction filled."""
        margin = self._margin + 3.5 * layer.bump_mm + layer.blur_mm + layer.fold_mm
        boxes = [(s, box) for s in layer.shapes if (box := _box_slices(s, self.grid, margin)) is not None]
        if not boxes:
            return None
        z, y, x = (slice(min(b[i].start for _, b in boxes), max(b[i].stop for _, b in boxes)) for i in range(3))
        where = (z, y, x)
        total: FloatArray | None = None
        for shape, box in boxes:
            distance = shape.distance(*(c[box] for c in self._coordinates))
            if layer.bump_mm:
                distance += np.float32(layer.bump_mm) * self.texture(layer.bump_field, box)
            if layer.fold_mm:
                distance = folded(distance, self.texture(layer.bump_field, box), layer.fold_mm)
            part = _occupancy(distance, self._width + layer.blur_mm)
            if len(boxes) == 1:
                total = part
                break
            if total is None:
                total = np.zeros([s.stop - s.start for s in where], dtype=np.float32)
            inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, where, strict=True))
            np.maximum(total[inner], part, out=total[inner])
        if total is None:
            return None
        if layer.inside is not None:
            total = np.minimum(total, self._masks[layer.inside][where])
        return where, total

    def _blend(self, layer: Layer, where: Slices, occupancy: FloatArray) -> None:
        """Replace the occupied fraction of each voxel."""
        keep = 1 - occupancy
        activity = self.activity[where]
        activity *= keep
        if layer.texture:
            factor = self.texture(layer.texture_field, where) * np.float32(layer.texture)
            np.clip(factor, -0.7, 0.7, out=factor)
            factor += 1
            factor *= occupancy
            factor *= np.float32(layer.suv)
            activity += factor
        else:
            activity += np.float32(layer.suv) * occupancy
        if layer.mu is not None:
            mu_map = self.mu_map[where]
            mu_map *= keep
            mu_map += np.float32(layer.mu) * occupancy
        weight = self._weight[where]
        weight *= keep
        wins = occupancy > weight
        np.copyto(weight, occupancy, where=wins)
        np.copyto(self.labels[where], np.uint8(layer.label), where=wins)


def folded(distance: FloatArray, field: FloatArray, depth_mm: float) -> FloatArray:
    """Surface pushed inwards by up to ``depth_mm`` [mm] along the ridges of a field, like gyri around sulci."""
    ridge = np.clip(1 - np.abs(field) * np.float32(1.6), 0, 1)
    return distance + np.float32(depth_mm) * ridge


class PointSampler:
    """Layers evaluated at scattered points with sharp edges."""

    def __init__(self, layers: Sequence[Layer], fields: Fields) -> None:
        """Keep the bounds of every shape, so that far ones cost nothing."""
        self.fields = fields
        self._layers = []
        for layer in layers:
            margin = 3.5 * layer.bump_mm + layer.fold_mm
            boxes = [np.array(shape.bounds()) + np.array([-margin, margin]) for shape in layer.shapes]
            if boxes:
                hull = np.stack([np.min(boxes, axis=0)[:, 0], np.max(boxes, axis=0)[:, 1]], axis=1)
                self._layers.append((layer, hull, tuple(zip(layer.shapes, boxes, strict=True))))

    def __call__(self, points_mm: NDArray[np.float64]) -> tuple[FloatArray, NDArray[np.uint8]]:
        """Evaluate at points ``(n, 3)`` as ``(z, y, x)`` [mm].

        Returns
        -------
            Uptake [g/mL] and label, each ``(n,)``.
        """
        fields, n = self.fields, len(points_mm)
        moved = [points_mm[:, i] + fields.warp_mm * fields.warp[i].at(*points_mm.T) for i in range(3)]
        # Sorted by height, the points near a shape are a slice found by bisection.
        order = np.argsort(moved[0], kind="stable")
        points_mm = points_mm[order]
        at = np.stack(moved).astype(np.float32)[:, order]
        low, high = at.min(axis=1), at.max(axis=1)
        textures: dict[int, FloatArray] = {}

        def texture(index: int) -> FloatArray:
            if index not in textures:
                textures[index] = fields.textures[index].at(*points_mm.T)
            return textures[index]

        suv, labels = np.zeros(n, np.float32), np.zeros(n, np.uint8)
        masks: dict[str, NDArray[np.bool_]] = {}
        for layer, hull, shapes in self._layers:
            if (hull[:, 0] > high).any() or (hull[:, 1] < low).any():
                continue
            inside = _inside(layer, shapes, at, texture)
            if layer.inside is not None:
                inside &= masks.get(layer.inside, False)
            masks[layer.name] = masks.get(layer.name, False) | inside
            suv[inside] = layer.suv
            if layer.texture and inside.any():
                suv[inside] *= 1 + np.clip(layer.texture * texture(layer.texture_field)[inside], -0.7, 0.7)
            labels[inside] = layer.label
        back = np.empty(n, dtype=np.int64)
        back[order] = np.arange(n)
        return suv[back], labels[back]


def _inside(
    layer: Layer,
    shapes: tuple[tuple[Shape, NDArray[np.float64]], ...],
    at: FloatArray,
    texture: Callable[[int], FloatArray],
) -> NDArray[np.bool_]:
    """Which displaced points ``(3, n)``, sorted by z, lie in the union of a layer's shapes."""
    inside = np.zeros(at.shape[1], dtype=bool)
    for shape, ((z0, z1), (y0, y1), (x0, x1)) in shapes:
        first, last = np.searchsorted(at[0], (z0, z1))
        y, x = at[1, first:last], at[2, first:last]
        near = first + np.flatnonzero((y > y0) & (y < y1) & (x > x0) & (x < x1))
        if not len(near):
            continue
        z, y, x = at[:, near]
        distance = shape.distance(z, y, x)
        if layer.bump_mm:
            distance = distance + np.float32(layer.bump_mm) * texture(layer.bump_field)[near]
        if layer.fold_mm:
            distance = folded(distance, texture(layer.bump_field)[near], layer.fold_mm)
        inside[near] |= distance < 0
    return inside
