"""``nmsynth report``: one page that shows a synthetic image beside its source and reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


def report(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="Synthetic image: DICOM or NIfTI.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="HTML file to write.")],
    source: options.SourceImage = None,
    reference: Annotated[Path | None, typer.Option(help="Image to measure against.")] = None,
    full_counts: options.FullCounts = None,
    reference_kind: options.ReferenceKindOption = options.ReferenceKind.ONE_SCAN,
    masks: options.Masks = None,
    baselines: Annotated[
        list[str] | None, typer.Option("--baseline", metavar="NAME=PATH", help="Another image to show and measure.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Samples that 'synthesize --write-samples' wrote: three are shown, and each mask gets its interval.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model whose card is shown.")] = None,
    record: Annotated[Path | None, typer.Option(help="JSON record of the synthesis.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Whose measurements are made, such as lowcount-mpi.", show_default="by the kind of image"),
    ] = None,
    normals: options.Normals = None,
    curves: Annotated[
        bool,
        typer.Option(
            "--curves/--no-curves",
            help="Draw recovery against noise and false structures, where --source, --reference and lesions are given; "
            "runs the model.",
        ),
    ] = True,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    unit: options.UnitOption = None,
    modality: options.Modality = None,
    resample: options.Resample = False,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a report on PREDICTION as one self-contained HTML page."""
    from nmsynth.workflows.report import report_study

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        page = report_study(
            prediction,
            output,
            source=source,
            reference=reference,
            full_counts=full_counts,
            reference_kind=reference_kind.value,
            masks=options.named_paths(masks, option="--mask"),
            baselines=options.named_paths(baselines, option="--baseline"),
            samples=samples,
            model=model,
            record=record,
            task=task,
            normals=normals,
            with_curves=curves,
            title=title,
            unit=unit,
            modality=modality,
            resample=resample,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        terminal.print_json({"schema_version": 1, "report": str(page)})
    else:
        terminal.print_line(f"Wrote {page}")
