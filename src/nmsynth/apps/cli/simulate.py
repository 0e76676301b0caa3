"""``nmsynth simulate``: simulated scans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.errors import InputError

app = typer.Typer(help="Simulate scans.", no_args_is_help=True)


class PhantomName(StrEnum):
    """A phantom that comes with nmsynth."""

    WHOLE_BODY = "whole-body"
    NEMA = "nema"
    CYLINDER = "cylinder"


class LabelKind(StrEnum):
    """Numbering of a label image."""

    ORGAN = "organ"
    BRAIN = "brain"


class OutputFormat(StrEnum):
    """How images are written."""

    DICOM = "dicom"
    NIFTI = "nifti"


@app.callback()
def simulate() -> None:
    """Simulate scans."""


@app.command("pet")
def pet(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write the scan to.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A PET series of your own: its noise is raised to fewer counts.")
    ] = None,
    phantom: Annotated[
        PhantomName | None, typer.Option(help="Phantom that is scanned.", show_default="whole-body")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Label image that is filled with activity and scanned.")] = None,
    label_kind: Annotated[LabelKind | None, typer.Option("--label-kind", help="Numbering of --labels.")] = None,
    count_fraction: Annotated[
        float, typer.Option("--count-fraction", min=0.0001, max=1.0, help="Counts, as a share of the full scan's.")
    ] = 1.0,
    lesions: Annotated[int | None, typer.Option(min=0, help="Lesions put in.", show_default="drawn")] = None,
    voxel_mm: Annotated[
        float | None, typer.Option("--voxel-mm", min=1.0, max=10.0, help="Voxel size.", show_default="4")
    ] = None,
    image_format: Annotated[
        OutputFormat, typer.Option("--format", help="How images are written.")
    ] = OutputFormat.DICOM,
    timestamp: Annotated[
        str | None, typer.Option(help="Time that the files carry, as 2026-01-31T12:00:00.", show_default="a fixed one")
    ] = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate a PET scan of a phantom, of labels, or of a PET series at fewer counts."""
    from nmsynth.workflows.simulation import SimulatePetSettings, simulate_pet

    if sum(choice is not None for choice in (source, phantom, labels)) > 1:
        raise InputError("A scan has one subject; found several of --from, --phantom, --labels. Give one of them.")
    if labels is not None and label_kind is None:
        raise InputError("Labels need their numbering; --label-kind is missing. Add --label-kind organ or brain.")
    if labels is None and label_kind is not None:
        raise InputError("--label-kind says how --labels is numbered; --labels is missing. Add it or leave both out.")
    given = {
        "source": source,
        "phantom": phantom.value if phantom else None,
        "labels": labels,
        "label_kind": label_kind.value if label_kind else None,
        "n_lesions": lesions,
        "voxel_mm": voxel_mm,
        "timestamp": timestamp,
    }
    settings = SimulatePetSettings(
        count_fraction=count_fraction,
        seed=seed,
        format=image_format.value,
        overwrite=overwrite,
        **{name: value for name, value in given.items() if value is not None},
    )
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_pet(settings, output, progress=progress).record
    if as_json:
        terminal.print_json(record)
    else:
        terminal.print_line(f"Wrote {output} (simulated, {count_fraction:g} of the counts)")
