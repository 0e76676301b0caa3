"""A dataset whose images are laid over their case's target."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError, SuvError
from nmsynth.core.progress import Progress, silent

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.data.registration import RegistrationSettings, Synthesise

RECORD = "registration.json"
"""In the dataset: settings and a summary; in each case: what was found for each image."""
MOVED_ROLES = ("source", "condition", "anatomy")


@dataclass(frozen=True, slots=True)
class _Job:
    """One case."""

    case: str
    rows: tuple[ManifestRow, ...]
    root: Path
    output: Path
    to: str
    keep: str
    settings: RegistrationSettings
    model: Path | None
    """Package that makes the synthetic image of this case."""


def register_dataset(
    manifest: Path,
    output: Path,
    settings: RegistrationSettings,
    *,
    to: str = "target",
    keep: str = "",
    through: Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Register the images of each case and write a new dataset.

    Sources, conditions and anatomy of another modality than the image they are laid over are registered to it and
    written on its grid; all else keeps its grid. All images are written as NIfTI with a sidecar; ``data`` is copied.
    A case appears whole or not at all: the same command completes what was interrupted.

    Parameters
    ----------
    manifest
        Of the dataset.
    output
        Folder of the new one.
    to
        Role, or name, of the image that others are laid over.
    keep
        Name of a mask of what is in place already and is not to be moved, such as ``tumour``.
    through
        Where settings say ``synthesis``: the output of a training in folds on this dataset, registered or not. Each
        case is synthesised by the fold that tests it, which has never seen it.

    Returns
    -------
        JSON values: settings, and the record of each image by case.

    Raises
    ------
    InputError
        If a case has no such image, the output holds something else, or a fold has no model.
    """
    from nmsynth.data.manifest import by_case, manifest_file, read_manifest
    from nmsynth.data.registration import check_synthesis
    from nmsynth.workflows.jobs import run_jobs

    check_synthesis(settings, given=through is not None)
    path = manifest_file(manifest)
    rows_of_all = read_manifest(path)
    cases = by_case(rows_of_all)
    models = {} if through is None else _models_by_subject(through, rows_of_all)
    record = {"settings": settings.model_dump(), "to": to, "keep": keep}
    record |= {"models_sha256": _sha256_of(models.values())} if models else {}
    for case, rows in cases.items():
        _anchor(case, rows, to)
    _claim(output, record)
    jobs = [
        _Job(case, tuple(rows), path.parent, output, to, keep, settings, models.get(rows[0].subject))
        for case, rows in cases.items()
    ]
    missing = [job for job in jobs if not (output / job.case / RECORD).is_file()]
    done = len(jobs) - len(missing)
    run_jobs(_register_case, missing, workers=workers, stage="registering", done=done, progress=progress)
    found = {job.case: json.loads((output / job.case / RECORD).read_text(encoding="utf-8")) for job in jobs}
    _write_manifest(output, jobs)
    result = {**record, "cases": found}
    (output / RECORD).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _anchor(case: str, rows: Sequence[ManifestRow], to: str) -> ManifestRow:
    """The image that others are laid over."""
    found = [row for row in rows if row.role == to or (row.name and row.name == to)]
    if len(found) != 1:
        raise InputError(
            f"Images are laid over one image of each case; case '{case}' has {len(found)} of role or name '{to}'. "
            "Choose another by --to."
        )
    return found[0]


def _models_by_subject(training: Path, rows: Sequence[ManifestRow]) -> dict[str, Path]:
    """The package that was not trained on a subject, for each: that of the fold which tests it."""
    from nmsynth.data.folds import cross_validation
    from nmsynth.models.registry import show_model
    from nmsynth.workflows.planning import splits_of

    cards = {path: show_model(path) for path in sorted((training / "package").glob("*-fold-*"))}
    folds = {card.training.get("fold", {}).get("number"): path for path, card in cards.items()}
    wanted = max((card.training.get("fold", {}).get("of", 0) for card in cards.values()), default=0)
    if wanted < 2 or set(folds) != set(range(wanted)) or len(cards) != wanted:
        raise InputError(
            f"A case is synthesised by the fold that tests it; the training given has {len(cards)} models for "
            f"{wanted} folds. Give the output of a finished training with --folds, of one method."
        )
    found: dict[str, Path] = {}
    for k, split in enumerate(cross_validation(splits_of(list(rows)), wanted)):
        trained = cards[folds[k]].training.get("n_subjects", {}).get("train")
        if trained != len(split.train):
            raise InputError(
                f"The folds must be those of this dataset; fold {k} was trained on {trained} subjects, here it has "
                f"{len(split.train)}. Give the training of this dataset, before or after a registration."
            )
        found |= dict.fromkeys(split.test, folds[k])
    n_left = len({row.subject for row in rows} - set(found))
    if n_left:
        raise InputError(
            f"Every subject must be tested by a fold; {n_left} of the split 'test' are by none. Leave them out, or "
            "give them another split."
        )
    return found


