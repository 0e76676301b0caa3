"""The cases of a manifest as a folder that training reads patches from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.volume import Volume
from nmsynth.data.cohort import CaseArrays, write_arrays
from nmsynth.data.inserted import image_resolution_mm
from nmsynth.data.manifest import ManifestRow, by_case
from nmsynth.data.manifest_images import naming, read_image

LARGEST_LABEL = 255


def cases_of(rows: Sequence[ManifestRow], *, one_sided: bool = False) -> dict[str, list[ManifestRow]]:
    """Rows by case, in the order of the manifest.

    Parameters
    ----------
    rows
        Of the manifest.
    one_sided
        Whether a case may have a source alone, or a target alone.

    Raises
    ------
    InputError
        If a case has no source, not exactly one target, or more than one subject or split.
    """
    cases = by_case(rows)
    for case, members in cases.items():
        roles = [m.role for m in members]
        n_sources, n_targets = roles.count("source"), roles.count("target")
        enough = (n_sources or n_targets) if one_sided else (n_sources and n_targets)
        if not enough or n_targets > 1:
            wanted = "sources, one target, or both" if one_sided else "at least one source and exactly one target"
            raise InputError(f"A case needs {wanted}; '{case}' has {n_sources} and {n_targets}. Correct its rows.")
        if len({(m.subject, m.split) for m in members}) != 1:
            raise InputError(f"A case belongs to one subject and one split; '{case}' names several. Correct its rows.")
    return cases


def import_case(case_id: str, rows: Sequence[ManifestRow], root: Path, folder: Path) -> None:
    """Read the images of a case and save them as training takes them, in SUV by body weight.

    Parameters
    ----------
    case_id
        Name of the case.
    rows
        Of this case; sources with their count fractions, one target, and perhaps a truth and a mask ``lesions``.
    root
        Folder that paths are relative to.
    folder
        Where the case goes.

    Raises
    ------
    InputError
        If images of the case lie on different grids, a source states no count fraction, or a mask holds no labels.
    SuvError
        If an image has no SUV.
    """
    target_row = next(r for r in rows if r.role == "target")
    target = _suv(target_row, root)
    scans, fractions = [], []
    for row in sorted((r for r in rows if r.role == "source"), key=lambda r: -(r.count_fraction or 0.0)):
        if row.count_fraction is None:
            raise InputError(f"A source needs its count fraction; case '{case_id}' has one without. Fill it in.")
        scans.append(_on_grid(_suv(row, root), target, row))
        fractions.append(row.count_fraction)
    truth_row = next((r for r in rows if r.role == "truth"), None)
    wanted = np.asarray(target.array)
    truth = wanted if truth_row is None else _on_grid(_suv(truth_row, root), target, truth_row)
    resolution = None if truth_row is None else image_resolution_mm(truth, wanted, target.spacing_mm)
    write_arrays(
        folder,
        case_id,
        target_row.subject,
        target_row.split,
        CaseArrays(wanted, truth, np.stack(scans), _lesions(rows, root, target)),
        spacing_mm=target.spacing_mm,
        fractions=fractions,
        facts={"resolution_mm": resolution},
    )


def _suv(row: ManifestRow, root: Path) -> Volume:
    """An image in SUV by body weight."""
    with naming(row):
        return read_image(row, root).to_suv()


def _mask(row: ManifestRow, root: Path) -> Volume:
    """A label image."""
    with naming(row):
        return read_image(row, root)


def _on_grid(volume: Volume, target: Volume, row: ManifestRow) -> np.ndarray:
    """Voxels of an image that shares the target's grid."""
    if not volume.has_grid_of(target):
        raise InputError(
            f"The images of a case must share a grid; in case '{row.case}' the {row.role} '{row.name}' has shape "
            f"{volume.shape}, the target {target.shape}, or they lie elsewhere. Resample them first."
        )
    return np.asarray(volume.array)


def _lesions(rows: Sequence[ManifestRow], root: Path, target: Volume) -> np.ndarray:
    """Lesion numbers; none where no mask is given."""
    row = next((r for r in rows if r.role == "mask" and r.name == "lesions"), None)
    if row is None:
        return np.zeros(target.shape, dtype=np.uint8)
    labels = _on_grid(_mask(row, root), target, row)
    if not np.array_equal(labels, np.round(labels)) or labels.min() < 0 or labels.max() > LARGEST_LABEL:
        raise InputError(
            f"Lesion labels must be whole numbers from 0 to {LARGEST_LABEL}; those of case '{row.case}' are not. "
            "Give a label image."
        )
    return labels.astype(np.uint8)
