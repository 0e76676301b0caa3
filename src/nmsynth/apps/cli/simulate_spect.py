"""``nmsynth simulate spect``: a simulated SPECT scan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import heart_options, options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.config import resolve


class SpectPhantom(StrEnum):
    """A phantom that a gamma camera scans."""

    WHOLE_BODY = "whole-body"
    HEART = "heart"
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


def spect(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write the scan to.")],
    phantom: Annotated[SpectPhantom, typer.Option(help="What is scanned.")] = SpectPhantom.WHOLE_BODY,
    tracer: Annotated[
        SpectTracer | None,
        typer.Option(
            help="MDP: bone, HMPAO: brain perfusion, SESTAMIBI and TETROFOSMIN: heart, all Tc-99m; DOTATATE: Lu-177, a "
            "day after therapy.",
            show_default="MDP, SESTAMIBI for a heart",
        ),
    ] = None,
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
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate a SPECT scan of a phantom, by a camera with attenuation, collimator response and scatter.

    OUTPUT gets scan.nii.gz and the counts of the projections, and in its folder 'reference' what is known of it: full
    counts, noise-free image, true activity, attenuation, organs, lesions, segments of a heart; and simulation.json.
    """
    from nmsynth.workflows.spect_simulation import SimulateSpectSettings, simulate_spect

    values = {
        "phantom": phantom,
        "tracer": tracer,
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
        "voxel_mm": voxel_mm,
        "length_mm": length_mm,
        "attenuation_correction": attenuation_correction,
        "heart": heart_options.heart_values(
            rest=rest, defect=defect, defects=defects, gate=gate, abdominal_activity=abdominal_activity
        ),
        "seed": seed,
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
    penetration = record["scan"]["septal_penetration"]
    if penetration > 0.05:
        terminal.print_line(
            f"  warning: {penetration:.0%} of the photons pass a septum of this collimator; that is not simulated."
        )
