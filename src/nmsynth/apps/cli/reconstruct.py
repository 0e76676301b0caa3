"""``nmsynth reconstruct``: a volume from raw projections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of


def reconstruct(
    context: typer.Context,
    projections: Annotated[Path, typer.Argument(metavar="INPUT", help="Raw projections: DICOM NM, TOMO.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A .nii or .nii.gz file.")],
    iterations: Annotated[int, typer.Option(min=1, max=50, help="Passes over all views.")] = 4,
    subsets: Annotated[int, typer.Option(min=1, max=60, help="Of the views, at most a quarter of them.")] = 6,
    filter_mm: Annotated[float, typer.Option(min=0, max=30, help="Gaussian afterwards, FWHM [mm].")] = 8.0,
    series_uid: options.SeriesUid = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Reconstruct the raw projections of a SPECT scan by OSEM, without any correction, in relative values."""
    from nmsynth.workflows.tomogram_reconstruction import ReconstructionSettings, reconstruct_projections

    terminal = terminal_of(context)
    settings = ReconstructionSettings(n_iterations=iterations, n_subsets=subsets, filter_fwhm_mm=filter_mm)
    volume = reconstruct_projections(projections, output, settings, series_uid=series_uid, overwrite=overwrite)
    facts = {
        "reconstruction": volume.acquisition.reconstruction,
        "shape (z, y, x)": " x ".join(map(str, volume.shape)),
        "unit": volume.unit.value,
        "warnings": list(volume.warnings),
    }
    if as_json:
        terminal.print_json({"schema_version": 1, **facts})
        return
    terminal.print_line(f"{output}: {facts['shape (z, y, x)']}, {facts['unit']}, {facts['reconstruction']}")
    for warning in volume.warnings:
        terminal.print_line(f"  {warning}")
