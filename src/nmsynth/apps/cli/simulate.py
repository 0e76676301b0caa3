"""``nmsynth simulate``: simulated scans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.config import resolve
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
        Path | None, typer.Option("--from", help="A PET series of your own: noise is added, as of fewer counts.")
    ] = None,
    phantom: Annotated[
        PhantomName | None, typer.Option(help="Phantom that is scanned.", show_default="whole-body")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="NIfTI label image that is filled with activity and scanned.")
    ] = None,
    label_kind: Annotated[
        LabelKind | None, typer.Option("--label-kind", help="Numbering of --labels: TotalSegmentator or FreeSurfer.")
    ] = None,
    ct: Annotated[Path | None, typer.Option("--ct", help="NIfTI CT of organ labels, for attenuation.")] = None,
    count_fraction: Annotated[
        float, typer.Option("--count-fraction", min=0.0001, max=1.0, help="Counts, as a share of the full scan's.")
    ] = 1.0,
    lesions: Annotated[
        int | None, typer.Option(min=0, max=60, help="Lesions put in.", show_default="drawn for a patient, else none")
    ] = None,
    voxel_mm: Annotated[
        float | None, typer.Option("--voxel-mm", min=1.0, max=8.0, help="Voxel size [mm].", show_default="4")
    ] = None,
    image_format: Annotated[OutputFormat, typer.Option("--format", help="Format of the scan.")] = OutputFormat.DICOM,
    timestamp: Annotated[
        bool, typer.Option("--timestamp", help="Write the time of creation; else a seed always gives the same files.")
    ] = False,
    series_uid: options.SeriesUid = None,
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
    if labels is None and (label_kind is not None or ct is not None):
        raise InputError("--label-kind and --ct belong to --labels, which is missing. Add it or leave them out.")
    given = {
        "source": source,
        "series_uid": series_uid,
        "phantom": phantom,
        "labels": labels,
        "label_kind": label_kind,
        "ct": ct,
        "lesions": lesions,
        "voxel_mm": voxel_mm,
    }
    values = {name: value for name, value in given.items() if value is not None}
    values |= {"count_fraction": count_fraction, "seed": seed, "file_format": image_format, "timestamp": timestamp}
    settings = resolve(SimulatePetSettings, values, where="the options")
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_pet(settings, output, overwrite=overwrite, progress=progress)
    if as_json:
        terminal.print_json(record)
        return
    terminal.print_line(f"Wrote {output} (simulated, {count_fraction:g} of the counts)")
    terminal.print_line(f"What is known of it: {output / 'reference'}")
