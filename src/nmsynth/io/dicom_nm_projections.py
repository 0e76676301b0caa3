"""Raw projections of a rotating gamma camera: counts of evenly spaced views, whatever detectors shared them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nmsynth.core.acquisition import Acquisition
from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.provenance import Provenance
from nmsynth.io.dicom_geometry import pixel_spacing_of
from nmsynth.io.dicom_header import Header
from nmsynth.io.dicom_nm import frame_vector, nm_acquisition
from nmsynth.io.dicom_nm_counts import measured_counts

UNEVEN_DEG = 0.25
"""Most by which a step between views may differ from the mean step [degrees]."""
_ORIENTED = "The first row of the projections is taken to lie at the patient's head, and the axis in the middle column."


class NmProjections(NamedTuple):
    """Counts of the views of one orbit, ordered by angle."""

    counts: npt.NDArray[np.float32]
    """Shape ``(view, plane, bin)``, planes from the feet up."""
    first_deg: float
    """Angle of the first view, in the angles of :class:`nmsynth.physics.spect.SpectOrbit`: 0 from the front, 90 from
    the patient's left [degrees]."""
    arc_deg: float
    """Over all views, one step beyond the last [degrees]."""
    pixel_mm: tuple[float, float]
    """Distance between planes and between bins [mm]."""
    acquisition: Acquisition
    provenance: Provenance
    warnings: tuple[str, ...]


def projections_of(header: Header, provenance: Provenance, count_fraction: float | None) -> NmProjections:
    """Projections of an NM object of type ``TOMO``.

    Raises
    ------
    UnsafeInputError
        If it is of another kind, holds no measured counts, has several energy windows, or its views do not lie evenly
        on one orbit.
    """
    kind, source = (*header.texts("ImageType"), "", "", "", "")[2:4]
    if kind != "TOMO":
        raise UnsafeInputError(
            f"Raw projections are of the kind TOMO; file {header.label} is {kind or 'of no stated kind'}. Give another."
        )
    if source == "TRANSMISSION":
        raise UnsafeInputError(
            f"Projections must be of the emission; file {header.label} holds a transmission. Give the emission."
        )
    if len(set(header.values("EnergyWindowVector"))) > 1:
        raise UnsafeInputError(f"File {header.label} must have one energy window; it has several. Separate them.")
    found = measured_counts(header, provenance, count_fraction)
    angles = _angles_deg(header, len(found.counts))
    order = np.argsort(angles, kind="stable")
    first, arc, turn = _evenly(angles[order], header.label)
    counts = np.roll(found.counts[order], -turn, axis=0)[:, ::-1]  # the head is on top of a frame
    rows, columns = pixel_spacing_of(header, where=f"File {header.label}")
    return NmProjections(
        np.ascontiguousarray(counts, dtype=np.float32), first, arc, (rows, columns), nm_acquisition(header), provenance,
        (*found.warnings, _ORIENTED),
    )  # fmt: skip


def _angles_deg(header: Header, n_frames: int) -> npt.NDArray[np.float64]:
    """Angle of each frame, from 0 to 360 degrees: 0 from the front, 90 from the patient's left.

    DICOM counts from the patient's back over the left side. A detector that states where it starts does so for itself.
    """
    rotations, detectors = header.items("RotationInformationSequence"), header.items("DetectorInformationSequence")
    if not rotations:
        raise UnsafeInputError(f"File {header.label} must hold RotationInformationSequence; it does not.")
    of_detector = _vector(header, "DetectorVector", n_frames)
    of_rotation = _vector(header, "RotationVector", n_frames)
    views = _vector(header, "AngularViewVector", n_frames, counting=True)
    starts = [item.number("StartAngle") for item in detectors]
    if len(set(of_detector)) > 1 and (len(starts) < max(of_detector) or None in starts):
        raise UnsafeInputError(
            f"File {header.label}: each of several detectors must state its StartAngle; one does not. Separate them."
        )
    angles = np.zeros(n_frames)
    for frame, (detector, rotation, view) in enumerate(zip(of_detector, of_rotation, views, strict=True)):
        if not 1 <= rotation <= len(rotations):
            raise UnsafeInputError(f"File {header.label}: RotationVector names a rotation that is not there.")
        item = rotations[rotation - 1]
        start = starts[detector - 1] if 1 <= detector <= len(starts) else None
        start = item.number("StartAngle") if start is None else start
        step, direction = item.number("AngularStep"), (item.text("RotationDirection") or "").upper()
        if start is None or not step or direction not in ("CW", "CC"):
            raise UnsafeInputError(
                f"File {header.label}: a rotation must state StartAngle, AngularStep and RotationDirection; one does "
                "not."
            )
        turned = (view - 1) * abs(step) * (-1.0 if direction == "CW" else 1.0)
        angles[frame] = (180.0 - start - turned) % 360.0
    return angles


def _vector(header: Header, keyword: str, n_frames: int, *, counting: bool = False) -> list[int]:
    """A vector of the frames; ones, or the frames' numbers, where there is none."""
    if not header.values(keyword):
        return list(range(1, n_frames + 1)) if counting else [1] * n_frames
    return [int(value) for value in frame_vector(header, keyword, n_frames)]


def _evenly(ordered: npt.NDArray[np.float64], label: str) -> tuple[float, float, int]:
    """First angle, arc over all views, and which of the ordered angles is the first.

    Examples
    --------
    >>> _evenly(np.array([0.0, 10.0, 340.0, 350.0]), "a")
    (340.0, 40.0, 2)
    """
    gaps = np.diff(np.append(ordered, ordered[0] + 360.0))
    is_full = np.abs(gaps - gaps.mean()).max() <= UNEVEN_DEG
    last = len(gaps) - 1 if is_full else int(np.argmax(gaps))
    steps = np.delete(gaps, last)
    if not steps.size or steps.min() <= UNEVEN_DEG or np.abs(steps - steps.mean()).max() > UNEVEN_DEG:
        raise UnsafeInputError(
            f"Views of file {label} must lie evenly on one orbit, each angle once; they do not. Reconstruct it "
            "elsewhere."
        )
    turn = (last + 1) % len(ordered)
    return float(ordered[turn]), float(min(steps.mean() * len(ordered), 360.0)), turn
