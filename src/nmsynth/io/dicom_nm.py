"""Multi-frame NM objects: reconstructed volumes and planar views, in counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.units import Unit
from nmsynth.core.volume import PLANAR_AXES
from nmsynth.io.dicom_geometry import orientation_of, pixel_spacing_of, position_of
from nmsynth.io.dicom_header import Header
from nmsynth.io.dicom_pixels import PixelFormat, pixel_format, stored_values
from nmsynth.io.dicom_quantity import agent_of, basic_acquisition, corrections_of, nuclide_of

_VECTORS = {
    0x00540010: "EnergyWindowVector",
    0x00540020: "DetectorVector",
    0x00540030: "PhaseVector",
    0x00540050: "RotationVector",
    0x00540060: "RRIntervalVector",
    0x00540070: "TimeSlotVector",
    0x00540080: "SliceVector",
    0x00540090: "AngularViewVector",
    0x00540100: "TimeSliceVector",
}
_REFUSED = {
    "TOMO": "raw projections, not a volume; reconstruct them first, with 'nmsynth reconstruct'",
    "DYNAMIC": "a dynamic study; nmsynth does not read it",
    "GATED": "a gated study; nmsynth does not read it",
    "GATED TOMO": "gated raw projections; reconstruct them first",
    "RECON GATED TOMO": "a gated volume; nmsynth does not read it",
}
_MAPPED = {"bq/ml": Unit.BQML, "{counts}": Unit.COUNTS, "1": Unit.RELATIVE}
"""Units of a real-world mapping, by their UCUM code in small letters; the first that is there counts."""
_UNCALIBRATED = "NM pixels are counts, not calibrated; there is no SUV."
_UNITLESS = "The pixels are mapped to values of no unit; they are read as relative, and there is no SUV."
_RESCALED = "The pixels are rescaled by RescaleSlope and are not counts; the values are read as relative."
_SINGLE = ("EnergyWindowVector", "PhaseVector", "RRIntervalVector", "TimeSlotVector", "TimeSliceVector")


class NmImage(NamedTuple):
    """Array with the names of its axes, the affine, unit and acquisition."""

    array: npt.NDArray[np.float32]
    axes: tuple[str, ...]
    affine: npt.NDArray[np.float64]
    unit: Unit
    acquisition: Acquisition
    warnings: tuple[str, ...]


def read_nm(header: Header) -> NmImage:
    """Read one NM object: RECON TOMO as a volume, STATIC and WHOLE BODY as planar views.

    Raises
    ------
    UnsafeInputError
        If it is of another kind, has several energy windows, or its vectors do not fit its frames.
    """
    kind = (*header.texts("ImageType"), "", "", "")[2]
    layout = pixel_format(header)
    if kind not in ("STATIC", "WHOLE BODY", "RECON TOMO"):
        why = _REFUSED.get(kind, "of a kind that nmsynth does not read")
        if kind == "TOMO":
            why = f"of {layout.n_frames} views, {why}"
        raise UnsafeInputError(f"An NM image must be STATIC, WHOLE BODY or RECON TOMO; file {header.label} is {why}.")
    _check_vectors(header, layout)
    values = stored_values(header, layout).astype(np.float32)
    values, unit, warnings = _in_unit(header, values)
    acquisition = nm_acquisition(header)
    if kind == "RECON TOMO":
        array, affine = _volume(header, values)
        return NmImage(array, ("z", "y", "x"), affine, unit, acquisition, warnings)
    rows, columns = pixel_spacing_of(header, where=f"File {header.label}")
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = 1.0, -rows, columns, 1.0
    return NmImage(values, PLANAR_AXES, affine, unit, acquisition, warnings)


def nm_acquisition(header: Header) -> Acquisition:
    """What the object states of tracer, patient and corrections; of several administrations none is the tracer's."""
    items = header.items("RadiopharmaceuticalInformationSequence")
    nuclides, agents = {nuclide_of(item) for item in items}, {agent_of(item) for item in items}
    nuclide = next(iter(nuclides)) if len(nuclides) == 1 else None
    return replace(
        basic_acquisition([header]),
        radionuclide=nuclide.name if nuclide else None,
        radiopharmaceutical=next(iter(agents)) if len(agents) == 1 else None,
        corrections=corrections_of(header),
        attenuation_correction=header.label_text("AttenuationCorrectionMethod"),
    )


