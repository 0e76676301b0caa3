"""Where a simulation is written: a folder that appears whole, its records, its masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError
from nmsynth.core.replacement import put_in_place, temporary_sibling

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nmsynth.core.volume import Volume
    from nmsynth.physics.phantom import Lesion

SCHEMA_VERSION = 1
"""Version of ``simulation.json``."""
REFERENCE_FOLDER = "reference"
"""Folder beside the scan that holds what is known of it, in NIfTI."""


def read_record(folder: Path) -> dict[str, Any]:
    """What a simulation says of itself, by the folder of what is known of it."""
    found: dict[str, Any] = json.loads((folder / "simulation.json").read_text(encoding="utf-8"))
    return found


@contextmanager
def staged_output(output: Path, *, overwrite: bool, inputs: Sequence[Path | None] = ()) -> Iterator[Path]:
    """A folder to write a simulation to, which takes the output's place when all is written.

    Parameters
    ----------
    output
        Folder of the simulation.
    overwrite
        Whether one that a simulation wrote is replaced.
    inputs
        Files and folders that must lie apart from the output.

    Raises
    ------
    InputError
        If the output exists without ``overwrite``, is no simulation, or holds or lies in an input.
    """
    _check_output(output, inputs, overwrite=overwrite)
    target = output.resolve()
    staging = temporary_sibling(target)
    staging.mkdir(parents=True, mode=0o700)
    try:
        work = staging / "study"
        yield work
        put_in_place(work, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_output(output: Path, inputs: Sequence[Path | None], *, overwrite: bool) -> None:
    """Refuse an output that holds or replaces an input, or a folder that no simulation wrote."""
    if output.exists() and not overwrite:
        raise InputError(f"The output '{output.name}' must not exist; it does. Choose another, or allow overwriting.")
    target = output.resolve()
    for given in inputs:
        found = None if given is None else given.resolve()
        if found is not None and (found == target or found in target.parents or target in found.parents):
            raise InputError("Inputs and output must lie apart, so that no input changes. Choose another output.")
    written = (output / REFERENCE_FOLDER / "simulation.json").is_file()
    if output.exists() and not written and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(
            f"Only a folder that a simulation wrote is replaced; '{output.name}' is another. Choose another output."
        )


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record for programs."""
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_mask(array: npt.NDArray[np.uint8], like: Volume, path: Path) -> None:
    """Write labels on the grid of an image."""
    from nmsynth.core.units import Unit
    from nmsynth.io.nifti import write_nifti

    write_nifti(like.with_array(array, unit=Unit.UNITLESS, suv_rule=None, source=None), path)


def describe_lesions(lesions: Sequence[Lesion]) -> list[dict[str, Any]]:
    """Lesions as JSON values."""
    return [
        {
            "index": lesion.index,
            "diameter_mm": lesion.diameter_mm,
            "contrast": lesion.contrast,
            "centre_mm_zyx": list(lesion.centre_mm),
            "organ": lesion.organ,
            "shape": lesion.shape,
        }
        for lesion in lesions
    ]


def write_pet_scan(
    scan: Volume,
    stem: Path,
    *,
    file_format: str,
    study: str,
    fraction: float,
    created: datetime | None = None,
    kind: str = "",
    series_number: int = 1,
) -> Path:
    """Write a simulated PET scan as a DICOM folder of that name, or as a NIfTI image; return which.

    Parameters
    ----------
    scan
        Image with its acquisition.
    stem
        Folder, or the name of the image without its ending.
    file_format
        ``dicom`` or ``nifti``.
    study
        Text from which the UIDs follow; the scans of one study share its patient and frame of reference.
    fraction
        Counts over those of the full scan.
    created
        Time of creation; none is written when unset.
    kind, series_number
        What tells this image of the counts from the scan itself, and its number in the study.
    """
    if file_format == "nifti":
        from nmsynth.io.nifti import write_nifti

        return write_nifti(scan, stem.with_name(f"{stem.name}.nii.gz"))
    from nmsynth.io.dicom_new import write_new_pet_series

    return write_new_pet_series(
        scan,
        stem,
        seed_uid=f"{study} fraction {fraction:g}{f' {kind}' if kind else ''}",
        study_seed=study,
        series_number=series_number,
        description=f"simulated{f' {kind}' if kind else ''}, {fraction:g} of the counts",
        created=created,
    )
