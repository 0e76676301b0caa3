"""``nmsynth simulate``: simulated scans."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import (
    brain_options,
    options,
    simulate_cohort,
    simulate_dynamic,
    simulate_planar,
    simulate_spect,
)
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.config import resolve
from nmsynth.core.errors import InputError

app = typer.Typer(help="Simulate scans.", no_args_is_help=True)


class PetPhantom(StrEnum):
    """A phantom that comes with nmsynth."""

    WHOLE_BODY = "whole-body"
    BRAIN = "brain"
    NEMA = "nema"
    CYLINDER = "cylinder"
    DERENZO = "derenzo"
    JASZCZAK = "jaszczak"


class LabelKind(StrEnum):
    """Numbering of a label image."""

    ORGAN = "organ"
    BRAIN = "brain"


class OtherReconstruction(StrEnum):
    """What else is made of the counts of a scan."""

    UNCORRECTED = "uncorrected"
    PENALISED = "penalised"


class PetScannerName(StrEnum):
    """Whose protocol a scan follows."""

    REFERENCE = "reference"
    BGO_WITH_SEPTA = "bgo-with-septa"


@app.callback()
def simulate() -> None:
    """Simulate scans."""


_SUBJECT, _SCAN = "What is scanned (one of --from, --phantom, --labels)", "The scan"


@app.command("pet")
def pet(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write the scan to.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            rich_help_panel=_SUBJECT,
            help="A PET series of your own, DICOM or NIfTI: the noise that fewer counts would add is added. It is kept "
            "beside the result as a noisy reference. Attenuation is guessed from the body contour.",
        ),
    ] = None,
    series_uid: Annotated[
        str | None,
        typer.Option("--series-uid", rich_help_panel=_SUBJECT, help="Series of --from, where it holds several."),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", rich_help_panel=_SUBJECT, help="Unit of --from, for a NIfTI without sidecar: 'Bq/mL', …"
        ),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            "--modality", rich_help_panel=_SUBJECT, help="Modality of --from, for a NIfTI without sidecar: PT."
        ),
    ] = None,
    phantom: Annotated[
        PetPhantom | None,
        typer.Option(rich_help_panel=_SUBJECT, help="A phantom that comes with nmsynth.", show_default="whole-body"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_SUBJECT, help="A NIfTI label image, filled with uptake drawn by the seed."),
    ] = None,
    label_kind: Annotated[
        LabelKind | None,
        typer.Option(
            "--label-kind",
            rich_help_panel=_SUBJECT,
            help="Numbering of --labels: organ for TotalSegmentator v2, brain for FreeSurfer.",
        ),
    ] = None,
    tracer: brain_options.PetTracerOption = None,
    disease: brain_options.DiseaseOption = None,
    severity: brain_options.Severity = None,
    atrophy: brain_options.Atrophy = None,
    coupling: brain_options.CouplingOption = None,
    ct: Annotated[
        Path | None,
        typer.Option("--ct", rich_help_panel=_SUBJECT, help="NIfTI CT on the grid of organ labels, for attenuation."),
    ] = None,
    count_fraction: Annotated[
        float,
        typer.Option(
            "--count-fraction",
            min=0.0001,
            max=1.0,
            rich_help_panel=_SCAN,
            help="Counts over those of the reference protocol, or of the series.",
        ),
    ] = 1.0,
    lesions: Annotated[
        int | None,
        typer.Option(
            min=0, max=60, rich_help_panel=_SCAN, help="Lesions put in.", show_default="drawn for a patient, else none"
        ),
    ] = None,
    voxel_mm: Annotated[
        float | None,
        typer.Option(
            "--voxel-mm",
            min=1.0,
            max=8.0,
            rich_help_panel=_SCAN,
            help="Voxel size in mm; not with --from.",
            show_default="4",
        ),
    ] = None,
    length_mm: Annotated[
        float | None,
        typer.Option(
            "--length-mm",
            min=8.0,
            rich_help_panel=_SCAN,
            help="Length in mm about the middle; not with --from.",
            show_default="all",
        ),
    ] = None,
    beds: Annotated[
        bool,
        typer.Option(
            "--beds",
            rich_help_panel=_SCAN,
            help="Scan in overlapping bed positions, each later than the last; not with --from.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=_SCAN, help="Seed of what is drawn at random.")] = 0,
    image_format: Annotated[
        options.OutputFormat, typer.Option("--format", help="Format of the scan.")
    ] = options.OutputFormat.DICOM,
    companions: options.With = None,
    also: Annotated[
        list[OtherReconstruction] | None,
        typer.Option(
            rich_help_panel=_SCAN,
            help="Further images of the same counts: without correction for attenuation and scatter, or by penalised "
            "likelihood. Repeatable.",
        ),
    ] = None,
    scanner: Annotated[
        PetScannerName,
        typer.Option(
            rich_help_panel=_SCAN,
            help="Resolution, counts and reconstruction of the reference protocol, or of a BGO scanner with septa.",
        ),
    ] = PetScannerName.REFERENCE,
    timing_ps: Annotated[
        float | None,
        typer.Option(
            "--timing-ps",
            min=50.0,
            max=2000.0,
            rich_help_panel=_SCAN,
            help="Timing resolution of time of flight in ps; takes some twenty times as long.",
            show_default="no time of flight",
        ),
    ] = None,
    attenuation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=IMAGE",
            rich_help_panel=_SCAN,
            help="Reconstruct the same counts once more with the attenuation of this CT (HU) or map (1/cm), such as a "
            "synthetic one, and write it as NAME. Repeatable.",
        ),
    ] = None,
    timestamp: Annotated[
        bool, typer.Option("--timestamp", help="Write the time of creation; else a seed always gives the same files.")
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate a PET scan of a phantom, of labels, or of a PET series at fewer counts.

    OUTPUT gets the scan, and in its folder 'reference' what is known of it: full counts, noise-free image, true
    activity, organs and lesions of a phantom; the noisy reference of a series; and simulation.json.
    """
    from nmsynth.workflows.pet_simulation import SimulatePetSettings, simulate_pet

    if sum(choice is not None for choice in (source, phantom, labels)) > 1:
        raise InputError("A scan has one subject; found several of --from, --phantom, --labels. Give one of them.")
    if labels is not None and label_kind is None:
        raise InputError("Labels need their numbering; --label-kind is missing. Add --label-kind organ or brain.")
    if labels is None and (label_kind is not None or ct is not None):
        raise InputError("--label-kind and --ct belong to --labels, which is missing. Add it or leave them out.")
    if source is None and any(choice is not None for choice in (series_uid, unit, modality)):
        raise InputError(
            "--series-uid, --unit and --modality belong to --from, which is missing. Add it or leave them."
        )
    if source is not None and (voxel_mm is not None or length_mm is not None or beds):
        raise InputError(
            "A series keeps its grid; --voxel-mm, --length-mm or --beds was given with --from. Leave it out."
        )
    given = {
        "source": source,
        "series_uid": series_uid,
        "unit": unit,
        "modality": modality,
        "phantom": phantom,
        "labels": labels,
        "label_kind": label_kind,
        "tracer": tracer,
        "disease": disease,
        "severity": severity,
        "atrophy": atrophy,
        "coupling": coupling,
        "ct": ct,
        "lesions": lesions,
        "voxel_mm": voxel_mm,
        "length_mm": length_mm,
        "companions": companions,
        "also": also,
        "timing_ps": timing_ps,
        "attenuation": options.named_paths(attenuation, option="--attenuation") or None,
    }
    values = {name: value for name, value in given.items() if value is not None}
    values |= {
        "count_fraction": count_fraction,
        "scanner": scanner,
        "beds": beds,
        "seed": seed,
        "file_format": image_format,
        "timestamp": timestamp,
    }
    settings = resolve(SimulatePetSettings, values, where="the options")
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_pet(settings, output, overwrite=overwrite, progress=progress)
    if as_json:
        terminal.print_json(record)
        return
    terminal.print_line(f"Wrote {output} (simulated, {count_fraction:g} of the counts)")
    terminal.print_line(f"What is known of it: {output / 'reference'}")
    brain_options.print_brain(terminal, record)
    if source is not None:
        terminal.print_line(f"  attenuation: {record['attenuation']}")
        terminal.print_line(f"  reference: {record['reference']}")
        for warning in record["warnings"]:
            terminal.print_line(f"  warning: {warning}")


app.command("spect")(simulate_spect.spect)
app.command("planar")(simulate_planar.planar)
app.command("dynamic")(simulate_dynamic.dynamic)
app.command("cohort")(simulate_cohort.cohort)
app.command("recipes")(simulate_cohort.recipes)
