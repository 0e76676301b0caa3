"""``nmsynth evaluate``: how near an image comes to a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import Terminal, terminal_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nmsynth.evaluation.schema import Metrics

KEY_COLUMNS, ARM_COLUMNS = 78, 14
"""Characters that the first columns of the table take, and those of each arm."""


def evaluate(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="Image to judge: DICOM or NIfTI.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Image to compare it with, on the same grid.")],
    source: options.SourceImage = None,
    full_counts: options.FullCounts = None,
    masks: options.Masks = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What PREDICTION is of, such as mr-to-ct: which numbers are measured.", show_default="lowcount-pet"
        ),
    ] = None,
    normals: options.Normals = None,
    reference_kind: options.ReferenceKindOption = options.ReferenceKind.ONE_SCAN,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write to a .json or .csv file.")] = None,
    resample: options.Resample = False,
    set_: options.Assignments = None,
    unit: options.UnitOption = None,
    modality: options.Modality = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Compare PREDICTION with REFERENCE and print every number with its unit, mask and reference."""
    from nmsynth.workflows.evaluation import evaluate_study

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        metrics = evaluate_study(
            prediction,
            reference,
            source_path=source,
            full_counts_path=full_counts,
            mask_paths=options.named_paths(masks, option="--mask"),
            task=task,
            normals_path=normals,
            settings={"reference_kind": reference_kind.value, **options.assignments(set_)},
            output=output,
            overwrite=overwrite,
            unit=unit,
            modality=modality,
            resample=resample,
            progress=progress,
        )
    if as_json:
        terminal.print_json(metrics.to_json())
    else:
        print_metrics(terminal, metrics)


def print_metrics(terminal: Terminal, metrics: Metrics) -> None:
    """Print measurements, a column for each arm and as many as fit beside one another, then the lesions."""
    values: dict[tuple[str, str, str, str], dict[str, float | None]] = {}
    for item in metrics.measurements:
        name = item.name if item.data_range is None else f"{item.name}, data range {item.data_range:g}"
        key = (name, item.mask, item.unit, item.reference or "")
        values.setdefault(key, {})[item.arm] = item.value
    kind = metrics.definitions.get("reference", metrics.reference_kind)
    for arms in _in_groups(metrics.arms, max((terminal.width - KEY_COLUMNS) // ARM_COLUMNS, 1)):
        rows = [
            [*key, *(by_arm.get(arm) for arm in arms)]
            for key, by_arm in values.items()
            if any(by_arm.get(arm) is not None for arm in arms)
        ]
        terminal.print_table(["measure", "mask", "unit", "against", *arms], rows, title=f"Against {kind}")
    if metrics.lesions:
        columns = (
            "arm",
            "lesion",
            "diameter_mm",
            "recovery",
            "mean_bias",
            "peak_bias",
            "category",
            "omitted",
            "shifted",
        )
        lesions = [[row[column] for column in columns] for row in metrics.lesion_rows()]
        terminal.print_table(columns, lesions, title=f"Lesions (biases relative, {metrics.unit})")
    for warning in metrics.warnings:
        terminal.print_line(f"warning: {warning}")


def _in_groups(names: Sequence[str], size: int) -> list[Sequence[str]]:
    """Names in groups of at most a size."""
    return [names[start : start + size] for start in range(0, len(names), size)]
