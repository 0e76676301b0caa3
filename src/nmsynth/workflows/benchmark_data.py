"""The images of the tasks of a benchmark: simulated or given, in the roles that a task wants, on one grid, in folds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nmsynth.core.errors import InputError
from nmsynth.core.progress import Progress, part_of, silent
from nmsynth.core.replacement import replace_text
from nmsynth.workflows.benchmark_suite import Suite, TaskSettings, content_of

if TYPE_CHECKING:
    from nmsynth.core.plan import Plan
    from nmsynth.data.folds import Split
    from nmsynth.data.manifest import ManifestRow
    from nmsynth.data.prepared import PreparedCase

_ROLES = ("source", "condition", "target", "mask")


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """A task whose data is at hand; light enough to be handed to another process."""

    task: TaskSettings
    dataset: Path
    """Manifest, or its folder."""
    folder: Path
    """Of the task: plan and prepared cases."""
    plan: Plan
    """Of every method, before a recipe changes what may differ."""
    data_sha256: str
    splits: tuple[Split, ...]

    def prepared(self, plan: Plan | None = None, *, workers: int | None = 1, renew: bool = False) -> list[PreparedCase]:
        """The cases as a plan wants them; prepared where they are missing, or with ``renew`` where images changed."""
        from nmsynth.workflows.method_preparation import prepare_dataset

        plan = plan or self.plan
        return prepare_dataset(self.dataset, plan, self._prepared_folder(plan), workers=workers, renew=renew)

    def images_sha256(self, plan: Plan | None = None) -> str:
        """Hash of the state of the image files that the cases of a plan were prepared from."""
        from nmsynth.workflows.image_files import read_states

        states = read_states(self._prepared_folder(plan or self.plan))
        return hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()

    def _prepared_folder(self, plan: Plan) -> Path:
        """Where the cases of a plan are."""
        parts = plan.model_dump(mode="json", include={"sources", "target", "conditions", "spacing_mm"})
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return self.folder / f"prepared-{digest[:8]}"

    def fractions(self) -> dict[str, list[float | None]]:
        """Count fraction of each way to present each case, in the order of the levels of a prepared case."""
        from nmsynth.data.manifest import by_case, read_manifest

        first = self.plan.sources[0].name
        found: dict[str, list[float | None]] = {}
        for case, rows in by_case(read_manifest(self.dataset)).items():
            found[case] = [r.count_fraction for r in rows if r.role in ("source", "condition") and r.channel == first]
        return found


def task_folders(
    suite: Suite,
    output: Path,
    data: Mapping[str, Path],
    *,
    tasks: Sequence[str],
    workers: int | None = None,
    progress: Progress = silent,
) -> dict[str, TaskFolder]:
    """Simulate, select, plan and prepare what the tasks need; what is there is kept.

    Parameters
    ----------
    suite
        Tasks and folds.
    output
        Of the benchmark.
    data
        Datasets that are given, by name.
    tasks
        Names of those that have runs left to do.
    workers
        Processes.

    Returns
    -------
        By name of the task; without those whose data is not given.

    Raises
    ------
    InputError
        If data is given that no task asks for, or a dataset does not fit.
    """
    wanted = [t.data.given for t in suite.tasks if t.data.given]
    for name in data:
        if name not in wanted:
            asked = ", ".join(wanted) or "none"
            raise InputError(f"No task of the suite '{suite.name}' takes the data '{name}'; asked for: {asked}.")
    chosen = [t for t in suite.tasks if t.name in tasks and (t.data.simulate or t.data.given in data)]
    found = {}
    for number, task in enumerate(chosen):
        told = part_of(progress, number / len(chosen), (number + 1) / len(chosen))
        dataset = data[task.data.given] if task.data.given else _simulated(task, output, workers, told)
        found[task.name] = _task_folder(suite, task, dataset, output / "tasks" / task.name, workers)
    return found


def level_label(fraction: float | None, edges: Sequence[float]) -> str:
    """Class of counts of a scan.

    Examples
    --------
    >>> [level_label(f, (0.2, 0.05)) for f in (0.3, 0.1, 0.01, None)]
    ['20 % and more', '5 to 20 %', 'below 5 %', '']
    """
    if fraction is None or not edges:
        return ""
    above = next((k for k, edge in enumerate(edges) if fraction >= edge), len(edges))
    if above == 0:
        return f"{100 * edges[0]:.3g} % and more"
    if above == len(edges):
        return f"below {100 * edges[-1]:.3g} %"
    return f"{100 * edges[above]:.3g} to {100 * edges[above - 1]:.3g} %"


def levels_to_test(fractions: Sequence[float | None], n_levels: int) -> list[int]:
    """Which ways to present a case are tested.

    Parameters
    ----------
    fractions
        Count fraction of each; ``None`` where it states none.
    n_levels
        How many, spread over those below full counts from most to fewest; all when 0.

    Examples
    --------
    >>> levels_to_test([1.0, 0.3, 0.1, 0.05, 0.02], 2), levels_to_test([None], 0)
    ([1, 4], [0])
    """
    low = [k for k, f in enumerate(fractions) if f is None or f < 1.0] or list(range(len(fractions)))
    low.sort(key=lambda k: -(fractions[k] or 0.0))
    if n_levels and len(low) > n_levels:
        places = np.linspace(0, len(low) - 1, n_levels) if n_levels > 1 else [len(low) // 2]
        low = [low[round(float(p))] for p in places]
    return low


def _simulated(task: TaskSettings, output: Path, workers: int | None, progress: Progress) -> Path:
    """The dataset of a task's recipe, shared by tasks that ask for the same one."""
    from nmsynth.workflows.dataset_simulation import SimulateCohortSettings, simulate_dataset

    wanted = task.data.model_dump(mode="json", include={"simulate", "seed", "overrides"})
    wanted |= content_of("content", task.data.simulate)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    stem = Path(task.data.simulate).stem
    folder = output / "data" / f"{stem}-{digest[:8]}"
    settings = SimulateCohortSettings(recipe=task.data.simulate, subjects=task.data.subjects, seed=task.data.seed)
    simulate_dataset(settings, folder, overrides=task.data.overrides, workers=workers, progress=progress)
    return folder


