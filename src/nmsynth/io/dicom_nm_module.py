"""Parts of NM objects: camera, views, orbit, frames (NM modules, DICOM PS3.3, section C.8.4), and their writing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import InputError
from nmsynth.io.atomic import atomic_directory, check_output
from nmsynth.io.dicom_encoding import encode, is_own_output, write_files
from nmsynth.io.dicom_quantise import SIGNED_MAXIMUM, UNSIGNED_MAXIMUM, decimal_string

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NM_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.20"
"""SOP class of a multi-frame NM image."""
_ENERGY_WINDOW_VECTOR, _DETECTOR_VECTOR = 0x00540010, 0x00540020
_ROTATION_VECTOR, _SLICE_VECTOR, _ANGULAR_VIEW_VECTOR = 0x00540050, 0x00540080, 0x00540090
_VIEW_CODES = {
    "anterior": ("399321004", "Anterior projection"),
    "posterior": ("399001007", "Posterior projection"),
}
_START_ANGLE_DEG = {"anterior": 180.0, "posterior": 0.0}


@dataclass(frozen=True, slots=True)
class NmCamera:
    """The camera, as a header states it."""

    window_kev: tuple[float, float]
    """Lower and upper end of the energy window [keV]."""
    collimator: str = "LEHR"
    field_mm: tuple[float, float] | None = None
    """What the crystal sees along the body and across it [mm]."""


@dataclass(frozen=True, slots=True)
class NmRotation:
    """An orbit in the angles of :class:`nmsynth.physics.spect.SpectOrbit`: 0 from the front, 90 from the left."""

    first_deg: float
    arc_deg: float
    """Over all views, negative the other way round."""
    radii_mm: tuple[float, ...]
    """From the axis to the collimator, one for each view [mm]."""
    seconds_per_view: float

    def __post_init__(self) -> None:
        if not self.radii_mm or not 0 < abs(self.arc_deg) <= 360 or not self.seconds_per_view > 0:
            raise InputError(
                f"An orbit needs views, an arc up to 360 degrees and a time above 0 s; found {len(self.radii_mm)} "
                f"views, {self.arc_deg} degrees and {self.seconds_per_view} s."
            )

    def item(self) -> Dataset:
        """Item of RotationInformationSequence.

        DICOM counts angles from the patient's back over the left side, so an angle is 180 degrees less ours and runs
        the other way.
        """
        from pydicom.dataset import Dataset

        n_views = len(self.radii_mm)
        item = Dataset()
        item.StartAngle = decimal_string((180.0 - self.first_deg) % 360.0)
        item.AngularStep = decimal_string(abs(self.arc_deg) / n_views)
        item.RotationDirection = "CW" if self.arc_deg > 0 else "CC"
        item.ScanArc = decimal_string(abs(self.arc_deg))
        item.ActualFrameDuration = max(1, round(self.seconds_per_view * 1000.0))
        item.RadialPosition = [decimal_string(round(radius, 3)) for radius in self.radii_mm]
        item.NumberOfFramesInRotation = n_views
        return item


def set_energy_window(dataset: Dataset, camera: NmCamera) -> None:
    """One energy window for all frames."""
    from pydicom.dataset import Dataset

    limits = Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = map(decimal_string, camera.window_kev)
    window = Dataset()
    window.EnergyWindowName = "photopeak"
    window.EnergyWindowRangeSequence = [limits]
    dataset.EnergyWindowInformationSequence = [window]
    dataset.NumberOfEnergyWindows = 1


def detector_item(
    camera: NmCamera,
    *,
    orientation: Sequence[float] | None = None,
    position_mm: npt.NDArray[np.float64] | None = None,
    view: str | None = None,
    radius_mm: float | None = None,
) -> Dataset:
    """Item of DetectorInformationSequence; a view adds its code and the angle at which it is taken."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CollimatorGridName = camera.collimator
    item.CollimatorType = "PARA"
    item.FocalDistance = 0
    if camera.field_mm is not None:
        item.FieldOfViewShape = "RECTANGLE"
        item.FieldOfViewDimensions = [round(camera.field_mm[1]), round(camera.field_mm[0])]
    item.ImageOrientationPatient = None if orientation is None else [decimal_string(v) for v in orientation]
    item.ImagePositionPatient = None if position_mm is None else [decimal_string(float(v)) for v in position_mm]
    if radius_mm is not None:
        item.RadialPosition = decimal_string(round(radius_mm, 3))
    if view is not None:
        named = Dataset()
        named.CodeValue, named.CodeMeaning = _VIEW_CODES[view]
        named.CodingSchemeDesignator = "SCT"
        named.ViewModifierCodeSequence = []
        item.ViewCodeSequence = [named]
        item.StartAngle = decimal_string(_START_ANGLE_DEG[view])
    return item


