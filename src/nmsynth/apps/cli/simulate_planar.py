"""``nmsynth simulate planar``: simulated planar views, or a measured series with fewer counts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.simulate_spect import CollimatorName
from nmsynth.apps.cli.terminal import Terminal, terminal_of
from nmsynth.core.config import resolve
from nmsynth.core.errors import InputError


class PlanarPhantom(StrEnum):
    """What a planar view is of."""

    WHOLE_BODY = "whole-body"
    NEMA = "nema"
    CYLINDER = "cylinder"
    DERENZO = "derenzo"
    JASZCZAK = "jaszczak"


class PlanarTracerName(StrEnum):
    """What is injected."""

    MDP = "MDP"
    MAA = "MAA"
    MAA_SHUNT = "MAA-SHUNT"
    DMSA = "DMSA"
    PERTECHNETATE = "PERTECHNETATE"


class RegionName(StrEnum):
    """What of a patient is imaged."""

    WHOLE_BODY = "whole-body"
    NECK = "neck"
    CHEST = "chest"
    LUNGS = "lungs"
    KIDNEYS = "kidneys"
    PELVIS = "pelvis"


class ViewName(StrEnum):
    """Side that the camera stands on."""

    ANTERIOR = "anterior"
    POSTERIOR = "posterior"


_SERIES, _SCAN = "A measured series", "A simulated scan"


def planar(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write to.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            "--from",
            rich_help_panel=_SERIES,
            help="An NM series of measured counts, planar or raw projections, DICOM: each count is kept with the "
            "probability of --count-fraction; the others are written beside as an independent reference.",
        ),
    ] = None,
    series_uid: Annotated[
        str | None,
        typer.Option("--series-uid", rich_help_panel=_SERIES, help="Series of --source, where it holds several."),
    ] = None,
    phantom: Annotated[
        PlanarPhantom | None,
        typer.Option(rich_help_panel=_SCAN, help="What is imaged.", show_default="whole-body"),
    ] = None,
    tracer: Annotated[
        PlanarTracerName | None,
        typer.Option(
            rich_help_panel=_SCAN,
            help="All Tc-99m. MDP: bone; MAA: lungs, MAA-SHUNT: with a right-to-left shunt; DMSA: kidneys; "
            "PERTECHNETATE: thyroid.",
            show_default="MDP",
        ),
    ] = None,
    region: Annotated[
        RegionName | None,
        typer.Option(
            rich_help_panel=_SCAN,
            help="What of a patient is imaged; the whole body reaches from mid-thigh to vertex.",
            show_default="that of the tracer",
        ),
    ] = None,
    view: Annotated[
        list[ViewName] | None, typer.Option("--view", rich_help_panel=_SCAN, help="Repeatable.", show_default="both")
    ] = None,
    collimator: Annotated[
        CollimatorName | None, typer.Option(rich_help_panel=_SCAN, help="Collimator.", show_default="LEHR")
    ] = None,
    pixel_mm: Annotated[
        float | None,
        typer.Option(
            "--pixel-mm", min=1.0, max=10.0, rich_help_panel=_SCAN, help="Pixel in mm.", show_default="2.4; neck 1.2"
        ),
    ] = None,
    scan_speed: Annotated[
        float | None,
        typer.Option(
            "--scan-speed", min=1.0, max=100.0, rich_help_panel=_SCAN, help="Whole body, cm/min.", show_default="12"
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, rich_help_panel=_SCAN, help="Time of a spot view.", show_default="usual for the region"),
    ] = None,
    gap_mm: Annotated[
        float | None,
        typer.Option(
            "--gap-mm", min=5.0, max=300.0, rich_help_panel=_SCAN, help="Body to the anterior face.", show_default="20"
        ),
    ] = None,
    lesions: Annotated[
        int | None,
        typer.Option(min=0, max=60, rich_help_panel=_SCAN, help="Bone lesions, MDP only.", show_default="drawn"),
    ] = None,
    defects: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=8,
            rich_help_panel=_SCAN,
            help="Cold defects of lungs (MAA) or kidneys (DMSA).",
            show_default="drawn",
        ),
    ] = None,
    image_format: Annotated[
        options.OutputFormat | None,
        typer.Option("--format", rich_help_panel=_SCAN, help="Format of the scan.", show_default="dicom"),
    ] = None,
    count_fraction: Annotated[
        float, typer.Option("--count-fraction", min=0.0001, max=1.0, help="Counts over those of protocol or series.")
    ] = 1.0,
    timestamp: Annotated[
        bool, typer.Option("--timestamp", help="Write the time of creation; else a seed always gives the same files.")
    ] = False,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate anterior and posterior views of a phantom, or thin the counts of a measured NM series.

    OUTPUT gets the scan (one NM object in 'scan', or a NIfTI image a view), and in its folder 'reference' what is known
    of it: full counts, noise-free counts, true activity, lesions and body; or the complement of the counts; and
    simulation.json.
    """
    from nmsynth.workflows.planar_simulation import SimulatePlanarSettings, simulate_planar
    from nmsynth.workflows.thinning import ThinSettings

    shared = {"count_fraction": count_fraction, "seed": seed, "timestamp": timestamp}
    given: dict[str, Any] = {
        "phantom": phantom,
        "tracer": tracer,
        "region": region,
        "views": tuple(view) if view else None,
        "collimator": collimator,
        "pixel_mm": pixel_mm,
        "scan_speed_cm_min": scan_speed,
        "seconds": seconds,
        "gap_mm": gap_mm,
        "lesions": lesions,
        "defects": defects,
        "file_format": image_format,
    }
    given = {name: value for name, value in given.items() if value is not None}
    settings: SimulatePlanarSettings | ThinSettings
    if source is not None:
        if given:
            raise InputError(
                "A measured series keeps its views, pixels and format; an option of a simulated scan was given with "
                "--source. Leave it out."
            )
        if count_fraction == 1:
            raise InputError("Thinning keeps less than all counts; --count-fraction is 1. Give one below 1.")
        settings = resolve(ThinSettings, {**shared, "source": source, "series_uid": series_uid}, where="the options")
    else:
        if series_uid is not None:
            raise InputError("--series-uid belongs to --source, which is missing. Add it or leave it out.")
        settings = resolve(SimulatePlanarSettings, {**shared, **given}, where="the options")
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_planar(settings, output, overwrite=overwrite, progress=progress)
    if as_json:
        terminal.print_json(record)
    else:
        _tell(terminal, record, output, thinned=source is not None)


def _tell(terminal: Terminal, record: dict[str, Any], output: Path, *, thinned: bool) -> None:
    """Say what was written."""
    if thinned:
        kept, whole = sum(record["counts_kept"]), sum(record["counts_of_source"])
        terminal.print_line(f"Wrote {output / 'scan'} (simulated, {kept:,} of {whole:,} counts)")
        terminal.print_line(f"The other counts, independent of them: {output / 'reference' / 'complement'}")
        for warning in record["warnings"]:
            terminal.print_line(f"  warning: {warning}")
        return
    scan = record["scan"]
    counts = ", ".join(f"{v} {n:,.0f}" for v, n in zip(scan["views"], scan["counts"][-1], strict=True))
    terminal.print_line(f"Wrote {output} (simulated, counts: {counts})")
    terminal.print_line(f"What is known of it: {output / 'reference'}")
    if scan["septal_penetration"] > 0.05:
        terminal.print_line(
            f"  warning: {scan['septal_penetration']:.0%} of the photons pass a septum of this collimator; that is not "
            "simulated."
        )
