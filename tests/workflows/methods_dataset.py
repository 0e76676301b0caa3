"""A tiny dataset on the disk: CT and, for some, MR as sources, PET in SUV as target, on grids of their own."""

from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.core.geometry import affine_from_axes
from nmsynth.core.units import Unit
from nmsynth.data.manifest import ManifestRow, write_manifest
from nmsynth.io.nifti import write_nifti
from tests.helpers import make_volume

UNITS = {"CT": Unit.HOUNSFIELD, "PT": Unit.SUV_BODY_WEIGHT, "MR": Unit.RELATIVE}
GRIDS = {
    "CT": ((12, 24, 24), (4.0, 4.0, 4.0)),
    "PT": ((12, 24, 24), (4.0, 4.0, 4.0)),
    "MR": ((24, 24, 24), (2.0, 4.0, 4.0)),
}
SMALL = {
    "schedule.steps": 4, "schedule.warmup": 1, "schedule.validate_every": 2, "schedule.batch": 1,
    "schedule.validation_cases": 1, "patch": [8, 8, 8], "channels": [4, 4],
}  # fmt: skip


def picture(modality: str, seed: int) -> Any:
    """A body of values that suit the modality, in the middle 40 x 80 x 80 mm of one field of view."""
    shape, spacing = GRIDS[modality]
    rng = np.random.default_rng(seed)
    body = np.zeros(shape, dtype=bool)
    body[tuple(slice(n // 6, n - n // 6) for n in shape)] = True
    inside, outside = {"CT": (40.0, -1000.0), "PT": (1.5, 0.0), "MR": (300.0, 0.0)}[modality]
    array = np.where(body, inside * (1 + 0.3 * rng.standard_normal(shape)), outside)
    extent = [n * s for n, s in zip(shape, spacing, strict=True)]
    origin = [-(e - s) / 2 for e, s in zip(extent, spacing, strict=True)]  # (z, y, x) of the first voxel
    affine = affine_from_axes(spacing_mm=spacing, origin_mm=tuple(reversed(origin)))
    return make_volume(array=array, unit=UNITS[modality], modality=modality, affine=affine)


def make_dataset(folder: Path, *, subjects: int = 5, mr_of: tuple[int, ...] = (), change: Any = None) -> Path:
    """Write a dataset; ``change`` spoils its images, by path, and rows before."""
    images, rows = {}, []
    for k in range(subjects):
        split = "validation" if k == 1 else "test" if k == 4 else "train"
        kinds = [("source", "CT"), ("target", "PT"), *([("condition", "MR")] if k in mr_of else [])]
        for role, modality in kinds:
            path = f"{modality.lower()}-{k}.nii.gz"
            images[path] = picture(modality, 10 * k)
            name = "" if role == "target" else modality.lower()
            rows.append(ManifestRow(f"c{k}", f"s{k}", split, role, name, path, None, modality, UNITS[modality].value))
        labels = np.zeros(GRIDS["PT"][0])
        labels[5:7, 10:13, 10:13] = 1
        images[f"lesions-{k}.nii.gz"] = images[f"pt-{k}.nii.gz"].with_array(labels)
        rows.append(ManifestRow(f"c{k}", f"s{k}", split, "mask", "lesions", f"lesions-{k}.nii.gz"))
    if change is not None:
        change(images, rows)
    folder.mkdir(exist_ok=True)
    for path, volume in images.items():
        write_nifti(volume, folder / path)
    write_manifest(folder / "manifest.csv", rows)
    return folder
