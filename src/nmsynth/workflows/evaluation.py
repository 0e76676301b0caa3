"""Reading a prediction, its reference and masks from files, evaluating, and writing the numbers."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmsynth.core.errors import InputError, NmsynthError
from nmsynth.core.geometry import same_grid
from nmsynth.core.progress import Progress, silent
from nmsynth.core.units import Unit

if TYPE_CHECKING:
    from nmsynth.core.volume import Volume
    from nmsynth.evaluation.schema import Metrics
    from nmsynth.metrics.perfusion import NormalLimits

OUTPUT_SUFFIXES = (".json", ".csv")
"""Formats in which metrics are written."""


def evaluate_study(
    prediction_path: Path,
    reference_path: Path,
    *,
    source_path: Path | None = None,
    full_counts_path: Path | None = None,
    mask_paths: Mapping[str, Path] | None = None,
    task: str | None = None,
    normals_path: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    unit: Unit | str | None = None,
    modality: str | None = None,
    resample: bool = False,
    progress: Progress = silent,
) -> Metrics:
    """Evaluate files.

    Parameters
    ----------
    prediction_path, reference_path, source_path, full_counts_path
        DICOM series or NIfTI images.
    mask_paths
        Masks by name (see :func:`nmsynth.evaluation.evaluate`).
    task
        What the prediction is of (see :data:`nmsynth.evaluation.tasks.TASKS`); ``lowcount-pet`` by default.
    normals_path
        JSON of normal limits, for a total perfusion deficit.
    settings
        Of the evaluation.
    output
        ``.json`` or ``.csv`` file to write, at once or not at all.
    overwrite
        Replace an output that exists.
    unit, modality
        Of NIfTI images without a sidecar.
    resample
        As in :func:`load_images`.
    progress
        Told of each step.
    """
    from nmsynth.evaluation.evaluate import evaluate
    from nmsynth.evaluation.tasks import task_evaluation
    from nmsynth.workflows.normal_limits import misfits

    task_evaluation(task)
    if output is not None:
        _check_output(Path(output), overwrite=overwrite)
    paths = {
        "reference": reference_path,
        "prediction": prediction_path,
        "source": source_path,
        "full counts": full_counts_path,
    }
    normals = None if normals_path is None else read_normal_limits(normals_path)
    progress("reading", 0.0)
    images, masks = load_images(paths, mask_paths, unit=unit, modality=modality, resample=resample)
    progress("evaluating", 0.2)
    metrics = evaluate(
        images["prediction"],
        images["reference"],
        source=images.get("source"),
        full_counts=images.get("full counts"),
        masks=masks,
        task=task,
        normals=normals,
        settings=settings,
    )
    if normals_path is not None:
        wrong = misfits(json.loads(Path(normals_path).read_text(encoding="utf-8")), images["reference"])
        told = (f"The normal limits do not fit this heart: {'; '.join(wrong)}.",) if wrong else ()
        metrics = replace(metrics, warnings=(*metrics.warnings, *told))
    if output is not None:
        write_metrics(metrics, Path(output), overwrite=overwrite)
    return metrics


def read_normal_limits(path: Path) -> NormalLimits:
    """Normal limits of polar maps from JSON.

    Raises
    ------
    InputError
        If the file is not there or holds something else.
    """
    from nmsynth.metrics.perfusion import NormalLimits

    try:
        return NormalLimits.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"Normal limits must be a JSON file; '{Path(path).name}' cannot be read as one.") from error


def load_images(
    paths: Mapping[str, Path | None],
    mask_paths: Mapping[str, Path] | None = None,
    *,
    unit: Unit | str | None = None,
    modality: str | None = None,
    resample: bool = False,
) -> tuple[dict[str, Volume], dict[str, Volume]]:
    """Read images and masks and turn them to the grid of the first image.

    Parameters
    ----------
    paths
        Images by role, the one whose grid counts first; roles without a path are left out.
    mask_paths
        Masks by name.
    unit, modality
        Of NIfTI images without a sidecar.
    resample
        Interpolate images, and masks to the nearest voxel, that lie on another grid. A grid that differs only in the
        direction of its axes is turned in any case, without loss.
    """
    own_unit = None if unit is None else Unit.parse(unit)
    images = {
        name: _read_role(name, Path(path), own_unit, modality) for name, path in paths.items() if path is not None
    }
    masks = {name: read_mask(Path(path)) for name, path in (mask_paths or {}).items()}
    grid = next(iter(images.values()))
    return (
        {name: _on_grid(image, grid, order=1, resample=resample) for name, image in images.items()},
        {name: _on_grid(mask, grid, order=0, resample=resample) for name, mask in masks.items()},
    )


def _read_role(name: str, path: Path, unit: Unit | None, modality: str | None) -> Volume:
    """Read an image; where that fails, the message says which of several it was."""
    from nmsynth.io import read

    try:
        return read(path, unit=unit, modality=modality)
    except NmsynthError as error:
        raise type(error)(f"Reading the {name}: {error}") from error


def read_mask(path: Path) -> Volume:
    """Read a mask or label image; without a sidecar its values are numbers without a unit."""
    from nmsynth.io import read

    with contextlib.suppress(InputError):
        return read(path)
    return read(path, unit=Unit.UNITLESS, modality="PT")


def turn_to(volume: Volume, reference: Volume) -> Volume:
    """Flip the axes of a volume where that alone puts it on the grid of the reference; else leave it.

    DICOM and NIfTI often store one grid with other directions. A flip moves no value.
    """
    if volume.has_grid_of(reference) or volume.spatial_shape != reference.spatial_shape:
        return volume
    from nmsynth.data.orientation import Turn, turned, turned_grid

    for first, second, third in itertools.product((False, True), repeat=3):
        turn = Turn((0, 1, 2), (first, second, third))
        affine, shape = turned_grid(volume.affine, volume.spatial_shape, turn)
        if same_grid(affine, shape, reference.affine, reference.spatial_shape):
            return turned(volume, turn)
    return volume


def _on_grid(volume: Volume, reference: Volume, *, order: int, resample: bool) -> Volume:
    """Volume on the grid of the reference, by flips alone, or resampled where that is allowed and needed."""
    turned = turn_to(volume, reference)
    if not resample or turned.has_grid_of(reference):
        return turned
    return volume.resample_to(reference, order=order)


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output of another format or one that exists, before any work is done."""
    if output.suffix.lower() not in OUTPUT_SUFFIXES:
        raise InputError(f"Metrics are written as {' or '.join(OUTPUT_SUFFIXES)}; found {output.name!r}. Rename it.")
    if output.exists() and not overwrite:
        raise InputError(f"The output {output.name!r} must not exist; it does. Choose another or allow overwriting.")
    if not output.parent.is_dir():
        raise InputError(f"The folder of the output {output.name!r} must exist; it does not. Make it first.")


def write_metrics(metrics: Metrics, output: Path, *, overwrite: bool = False) -> Path:
    """Write metrics as JSON or CSV by the suffix, atomically.

    Parameters
    ----------
    metrics
        To write.
    output
        ``.json`` for everything, ``.csv`` for the measurements.
    overwrite
        Replace an output that exists.
    """
    from nmsynth.io.atomic import atomic_file

    _check_output(output, overwrite=overwrite)
    if output.suffix.lower() == ".csv":
        text = metrics.to_csv()
    else:
        text = json.dumps(metrics.to_json(), indent=2, allow_nan=False) + "\n"
    with atomic_file(output, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return output
