"""``nmsynth report``: one page that shows a synthetic image beside its source and reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.evaluate import ReferenceKind
from nmsynth.apps.cli.terminal import terminal_of


def report(
    context: typer.Context,
    prediction: Annotated[Path, typer.Argument(metavar="PREDICTION", help="Synthetic image: DICOM or NIfTI.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="HTML file to write.")],
    source: Annotated[Path | None, typer.Option(help="Image it was made from.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Image to measure against.")] = None,
    reference_kind: Annotated[
        ReferenceKind,
        typer.Option("--reference-kind", help="T0 true activity, T1 noise-free reconstruction, T2 one noisy scan."),
    ] = ReferenceKind.ONE_SCAN,
    masks: Annotated[
        list[str] | None, typer.Option("--mask", metavar="NAME=PATH", help="body, liver, lesion…, or an organ.")
    ] = None,
    baselines: Annotated[
        list[str] | None, typer.Option("--baseline", metavar="NAME=PATH", help="Another image to show and measure.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model whose card is shown.")] = None,
    record: Annotated[Path | None, typer.Option(help="JSON record of the synthesis.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    unit: options.UnitOption = None,
    modality: options.Modality = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a report on PREDICTION as one self-contained HTML page."""
    from nmsynth.workflows.report import report_study

    page = report_study(
        prediction,
        output,
        source=source,
        reference=reference,
        reference_kind=reference_kind.value,
        masks=options.named_paths(masks, option="--mask"),
        baselines=options.named_paths(baselines, option="--baseline"),
        model=model,
        record=record,
        title=title,
        unit=unit,
        modality=modality,
        overwrite=overwrite,
    )
    terminal = terminal_of(context)
    if as_json:
        terminal.print_json({"schema_version": 1, "report": str(page)})
    else:
        terminal.print_line(f"Wrote {page}")