def _claim(output: Path, record: dict[str, Any]) -> None:
    """Write the settings into a new dataset; refuse a folder of other things or of other settings."""
    path = output / RECORD
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if {k: found.get(k) for k in record} != record:
            raise InputError(
                "The output was registered with other settings. Choose another folder or the same settings."
            )
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(
            "A registered dataset needs a folder of its own; the output holds other files. Choose another."
        )
    output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _register_case(job: _Job) -> None:
    """Register and write the images of a case."""
    from nmsynth.data.manifest_images import read_image
    from nmsynth.data.registration import register
    from nmsynth.io.atomic import atomic_directory
    from nmsynth.io.nifti import write_nifti

    anchor = _anchor(job.case, job.rows, job.to)
    fixed = _in_suv(read_image(anchor, job.root))
    kept = [row for row in job.rows if row.role == "mask" and job.keep and row.name == job.keep]
    keep = read_image(kept[0], job.root) if kept else None
    records = {}
    with atomic_directory(job.output / job.case) as folder:
        for row, name in zip(job.rows, _file_names(job.rows), strict=True):
            if row.role == "data":
                copy = shutil.copytree if (job.root / row.path).is_dir() else shutil.copy2
                copy(job.root / row.path, folder / name)
                continue
            volume = fixed if row is anchor else _in_suv(read_image(row, job.root))
            if row.role in MOVED_ROLES and volume.modality != fixed.modality:
                found = register(fixed, volume, job.settings, keep=keep, synthesise=_synthesise(job.model))
                records[name] = found.record
                taken = ", ".join(found.record["taken"]) or "none"
                settings = {**volume.provenance.settings, "registration": f"{job.settings.how}; signals taken: {taken}"}
                parents = (*volume.provenance.parents, volume.sha256)
                history = replace(volume.provenance, settings=settings, parents=parents)
                volume = replace(found.apply(volume, fixed), provenance=history)
            write_nifti(volume, folder / name)
        (folder / RECORD).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def _sha256_of(packages: Iterable[Path]) -> list[str]:
    """Of the weights of each package."""
    from nmsynth.models.registry import show_model

    return [show_model(path).sha256 for path in sorted(set(packages))]


def _synthesise(model: Path | None) -> Synthesise | None:
    """A package as what makes a synthetic image of a volume."""
    if model is None:
        return None

    def synthesise(volume: Volume) -> Volume:
        """The mean of what the model gives."""
        from nmsynth.inference.synthesize import synthesize

        return synthesize(volume, model).image

    return synthesise


def _in_suv(volume: Volume) -> Volume:
    """PET as SUV where it can be: factors that belong to slices do not survive another grid."""
    try:
        return volume.to_suv() if volume.modality == "PT" else volume
    except SuvError:
        return volume


def _file_names(rows: Sequence[ManifestRow]) -> list[str]:
    """Names of the images of a case: role and name, numbered where two would be one."""
    names: list[str] = []
    for row in rows:
        stem = f"{row.role}_{row.name}" if row.name else row.role
        ending = "".join(Path(row.path).suffixes) if row.role == "data" else ".nii.gz"
        again = sum(n.startswith(stem) for n in names)
        names.append(f"{stem}-{again + 1}{ending}" if again else f"{stem}{ending}")
    return names


def _write_manifest(output: Path, jobs: Sequence[_Job]) -> None:
    """Manifest of the new dataset."""
    from nmsynth.data.manifest import FILE_NAME, write_manifest
    from nmsynth.io.sidecar import read_sidecar, sidecar_path

    rows = []
    for job in jobs:
        for row, name in zip(job.rows, _file_names(job.rows), strict=True):
            path = f"{job.case}/{name}"
            if row.role == "data":
                rows.append(replace(row, path=path))
                continue
            stated = read_sidecar(sidecar_path(output / path))
            unit = stated.unit.value if stated.unit else row.unit
            rows.append(replace(row, path=path, modality=stated.modality or row.modality, unit=unit))
    write_manifest(output / FILE_NAME, rows)
