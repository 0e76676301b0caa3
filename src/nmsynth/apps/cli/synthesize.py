"""``nmsynth synthesize``: a model applied to a study, written as a derived series."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


class Significance(StrEnum):
    """Level at which structure is kept."""

    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"


def synthesize(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Study: DICOM folder, zip or file, or NIfTI.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder for DICOM, or a .nii or .nii.gz file.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Model; see 'models list'.")] = "lowcount-pet",
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="ROLE=PATH", help="A further input of the model, such as ct=PATH."),
    ] = None,
    input_units: Annotated[
        list[str] | None,
        typer.Option(
            "--input-unit", metavar="ROLE=UNIT", help="Unit of a further NIfTI input without a sidecar, such as ct=HU."
        ),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--condition", metavar="NAME=VALUE", help="A fact that the model is told, such as count_fraction=0.25."
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Samples of a model that draws them.", show_default="4")
    ] = None,
    write_samples: Annotated[
        Path | None, typer.Option("--write-samples", metavar="FOLDER", help="Also write the samples, as NIfTI.")
    ] = None,
    significance: Annotated[
        Significance | None,
        typer.Option(help="How sure structure must be to be kept: 'high' keeps less noise and fewer small lesions."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of what is drawn at random.", show_default="0")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N.", show_default="cpu")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads.", show_default="all")] = None,
    set_: options.Assignments = None,
    series_uid: options.SeriesUid = None,
    unit: options.UnitOption = None,
    modality: options.Modality = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Synthesise INPUT with a model and write OUTPUT, marked as synthetic."""
    from nmsynth.workflows.synthesis import synthesize_study

    terminal = terminal_of(context)
    given: dict[str, Any] = {
        "significance": significance.value if significance else None,
        "seed": seed,
        "device": device,
        "threads": threads,
        "n_samples": samples,
        "conditions": options.named_values(conditions, option="--condition") or None,
    }
    settings = options.assignments(set_) | {key: value for key, value in given.items() if value is not None}
    with terminal.progress() as progress:
        synthesis = synthesize_study(
            source,
            output,
            model=model,
            inputs=options.named_paths(inputs, option="--input"),
            input_units=options.named_values(input_units, option="--input-unit"),
            settings=settings,
            overwrite=overwrite,
            series_uid=series_uid,
            unit=unit,
            modality=modality,
            samples_path=write_samples,
            progress=lambda done, total: progress("synthesising", done / max(total, 1)),
        )
    if as_json:
        terminal.print_json({"schema_version": 1, "output": str(output), **synthesis.record})
        return
    terminal.print_line(f"Wrote {output} (synthetic, research use only)")
    for flag in synthesis.flags:
        terminal.print_line(f"  {flag}")
    for warning in synthesis.image.warnings:
        if warning not in synthesis.flags:
            terminal.print_line(f"  warning: {warning}")
