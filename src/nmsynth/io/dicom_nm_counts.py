"""Counts as a gamma camera measured them, of any NM object that holds some."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from nmsynth.core.errors import UnsafeInputError
from nmsynth.core.provenance import Provenance
from nmsynth.io.dicom_header import Header
from nmsynth.io.dicom_pixels import pixel_format, stored_values

if TYPE_CHECKING:
    from pydicom import Dataset

_HARMLESS = frozenset({"UNIF", "LIN", "NRGY", "COR"})
"""Corrections that a camera applies event by event, or that only state where its axis lies."""


class NmCounts(NamedTuple):
    """Counts, and the header that they came with."""

    counts: npt.NDArray[np.int64]
    """Shape ``(frame, y, x)``."""
    kind: str
    """Third value of ImageType, such as ``STATIC``, ``WHOLE BODY`` or ``TOMO``."""
    header: Dataset
    provenance: Provenance
    count_fraction: float | None
    """Of a scan that was itself simulated."""
    warnings: tuple[str, ...]


def measured_counts(header: Header, provenance: Provenance, count_fraction: float | None) -> NmCounts:
    """Read the stored values of an NM object as counts, or refuse it with the reason.

    Raises
    ------
    UnsafeInputError
        If the object is reconstructed, derived by another program, synthesised by a model, scaled, corrected,
        compressed with loss, or holds negative values.
    """
    label = header.label
    types = header.texts("ImageType")
    kind = (*types, "", "", "")[2]
    _check_kind(header, types, kind, provenance)
    _check_scaling(header)
    layout = pixel_format(header)
    counts = stored_values(header, layout).astype(np.int64)
    if counts.min(initial=0) < 0:
        raise UnsafeInputError(f"Counts must be whole numbers from 0 on; file {label} holds negative values.")
    warnings = []
    stated = header.integer("CountsAccumulated")
    if stated and stated != counts.sum():
        warnings.append(f"The header states {stated} counts; the pixels hold {counts.sum()}.")
    if (counts == layout.largest).any():
        warnings.append("Pixels stand at the largest value that can be stored; their counts may be cut off.")
    return NmCounts(counts, kind, header.dataset, provenance, count_fraction, tuple(warnings))


def _check_kind(header: Header, types: tuple[str, ...], kind: str, provenance: Provenance) -> None:
    """Refuse what no camera counted."""
    label = header.label
    if kind.startswith("RECON") or not kind:
        raise UnsafeInputError(
            f"Only measured counts can be thinned; file {label} is {kind or 'of no stated kind'}. Give raw projections "
            "or planar counts, not a processed image."
        )
    if provenance.synthetic:
        raise UnsafeInputError(f"Only measured counts can be thinned; file {label} was synthesised by a model.")
    if types[:1] != ("ORIGINAL",) and not provenance.simulated:
        raise UnsafeInputError(
            f"Only measured counts can be thinned; file {label} is derived, not ORIGINAL. Give the image it was made "
            "from."
        )


def _check_scaling(header: Header) -> None:
    """Refuse values that are no longer the counts."""
    label = header.label
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if (slope is not None and slope != 1.0) or intercept:
        raise UnsafeInputError(
            f"Only measured counts can be thinned; file {label} is scaled by RescaleSlope {slope or 1.0:g} and "
            f"RescaleIntercept {intercept or 0.0:g}. Give the counts as stored by the camera."
        )
    for item in header.items("RealWorldValueMappingSequence"):
        if item.number("RealWorldValueSlope") not in (None, 1.0) or item.number("RealWorldValueIntercept"):
            raise UnsafeInputError(f"Only measured counts can be thinned; file {label} maps them to other values.")
    applied = sorted({text.upper() for text in header.texts("CorrectedImage") if text} - _HARMLESS)
    if applied:
        raise UnsafeInputError(
            f"Only measured counts can be thinned; file {label} was corrected ({', '.join(applied)}). Give the counts "
            "before correction."
        )
    if header.text("LossyImageCompression") == "01":
        raise UnsafeInputError(f"Only measured counts can be thinned; file {label} was compressed with loss.")