def _task_folder(suite: Suite, task: TaskSettings, dataset: Path, folder: Path, workers: int | None) -> TaskFolder:
    """Select, plan and prepare the data of a task."""
    from nmsynth.core.plan import plan_to_toml, read_plan
    from nmsynth.data.folds import cross_validation
    from nmsynth.data.manifest import read_manifest
    from nmsynth.workflows.planning import PLAN_FILE, plan_dataset, splits_of

    folder.mkdir(parents=True, exist_ok=True)
    if task.data.sources or task.data.target or task.data.masks is not None:
        dataset = _selected(task, dataset, folder / "selected")
    rows = read_manifest(dataset)
    splits = tuple(cross_validation(splits_of(rows), suite.folds))
    path = folder / PLAN_FILE
    if not path.is_file():
        # what is fastest here would be another training elsewhere
        plan = plan_dataset(dataset, device="cpu", overrides={"schedule.precision": "fp32", **task.plan})
        replace_text(path, plan_to_toml(plan))
    made = TaskFolder(task, dataset, folder, read_plan(path), _data_digest(rows), splits)
    made.prepared(workers=workers, renew=True)  # over processes here, so that no run has to
    return made


def _selected(task: TaskSettings, dataset: Path, folder: Path) -> Path:
    """A manifest with the images of a task in its roles, beside a link to the dataset."""
    from nmsynth.data.manifest import FILE_NAME, read_manifest, write_manifest
    from nmsynth.workflows.planning import root_of

    given = read_manifest(dataset)
    found = [_in_role(row, task, {r.name for r in given}) for row in given]
    rows = [row for row in found if row is not None and row.role in _ROLES]
    for name in (*task.data.sources, *filter(None, (task.data.target,))):
        if not any(name in (row.name, row.channel) and row.role != "mask" for row in rows):
            raise InputError(
                f"The task '{task.name}' needs an image '{name}'; the dataset has none. Give another dataset."
            )
    folder.mkdir(parents=True, exist_ok=True)
    link, root = folder / "images", root_of(dataset).resolve()
    if not link.is_symlink() or link.resolve() != root:
        link.unlink(missing_ok=True)
        link.symlink_to(root, target_is_directory=True)
    moved = [replace(row, path=f"images/{row.path}") for row in rows]
    temporary = folder / f".{FILE_NAME}"
    write_manifest(temporary, moved)
    temporary.replace(folder / FILE_NAME)
    return folder


def _in_role(row: ManifestRow, task: TaskSettings, names: set[str]) -> ManifestRow | None:
    """A row in the role that a task gives it, ``None`` if it plays none; a channel is meant if no image is so named."""
    data = task.data
    called = {row.name} if row.channel in names else {row.name, row.channel}
    if row.role == "mask":
        return row if data.masks is None or row.name in data.masks or row.name == "body" else None
    if data.target in called - {""}:
        return replace(row, role="target")
    if data.sources:
        if called & set(data.sources):
            return replace(row, role="source")
        return None if row.role in ("source", "condition") or data.target else row
    return None if data.target and row.role == "target" else row


def _data_digest(rows: Sequence[ManifestRow]) -> str:
    """Hash of which images of which subjects there are; the same wherever the dataset lies."""
    parts = sorted(
        [r.case, r.subject, r.role, r.name, f"{r.count_fraction or 0:.6g}", r.modality, r.unit]
        for r in rows
        if r.role in _ROLES
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
