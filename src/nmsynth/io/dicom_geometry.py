"""From the positions of slices to one grid, or a refusal that names the slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import UnsafeInputError
from nmsynth.io.dicom_header import Header

FloatArray = npt.NDArray[np.float64]

_ORIENTATION_TOLERANCE = 1e-4
_UNIT_TOLERANCE = 1e-3
_RELATIVE_TOLERANCE = 0.05
"""Of the spacing: bed positions of a real scanner overlap to within a few hundredths of a slice."""
_ABSOLUTE_TOLERANCE_MM = 0.02


class Grid(NamedTuple):
    """Slices sorted along their normal, and the affine ``(z, y, x, 1)`` to LPS [mm]."""

    headers: tuple[Header, ...]
    affine: FloatArray


def orientation_of(header: Header, *, where: str) -> FloatArray:
    """Row and column direction, shape ``(2, 3)``: direction of growing x index, then of growing y index."""
    numbers = header.numbers("ImageOrientationPatient")
    if len(numbers) != 6:
        raise UnsafeInputError(f"{where} must state ImageOrientationPatient (six numbers); it states {len(numbers)}.")
    directions = np.array(numbers).reshape(2, 3)
    if np.abs(directions @ directions.T - np.eye(2)).max() > _UNIT_TOLERANCE:
        raise UnsafeInputError(f"{where}: ImageOrientationPatient must be two unit vectors at right angles; it is not.")
    return directions


def position_of(header: Header, *, where: str) -> FloatArray:
    """Centre of the first voxel, LPS ``(x, y, z)`` [mm]."""
    numbers = header.numbers("ImagePositionPatient")
    if len(numbers) != 3:
        raise UnsafeInputError(f"{where} must state ImagePositionPatient (three numbers); it states {len(numbers)}.")
    return np.array(numbers)


def pixel_spacing_of(header: Header, *, where: str) -> tuple[float, float]:
    """Distance of rows, then of columns [mm]."""
    numbers = header.numbers("PixelSpacing")
    if len(numbers) != 2 or min(numbers) <= 0.0:
        raise UnsafeInputError(f"{where} must state PixelSpacing (two positive numbers); it does not.")
    return numbers[0], numbers[1]


def build_grid(headers: Sequence[Header]) -> Grid:
    """Sort the slices of one series along their normal and check that they form one grid.

    Raises
    ------
    UnsafeInputError
        If slices differ in orientation, spacing, matrix, frame of reference, patient or study, if one is missing or
        doubled, or if there are fewer than two.
    """
    _check_same(headers)
    names = [f"File {header.label}" for header in headers]
    directions = [orientation_of(header, where=name) for header, name in zip(headers, names, strict=True)]
    spacings = [pixel_spacing_of(header, where=name) for header, name in zip(headers, names, strict=True)]
    positions = np.array([position_of(header, where=name) for header, name in zip(headers, names, strict=True)])
    for name, direction, spacing in zip(names, directions, spacings, strict=True):
        if np.abs(direction - directions[0]).max() > _ORIENTATION_TOLERANCE:
            raise UnsafeInputError(f"Slices of a series must have one orientation; {name} has another than {names[0]}.")
        if np.abs(np.subtract(spacing, spacings[0])).max() > 1e-3 * spacings[0][0]:
            raise UnsafeInputError(
                f"Slices of a series must have one PixelSpacing; {name} has another than {names[0]}."
            )
    if len(headers) < 2:
        raise UnsafeInputError(f"A volume needs at least two slices; this series has one ({names[0]}).")
    normal = np.cross(directions[0][0], directions[0][1])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    ordered = tuple(headers[index] for index in order)
    step = _checked_step(positions, normal, [header.label for header in ordered])
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = directions[0][1] * spacings[0][0]
    affine[:3, 2] = directions[0][0] * spacings[0][1]
    affine[:3, 3] = positions[0]
    return Grid(ordered, affine)


def _check_same(headers: Sequence[Header]) -> None:
    """Refuse slices that do not belong together, naming the first that differs."""
    kinds = (
        ("PatientID", "patient"), ("PatientName", "patient"), ("PatientBirthDate", "patient"),
        ("StudyInstanceUID", "study"), ("FrameOfReferenceUID", "frame of reference"),
        ("Rows", "matrix"), ("Columns", "matrix"), ("SOPClassUID", "SOP class"), ("Modality", "modality"),
    )  # fmt: skip
    for keyword, name in kinds:
        first = _comparable(headers[0].text(keyword))
        for index, header in enumerate(headers):
            if _comparable(header.text(keyword)) != first:
                raise UnsafeInputError(
                    f"Slices of a series must have one {name}; file {header.label} (number {index + 1}) has another "
                    f"than {headers[0].label}. Separate them first."
                )


def _comparable(text: str | None) -> str | None:
    """Text without what may be written in two ways: capitals, and the empty components that end a name."""
    return None if text is None else text.rstrip("^ ").casefold()


def _checked_step(positions: FloatArray, normal: FloatArray, labels: Sequence[str]) -> FloatArray:
    """Vector from slice to slice [mm], from sorted positions, or a refusal."""
    gaps = np.diff(positions @ normal)
    spacing = float(np.median(gaps))
    for index, gap in enumerate(gaps):
        between = f"{labels[index]} and {labels[index + 1]}"
        if gap < 1e-3:
            raise UnsafeInputError(f"Slices of a series must have different positions; {between} have one.")
        if gap > 1.5 * spacing:
            raise UnsafeInputError(
                f"Slices of a series must follow without a gap; between {between} there are {gap:.2f} mm, "
                f"elsewhere {spacing:.2f} mm. Add the missing slices."
            )
        if abs(gap - spacing) > max(_RELATIVE_TOLERANCE * spacing, _ABSOLUTE_TOLERANCE_MM):
            raise UnsafeInputError(
                f"Slices of a series must have one spacing; between {between} there are {gap:.3f} mm, "
                f"elsewhere {spacing:.3f} mm."
            )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    straight = positions[0] + np.arange(len(positions))[:, None] * step
    off = np.abs(positions - straight).max(axis=1)
    sideways = np.linalg.norm(step - (step @ normal) * normal)
    if off.max() > max(_RELATIVE_TOLERANCE * spacing, _ABSOLUTE_TOLERANCE_MM):
        raise UnsafeInputError(f"Slices of a series must lie on one line; {labels[int(off.argmax())]} does not.")
    if sideways > 1e-3 * spacing:
        raise UnsafeInputError(
            "Slices of a series must be stacked along their normal; these are sheared (tilted gantry)."
        )
    return np.asarray((step @ normal) * normal, dtype=np.float64)
