"""``nmsynth simulate spect``: a simulated SPECT scan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import brain_options, heart_options, options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.config import resolve


class SpectPhantom(StrEnum):
    """A phantom that a gamma camera scans."""

    WHOLE_BODY = "whole-body"
    HEART = "heart"
    BRAIN = "brain"
    NEMA = "nema"
    CYLINDER = "cylinder"
    DERENZO = "derenzo"
    JASZCZAK = "jaszczak"


class SpectTracer(StrEnum):
    """What is injected."""

    MDP = "MDP"
    HMPAO = "HMPAO"
    DOTATATE = "DOTATATE"
    SESTAMIBI = "SESTAMIBI"
    TETROFOSMIN = "TETROFOSMIN"
    IOFLUPANE = "ioflupane"


class Region(StrEnum):
    """What of a patient is scanned."""

    TRUNK = "trunk"
    HEAD = "head"


class CollimatorName(StrEnum):
    """A collimator of parallel holes."""

    LEHR = "LEHR"
    LEUHR = "LEUHR"
    MEGP = "MEGP"
    HEGP = "HEGP"


class RadionuclideName(StrEnum):
    """A radionuclide that a gamma camera sees."""

    TC_99M = "Tc-99m"
    I_123 = "I-123"
    LU_177 = "Lu-177"


class ScatterModelName(StrEnum):
    """How scatter is made."""

    COMPTON = "compton"
    CONVOLUTION = "convolution"


class ScatterCorrectionName(StrEnum):
    """What scatter is estimated from."""

    MODEL = "model"
    WINDOWS = "windows"


class SliceUnitName(StrEnum):
    """What a slice thickness is counted in."""

    MM = "mm"
    PIXELS = "pixels"


_OWN = "A phantom of your own"


class OtherReconstruction(StrEnum):
    """What else is made of the counts of a scan."""

    UNCORRECTED = "uncorrected"
    SPARSE = "sparse"


def spect(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write the scan to.")],
    phantom: Annotated[SpectPhantom, typer.Option(help="What is scanned.")] = SpectPhantom.WHOLE_BODY,
    tracer: Annotated[
        SpectTracer | None,
        typer.Option(
            help="MDP: bone, HMPAO: brain perfusion, SESTAMIBI and TETROFOSMIN: heart, all Tc-99m; DOTATATE: Lu-177, a "
            "day after therapy; ioflupane: I-123, dopamine transporters, of a brain.",
            show_default="MDP, SESTAMIBI for a heart",
        ),
    ] = None,
    labels: brain_options.BrainLabels = None,
    disease: brain_options.DiseaseOption = None,
    severity: brain_options.Severity = None,
    atrophy: brain_options.Atrophy = None,
    coupling: brain_options.CouplingOption = None,
    region: Annotated[
        Region | None, typer.Option(help="What of a patient is scanned.", show_default="head with HMPAO, else trunk")
    ] = None,
    collimator: Annotated[
        CollimatorName | None, typer.Option(help="Collimator.", show_default="the one that suits the radionuclide")
    ] = None,
    views: Annotated[int, typer.Option(min=8, max=360, help="Views over the arc.")] = 60,
    arc: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            max=360.0,
            help="Angle over which the views are spread.",
            show_default="360, 180 for a heart",
        ),
    ] = None,
    first_angle: Annotated[
        float | None,
        typer.Option(
            "--first-angle",
            min=-360.0,
            max=360.0,
            help="Of the first view: 0 front, 90 left.",
            show_default="0, -45 for a heart",
        ),
    ] = None,
    seconds_per_view: Annotated[float, typer.Option("--seconds-per-view", min=0.1, help="Time of each view.")] = 20.0,
    radius_mm: Annotated[
        float | None,
        typer.Option(
            "--radius-mm",
            min=80.0,
            max=450.0,
            help="From the axis to the collimator in mm.",
            show_default="15 mm from the body",
        ),
    ] = None,
    count_fraction: Annotated[
        float, typer.Option("--count-fraction", min=0.0001, max=1.0, help="Counts over those of the protocol.")
    ] = 1.0,
    iterations: Annotated[int, typer.Option(min=1, max=50, help="Iterations of OSEM.")] = 4,
    subsets: Annotated[int, typer.Option(min=1, max=60, help="Subsets of OSEM.")] = 6,
    filter_mm: Annotated[
        float, typer.Option("--filter-mm", min=0.0, max=30.0, help="Width of the filter in mm, at half maximum.")
    ] = 8.0,
    lesions: Annotated[
        int | None, typer.Option(min=0, max=60, help="Lesions put in.", show_default="drawn for a patient")
    ] = None,
    voxel_mm: Annotated[
        float | None,
        typer.Option("--voxel-mm", min=2.0, max=10.0, help="Voxel size in mm.", show_default="4.8, 6.4 for a heart"),
    ] = None,
    length_mm: Annotated[
        float | None,
        typer.Option(
            "--length-mm",
            min=8.0,
            help="Length in mm about the middle of the body, or of the heart.",
            show_default="390, 205 for a heart",
        ),
    ] = None,
    image_format: Annotated[
        options.OutputFormat, typer.Option("--format", help="Format of the scan and its projections.")
    ] = options.OutputFormat.NIFTI,
    attenuation_correction: Annotated[
        bool,
        typer.Option(
            "--attenuation-correction/--no-attenuation-correction",
            help="Whether the image is corrected for attenuation; the counts of a seed do not depend on it.",
        ),
    ] = True,
    rest: heart_options.Rest = None,
    defect: heart_options.Defect = None,
    defects: heart_options.Defects = None,
    gate: heart_options.Gate = None,
    abdominal_activity: heart_options.AbdominalActivity = None,
    companions: options.With = None,
    also: Annotated[
        list[OtherReconstruction] | None,
        typer.Option(
            help="Further images of the same counts: without attenuation correction, or from few views. Repeatable."
        ),
    ] = None,
    sparse_factor: Annotated[
        int | None,
        typer.Option("--sparse-factor", min=2, max=16, help="One view in so many makes the sparse image; 4."),
    ] = None,
    seed: options.Seed = 0,
    window_kev: Annotated[
        float | None,
        typer.Option(
            "--window-kev",
            min=81.0,
            max=599.0,
            help="Centre of the energy window in keV; of Lu-177 112.9 or 208.4.",
            show_default="the usual photon",
        ),
    ] = None,
    window_percent: Annotated[
        float, typer.Option("--window-percent", min=1.0, max=40.0, help="Width of the energy window in percent.")
    ] = 20.0,
    scatter: Annotated[
        ScatterModelName,
        typer.Option(help="Scatter by energy, depth and density, or primaries convolved with one kernel."),
    ] = ScatterModelName.COMPTON,
    scatter_correction: Annotated[
        ScatterCorrectionName,
        typer.Option(
            "--scatter-correction",
            help="By the simulation's own scatter, up to 15 % wrong, or from counts in windows on either side.",
        ),
    ] = ScatterCorrectionName.MODEL,
    activity: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_OWN,
            help="Activity of your own instead of a phantom, NIfTI or Interfile (.h33, also in a zip: "
            "phantoms.zip/name.h33), on any grid. Needs --mu.",
        ),
    ] = None,
    mu: Annotated[Path | None, typer.Option(rich_help_panel=_OWN, help="Its attenuation, on any grid.")] = None,
    total_mbq: Annotated[
        float | None,
        typer.Option(
            "--total-mbq", min=1e-6, rich_help_panel=_OWN, help="Scale the activity to this total at the scan, in MBq."
        ),
    ] = None,
    radionuclide: Annotated[
        RadionuclideName | None,
        typer.Option(rich_help_panel=_OWN, help="Of that activity.", show_default="the tracer's"),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(rich_help_panel=_OWN, help="Unit of an activity that states none: 'Bq/mL'.")
    ] = None,
    mu_unit: Annotated[
        str | None,
        typer.Option("--mu-unit", rich_help_panel=_OWN, help="Of a --mu that states none: 1/cm, HU."),
    ] = None,
    mu_kev: Annotated[
        float | None,
        typer.Option(
            "--mu-kev",
            min=80.0,
            max=600.0,
            rich_help_panel=_OWN,
            help="Photon energy of a --mu in 1/cm, in keV.",
        ),
    ] = None,
    mu_materials: Annotated[
        str | None,
        typer.Option(
            "--mu-materials",
            rich_help_panel=_OWN,
            help="Materials where --mu holds their numbers, such as '1=cortical bone,2=soft tissue'; others are air.",
        ),
    ] = None,
    slice_unit: Annotated[
        SliceUnitName | None,
        typer.Option("--slice-unit", rich_help_panel=_OWN, help="What an Interfile header counts slice thickness in."),
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate a SPECT scan of a phantom, by a camera with attenuation, collimator response and scatter.

    OUTPUT gets scan.nii.gz and the counts of the projections (in DICOM the folders scan and projections), and in its
    folder 'reference' what is known of it: full counts, noise-free image, true activity, attenuation, organs, lesions,
    segments of a heart; and simulation.json.
    """
    from nmsynth.workflows.spect_simulation import SimulateSpectSettings, simulate_spect

    values = {
        "phantom": phantom,
        "tracer": tracer,
        "labels": labels,
        "disease": disease,
        "severity": severity,
        "atrophy": atrophy,
        "coupling": coupling,
        "region": region,
        "collimator": collimator,
        "n_views": views,
        "arc_deg": arc,
        "first_deg": first_angle,
        "seconds_per_view": seconds_per_view,
        "radius_mm": radius_mm,
        "count_fraction": count_fraction,
        "n_iterations": iterations,
        "n_subsets": subsets,
        "filter_fwhm_mm": filter_mm,
        "lesions": lesions,
        "file_format": image_format,
        "voxel_mm": voxel_mm,
        "length_mm": length_mm,
        "attenuation_correction": attenuation_correction,
        "heart": heart_options.heart_values(
            rest=rest, defect=defect, defects=defects, gate=gate, abdominal_activity=abdominal_activity
        ),
        "seed": seed,
        "window_kev": window_kev,
        "window_percent": window_percent,
        "scatter": scatter,
        "scatter_correction": scatter_correction,
        "activity": activity,
        "mu": mu,
        "total_mbq": total_mbq,
        "radionuclide": radionuclide,
        "unit": unit,
        "mu_unit": mu_unit,
        "mu_kev": mu_kev,
        "mu_materials": mu_materials,
        "slice_unit": slice_unit,
        "companions": companions,
        "also": also,
        "sparse_factor": sparse_factor,
    }
    settings = resolve(SimulateSpectSettings, {k: v for k, v in values.items() if v is not None}, where="the options")
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_spect(settings, output, overwrite=overwrite, progress=progress)
    if as_json:
        terminal.print_json(record)
        return
    terminal.print_line(f"Wrote {output} (simulated, {record['scan']['counts'][-1]:,.0f} counts)")
    terminal.print_line(f"What is known of it: {output / 'reference'}")
    share = record["scan"].get("share_in_field", 1.0)
    if share < 0.99:
        terminal.print_line(f"  warning: {share:.0%} of the activity lies in the field; the rest is not scanned.")
    brain_options.print_brain(terminal, record)
    penetration = record["scan"]["septal_penetration"]
    if penetration > 0.05:
        terminal.print_line(
            f"  warning: {penetration:.0%} of the photons pass a septum of this collimator; that is not simulated."
        )