def set_planar_vectors(dataset: Dataset, n_views: int) -> None:
    """Each frame is that of a detector."""
    dataset.FrameIncrementPointer = [_ENERGY_WINDOW_VECTOR, _DETECTOR_VECTOR]
    dataset.EnergyWindowVector = [1] * n_views
    dataset.DetectorVector = list(range(1, n_views + 1))
    dataset.NumberOfDetectors = n_views


def set_projection_vectors(dataset: Dataset, n_views: int) -> None:
    """Each frame is a view of one rotation of one detector."""
    dataset.FrameIncrementPointer = [_ENERGY_WINDOW_VECTOR, _DETECTOR_VECTOR, _ROTATION_VECTOR, _ANGULAR_VIEW_VECTOR]
    dataset.EnergyWindowVector = dataset.DetectorVector = dataset.RotationVector = [1] * n_views
    dataset.AngularViewVector = list(range(1, n_views + 1))
    dataset.NumberOfDetectors = dataset.NumberOfRotations = 1


def set_slice_vector(dataset: Dataset, n_slices: int, spacing_mm: float) -> None:
    """Each frame is a slice of a volume."""
    dataset.FrameIncrementPointer = _SLICE_VECTOR
    dataset.SliceVector = list(range(1, n_slices + 1))
    dataset.NumberOfSlices = n_slices
    dataset.NumberOfDetectors = dataset.NumberOfRotations = 1
    dataset.SliceThickness = dataset.SpacingBetweenSlices = decimal_string(spacing_mm)


def set_frames(dataset: Dataset, codes: npt.NDArray[np.uint16] | npt.NDArray[np.int16]) -> None:
    """Put stored values ``(frame, y, x)`` of 16 bit into a header."""
    signed = codes.dtype.kind == "i"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = codes.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(signed)
    kind = "SS" if signed else "US"
    dataset.add_new("SmallestImagePixelValue", kind, int(codes.min()))
    dataset.add_new("LargestImagePixelValue", kind, int(codes.max()))
    dataset.add_new("PixelData", "OW", codes.astype(codes.dtype.newbyteorder("<")).tobytes())


def real_world_item(*, slope: float, signed: bool, code_value: str, meaning: str, label: str) -> Dataset:
    """Item of RealWorldValueMappingSequence: stored values times a slope are in a unit of UCUM."""
    from pydicom.dataset import Dataset

    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = code_value, "UCUM", meaning
    item = Dataset()
    kind = "SS" if signed else "US"
    low, high = (-(2**15), 2**15 - 1) if signed else (0, 2**16 - 1)
    item.add_new("RealWorldValueFirstValueMapped", kind, low)
    item.add_new("RealWorldValueLastValueMapped", kind, high)
    item.RealWorldValueSlope = slope
    item.RealWorldValueIntercept = 0.0
    item.LUTExplanation = meaning
    item.LUTLabel = label
    item.MeasurementUnitsCodeSequence = [unit]
    return item


def whole_counts(array: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """Counts as 16 bit unsigned integers.

    Raises
    ------
    InputError
        If a value is no whole number from 0 to 65535.
    """
    values = np.asarray(array)
    if not np.isfinite(values).all() or (values != np.rint(values)).any() or values.min(initial=0) < 0:
        raise InputError("Counts are whole numbers from 0 on; found others. Nothing was written.")
    if values.max(initial=0) > 65535:
        raise InputError(
            f"A pixel of an NM image holds at most 65535 counts; found {values.max():.0f}. Use smaller pixels or less "
            "time. Nothing was written."
        )
    return values.astype(np.uint16)


def one_slope(array: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint16] | npt.NDArray[np.int16], float]:
    """16 bit codes of all frames and their slope; the error is at most half of it."""
    signed = bool((array < 0).any())
    limit = SIGNED_MAXIMUM if signed else UNSIGNED_MAXIMUM
    peak = float(np.abs(array).max())
    slope = peak / limit if peak > 0 else 1.0
    codes = np.rint(array.astype(np.float64) / slope)
    return (codes.astype(np.int16) if signed else codes.astype(np.uint16)), slope


def write_object(dataset: Dataset, directory: Path | str, *, overwrite: bool) -> Path:
    """Write one object into a folder of its own, complete or not at all."""
    directory = Path(directory)
    check_output(directory, overwrite=overwrite, is_directory=True)
    payload = encode(dataset)
    with atomic_directory(directory, overwrite=overwrite, may_replace=is_own_output) as folder:
        write_files(folder, [payload])
    return directory