def frame_vector(header: Header, keyword: str, n_frames: int) -> tuple[Any, ...]:
    """A vector of the frames, refused where it has another length."""
    vector = tuple(header.values(keyword))
    if len(vector) != n_frames:
        raise UnsafeInputError(
            f"File {header.label}: {keyword} must have one value for each of {n_frames} frames; it has {len(vector)}."
        )
    return vector


def _check_vectors(header: Header, layout: PixelFormat) -> None:
    """Refuse vectors of another length than the frames, and frames of several windows, gates or times."""
    for pointer in header.values("FrameIncrementPointer"):
        keyword = _VECTORS.get(int(pointer))
        if keyword is not None:
            frame_vector(header, keyword, layout.n_frames)
    for keyword in _SINGLE:
        if len(set(header.values(keyword))) > 1:
            raise UnsafeInputError(
                f"File {header.label} must have one value in {keyword}; it has several. Separate them."
            )
    if (header.integer("NumberOfEnergyWindows") or 1) > 1:
        raise UnsafeInputError(f"File {header.label} must have one energy window; it has several. Separate them.")


def _in_unit(header: Header, values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Unit, tuple[str, ...]]:
    """Values and unit: counts, unless a real-world mapping says Bq/mL, no unit or a scale; relative if rescaled."""
    mapped: dict[Unit, float] = {}
    for item in header.items("RealWorldValueMappingSequence"):
        codes = item.items("MeasurementUnitsCodeSequence")
        slope, intercept = item.number("RealWorldValueSlope"), item.number("RealWorldValueIntercept")
        unit = _MAPPED.get((codes[0].text("CodeValue") or "").lower()) if codes else None
        if unit is not None and slope and slope > 0.0 and not intercept:
            mapped.setdefault(unit, slope)
    for unit in (unit for unit in _MAPPED.values() if unit in mapped):  # the one that says most
        said = {Unit.BQML: (), Unit.COUNTS: (_UNCALIBRATED,)}.get(unit, (_UNITLESS,))
        return values * np.float32(mapped[unit]), unit, said
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept") or 0.0
    slope = 1.0 if slope is None else slope
    if slope == 1.0 and not intercept:
        return values, Unit.COUNTS, (_UNCALIBRATED,)
    if slope <= 0.0:
        raise UnsafeInputError(f"File {header.label}: RescaleSlope must be positive; it is {slope:g}.")
    rescaled = values * np.float32(slope) + np.float32(intercept)
    return rescaled, Unit.RELATIVE, (_UNCALIBRATED, _RESCALED)


def _volume(header: Header, values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Volume sorted along the slice normal, and its affine."""
    where = f"File {header.label}"
    detectors = header.items("DetectorInformationSequence")
    if not detectors:
        raise UnsafeInputError(f"{where} must hold DetectorInformationSequence with its geometry; it does not.")
    directions = orientation_of(detectors[0], where=where)
    position = position_of(detectors[0], where=where)
    rows, columns = pixel_spacing_of(header, where=where)
    step_mm = header.number("SpacingBetweenSlices") or header.number("SliceThickness")
    if not step_mm:
        raise UnsafeInputError(f"{where} must state SpacingBetweenSlices; it does not.")
    if header.values("SliceVector"):
        order = np.array([int(value) for value in header.values("SliceVector")])
        if sorted(order) != list(range(1, len(order) + 1)):
            raise UnsafeInputError(f"{where}: SliceVector must name every slice once; it does not.")
        values = values[np.argsort(order)]
    normal = np.cross(directions[0], directions[1])
    if step_mm < 0.0:
        values = np.ascontiguousarray(values[::-1])
        position = position + (len(values) - 1) * step_mm * normal
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * abs(step_mm), directions[1] * rows, directions[0] * columns
    affine[:3, 3] = position
    return values, affine
