"""Dataset of the 22 sarcoma triples (PET, CT, T1 MR, tumour) for one translation, registered on request.

Run as ``python -m benchmarks.sts_dataset --data DATA --task ct-pet --out FOLDER [--register [--through RUN]]``. The
images are linked into the folder, as paths of a manifest lie below it. The tumours already lie within 0.3 mm of each
other, limbs and skin do not: the deformation keeps the tumour where it is. It follows the contours, and with the folds
of a training on the dataset so registered also what they synthesise.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from nmsynth.data.manifest import FILE_NAME
from nmsynth.data.registration import RegistrationSettings
from nmsynth.workflows.dataset_make import Split, Wanted, make_manifest
from nmsynth.workflows.dataset_register import register_dataset

FILES = {"pet": "pet.nii.gz", "ct": "ct.nii.gz", "mr": "mr_t1.nii.gz", "tumour": "pet_tumour_mask.nii.gz"}
STATED = {"pet": ("PT", "SUVbw"), "ct": ("CT", "HU"), "mr": ("MR", "relative"), "tumour": ("PT", "1")}
TASKS = {
    "ct-pet": (("ct",), "pet"),
    "mr-pet": (("mr",), "pet"),
    "ct+mr-pet": (("ct", "mr"), "pet"),
    "mr-ct": (("mr",), "ct"),
    "pet-ct": (("pet",), "ct"),
}
"""Sources and target of each task."""


def build(
    data: Path, task: str, out: Path, *, registered: bool = False, through: Path | None = None,
    folds: int = 0, seed: int = 0, workers: int | None = None,
) -> Path:  # fmt: skip
    """Write the dataset of a task and return the path of its manifest (the first, of several folds).

    Parameters
    ----------
    data
        Folder of the development data, which holds ``sts_triples``.
    task
        One of ``TASKS``.
    out
        Folder of the dataset: links to the images, or with ``registered`` the images laid over the target below
        ``registered``, or below ``registered-by-synthesis``.
    through
        Output of a training in folds on the registered dataset, whose synthetic images are followed too.
    folds
        Manifests for cross-validation, ``manifest-fold-1.csv`` and so on; 0 makes one.
    """
    sources, target = TASKS[task]
    for patient in sorted((data / "sts_triples").iterdir()):
        folder = out / patient.name
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES.values():
            if not (folder / name).exists():
                (folder / name).symlink_to((patient / name).resolve())
    wanted = [Wanted("source", name, FILES[name]) for name in sources]
    wanted += [Wanted("target", target, FILES[target]), Wanted("mask", "tumour", FILES["tumour"])]
    split = Split(validation_share=0.2, folds=folds, seed=seed)
    made = make_manifest(out, None, wanted, split=split, stated=STATED, overwrite=True)
    manifests = [out / name for name in made["manifests"]]
    if not registered:
        return manifests[0]
    settings = RegistrationSettings(how="deformable", by="contour" if through is None else "synthesis")
    new = out / ("registered" if through is None else "registered-by-synthesis")
    register_dataset(manifests[0], new, settings, keep="tumour", through=through, workers=workers)
    if folds:
        whole = (new / FILE_NAME).read_text(encoding="utf-8").splitlines()
        for path in manifests:
            splits = dict(line.split(",")[1:3] for line in path.read_text(encoding="utf-8").splitlines()[1:])
            rows = [line.split(",") for line in whole[1:]]
            lines = [",".join([*row[:2], splits[row[1]], *row[3:]]) for row in rows]
            (new / path.name).write_text("\n".join([whole[0], *lines]) + "\n", encoding="utf-8")
        return new / manifests[0].name
    return new / FILE_NAME


def summary(record: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Medians over patients of the agreement before and after registration, and of the displacement."""
    records = [r for case in record["cases"].values() for r in case.values()]
    return {
        part: {key: float(np.median([r[part][key] for r in records])) for key in records[0][part]}
        for part in ("before", "after", "displacement")
    }


def main() -> None:
    """Build one dataset, and print what registration did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", choices=sorted(TASKS), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--register", action="store_true")
    parser.add_argument("--through", type=Path)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--workers", type=int)
    given = parser.parse_args()
    path = build(
        given.data, given.task, given.out, registered=given.register, through=given.through, folds=given.folds,
        workers=given.workers,
    )  # fmt: skip
    print(path)
    if given.register:
        record = json.loads((path.parent / "registration.json").read_text(encoding="utf-8"))
        print(json.dumps(summary(record), indent=1))


if __name__ == "__main__":
    main()
