"""The image that every part of nmsynth hands to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nmsynth.core import geometry
from nmsynth.core.acquisition import Acquisition, Frame
from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.provenance import Provenance, SourceReference
from nmsynth.core.suv import SuvRule
from nmsynth.core.units import SuvKind, Unit

SPATIAL_AXES = ("z", "y", "x")
"""Names of the axes of a volume in space."""
PLANAR_AXES = ("view", "y", "x")
"""Names of the axes of planar views: rows from the head down, columns as the camera sees them."""
ACTIVITY_MODALITIES = ("PT", "NM")
"""Modalities whose images show a tracer."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An image with its geometry, unit, acquisition and history. Frozen; the array is read-only.

    Parameters
    ----------
    array
        Values as float32, shape by ``axes``; stored as a read-only array.
    affine
        Shape ``(4, 4)``, from the indices of the three spatial axes **in array order** ``(z, y, x, 1)`` to LPS [mm].
    unit
        Unit of the values.
    modality
        ``PT``, ``NM``, ``CT`` or ``MR``.
    axes
        Name of each array axis, such as ``("z", "y", "x")`` or ``("frame", "z", "y", "x")``.
    suv_rule
        How an SUV follows from the values, or why it does not; ``None`` where the modality has none.

    Raises
    ------
    InputError
        If the number of axes and dimensions differ, or the affine is not an invertible ``(4, 4)`` matrix.
    """

    array: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    unit: Unit
    modality: str
    axes: tuple[str, ...] = SPATIAL_AXES
    acquisition: Acquisition = field(default_factory=Acquisition)
    frames: tuple[Frame, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    warnings: tuple[str, ...] = ()
    suv_rule: SuvRule | None = None
    source: SourceReference | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32)
        if array is self.array:
            array = array.view()
        affine = np.array(self.affine, dtype=np.float64)
        if array.ndim != len(self.axes):
            raise InputError(
                f"A volume needs one name for each array axis; found {array.ndim} dimensions and axes "
                f"{self.axes}. Pass axes that match the array."
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise InputError(
                f"An affine must be a finite, invertible (4, 4) matrix; found shape {affine.shape}. "
                "Pass the matrix from (z, y, x, 1) to LPS millimetres."
            )
        array.flags.writeable = False
        affine.flags.writeable = False
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "unit", Unit(self.unit))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.array.shape

    @property
    def spatial_shape(self) -> tuple[int, int, int]:
        """Number of voxels along ``(z, y, x)``."""
        n_z, n_y, n_x = self.array.shape[-3:]
        return n_z, n_y, n_x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along ``(z, y, x)`` [mm]."""
        return geometry.spacing_of(self.affine)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of a voxel [mL]."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def decay_correction(self) -> str | None:
        """DecayCorrection of the values; an SUV computed from an image without one is corrected to the injection."""
        stated = self.acquisition.decay_correction
        is_computed = self.unit.is_suv and self.suv_rule is not None and self.suv_rule.decay_rule == "NONE"
        return "ADMIN" if stated == "NONE" and is_computed else stated

    @property
    def sha256(self) -> str:
        """Hash of shape, values and affine, in hexadecimal."""
        digest = hashlib.sha256(str(self.array.shape).encode())
        digest.update(np.ascontiguousarray(self.array).tobytes())
        digest.update(self.affine.tobytes())
        return digest.hexdigest()

    def with_array(self, array: npt.ArrayLike, **changes: Any) -> Volume:
        """Another volume on the same grid with other values and, if given, other fields."""
        return replace(self, array=np.asarray(array, dtype=np.float32), **changes)

    def with_warnings(self, messages: Iterable[str]) -> Volume:
        """The same volume with further warnings, each said once."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *messages))))

    def has_grid_of(self, other: Volume, *, tolerance_mm: float = 1e-2) -> bool:
        """Whether both volumes have one grid."""
        return geometry.same_grid(
            self.affine, self.spatial_shape, other.affine, other.spatial_shape, tolerance_mm=tolerance_mm
        )

    def to_suv(self, kind: SuvKind | str = SuvKind.BODY_WEIGHT) -> Volume:
        """Convert the values to a standardised uptake value.

        Parameters
        ----------
        kind
            What to normalise by; ``"bw"``, ``"lbm-james"``, ``"lbm-janmahasatian"``, ``"bsa"`` or ``"ibw"``.

        Raises
        ------
        SuvError
            If the values do not allow it; the message gives the reason.
        """
        kind = SuvKind(kind)
        if self.suv_rule is not None and self.suv_rule.reason is not None:
            raise SuvError(self.suv_rule.reason)
        if self.unit is kind.unit:
            return self
        if self.suv_rule is None:
            if self.unit is Unit.BQML or self.unit.is_suv:
                raise SuvError(
                    "An SUV needs the injected activity, the times and the patient's size; this image came without. "
                    "Read it from DICOM, or from NIfTI with the JSON sidecar that nmsynth wrote."
                )
            raise SuvError(f"An SUV needs a PET image in Bq/mL or SUV; this is {self.modality} in {self.unit.value}.")
        factor = np.asarray(self.suv_rule.factor(kind, acquisition=self.acquisition, unit=self.unit))
        if factor.ndim == 1:
            factor = factor[:, None, None]
        return self.with_array(self.array * factor.astype(np.float32), unit=kind.unit)

    def single_view(self, number: int) -> Volume:
        """One view of planar views as a volume of a single slice.

        Parameters
        ----------
        number
            From 0.

        Raises
        ------
        InputError
            If this has no such view.
        """
        if self.axes != PLANAR_AXES or not 0 <= number < self.shape[0]:
            n_views = self.shape[0] if self.axes == PLANAR_AXES else 0
            raise InputError(
                f"View {number + 1} is asked for; the image has {n_views} planar views. Correct the number."
            )
        return replace(self, array=self.array[number : number + 1], axes=SPATIAL_AXES)

    def resample_to(self, other: Volume, *, order: int = 1, fill: float = 0.0, continued: bool = False) -> Volume:
        """Resample to the grid of another volume by interpolation in LPS space.

        Values are interpolated, not summed: right for concentrations, SUV, HU; wrong for counts. An image whose
        slices need a decay factor each (DecayCorrection NONE) keeps no SUV; convert it first.

        Parameters
        ----------
        other
            Volume whose grid is taken.
        order
            Order of the spline: 0 for labels, 1 linear, 3 cubic.
        fill
            Value outside the field of view.
        continued
            Let the outermost voxels go on for ever, in place of ``fill``.
        """
        from scipy import ndimage

        if self.axes[-3:] != SPATIAL_AXES:
            raise InputError(f"Only volumes with axes ending in {SPATIAL_AXES} can be resampled; found {self.axes}.")
        matrix = np.linalg.inv(self.affine) @ other.affine
        grid = other.spatial_shape
        stack = self.array.reshape((-1, *self.spatial_shape))
        resampled = np.stack(
            [
                ndimage.affine_transform(
                    image,
                    matrix[:3, :3],
                    matrix[:3, 3],
                    grid,
                    order=order,
                    mode="nearest" if continued else "constant",
                    cval=fill,
                    prefilter=order > 1,
                )
                for image in stack
            ]
        )
        rule = self.suv_rule
        if rule is not None and len(set(rule.slice_decay)) > 1:
            # the factors belong to the slices of the old grid
            rule = replace(rule, slice_decay=(), reason="SUV needs the slices as acquired; convert before resampling.")
        return replace(
            self,
            array=resampled.reshape((*self.array.shape[:-3], *grid)).astype(np.float32),
            affine=other.affine,
            suv_rule=rule,
            source=None,
        )
