"""The cases of a dataset as a training reads them: on the grid of a plan, in its units."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, silent
from nmsynth.core.replacement import replace_text
from nmsynth.workflows.image_files import files_state, settle_states
from nmsynth.workflows.jobs import run_jobs
from nmsynth.workflows.planning import root_of

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.data.prepared import PreparedCase

STAMP = "plan.sha256"
"""In a folder of prepared cases: what decided them."""
SMALL_BYTES = 100_000_000
"""Prepared cases of less are made by one process [bytes]."""


def prepare_dataset(
    dataset: Path,
    plan: Plan,
    folder: Path,
    *,
    cases: Sequence[str] | None = None,
    one_sided: bool = False,
    workers: int | None = None,
    renew: bool = False,
    progress: Progress = silent,
) -> list[PreparedCase]:
    """Prepare what is missing of the cases of a dataset, and open them.

    Parameters
    ----------
    dataset
        Manifest, or its folder.
    plan
        Grid, units and normalisation.
    folder
        Where the cases go; those of the same plan are kept, those of another are refused.
    cases
        Names of those wanted; all when unset.
    one_sided
        Whether the dataset may have cases with a source or a target alone.
    workers
        Processes; all cores when unset and there is much to do.
    renew
        Prepare cases again whose images have changed since, by size or time of their files; they are refused if not.

    Raises
    ------
    InputError
        If the disk has no room, the folder holds cases of another plan or manifest or of images that have changed, or
        an image does not fit.
    """
    from nmsynth.core.plan import check_same_images
    from nmsynth.data.manifest import read_manifest
    from nmsynth.data.manifest_cohort import cases_of
    from nmsynth.data.prepared import open_prepared

    rows = read_manifest(dataset)
    by_name = cases_of(rows, one_sided=one_sided)
    check_same_images(plan, modalities_of(rows))
    wanted = list(by_name) if cases is None else list(cases)
    folder.mkdir(parents=True, exist_ok=True)
    stamp, digest = folder / STAMP, _preparation_digest(plan, rows)
    if stamp.is_file() and stamp.read_text().strip() != digest:
        raise InputError(
            "Prepared cases belong to one plan and manifest; the folder holds those of another. Give another folder."
        )
    if not stamp.is_file():  # runs that share the cases read it at any time
        replace_text(stamp, digest + "\n")
    settle_states(folder, {case: files_state(by_name[case], root_of(dataset)) for case in wanted}, renew=renew)
    missing = [case for case in wanted if not (folder / f"{case}.json").is_file()]
    needed = _check_room(plan, {case: by_name[case] for case in missing}, root_of(dataset), folder)
    if workers is None and needed < SMALL_BYTES:
        workers = 1  # processes would take longer to start
    run_jobs(
        _prepare_one,
        [(case, by_name[case], root_of(dataset), plan, folder) for case in missing],
        workers=workers,
        stage="preparing cases",
        done=len(wanted) - len(missing),
        progress=progress,
    )
    return open_prepared(folder, wanted)


def _check_room(plan: Plan, cases: Mapping[str, Sequence[ManifestRow]], root: Path, folder: Path) -> int:
    """Room that cases take, judged by the size of the first [bytes]; refused where the disk has it not."""
    from nmsynth.data.prepared import prepared_bytes, read_image, reference_of
    from nmsynth.io.room import check_room

    if not cases:
        return 0
    row, image = reference_of(*next(iter(cases.items())), plan)
    reference = read_image(row, root, image)
    needed = sum(prepared_bytes(reference, rows, plan) for rows in cases.values())
    check_room(folder, needed, what="Prepared cases")
    return needed


def _prepare_one(job: tuple[str, list[ManifestRow], Path, Plan, Path]) -> None:
    """Prepare one case."""
    from nmsynth.data.prepared import prepare_case

    prepare_case(*job)


def is_prepared_by(plan: Plan, rows: Sequence[ManifestRow], folder: Path) -> bool:
    """Whether the prepared cases in a folder are those that a plan needs of the rows of a manifest."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text().strip() == _preparation_digest(plan, rows)


def _preparation_digest(plan: Plan, rows: Sequence[ManifestRow]) -> str:
    """Hash of what decides the prepared cases."""
    parts = plan.model_dump(mode="json", include={"sources", "target", "conditions", "spacing_mm"})
    text = json.dumps([parts, [repr(row) for row in rows]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def modalities_of(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """Modality of each image as far as the manifest states it, by channel; the target's under ``target``."""
    found: dict[str, str] = {}
    for row in rows:
        if row.role in ("source", "condition", "target") and row.modality:
            found.setdefault("target" if row.role == "target" else row.channel, row.modality)
    return found
