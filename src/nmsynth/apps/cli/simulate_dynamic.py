"""``nmsynth simulate dynamic``: a simulated dynamic PET scan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of
from nmsynth.core.config import resolve
from nmsynth.core.errors import InputError


def dynamic(
    context: typer.Context,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write the scan to.")],
    tracer: Annotated[
        str, typer.Option(help="FDG, florbetaben, flutemetamol, florbetapir (amyloid) or FDOPA.")
    ] = "FDG",
    labels: Annotated[
        Path | None,
        typer.Option(metavar="MAP", help="NIfTI map of FreeSurfer numbers instead of a procedural head."),
    ] = None,
    drawn: Annotated[
        bool, typer.Option("--drawn-head", help="A drawn head with the regions of a brain, not grey and white matter.")
    ] = False,
    severity: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Of disease: plaques (amyloid), loss of striatal uptake (FDOPA); FDG has none."
        ),
    ] = 0.0,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames from the injection on, as number x seconds: '6x10,4x30,10x300'.",
            show_default="the tracer's own, an hour to 110 minutes",
        ),
    ] = None,
    voxel_mm: Annotated[float, typer.Option("--voxel-mm", min=2.0, max=8.0, help="Voxel size in mm.")] = 3.0,
    length_mm: Annotated[
        float, typer.Option("--length-mm", min=24.0, max=300.0, help="Length in mm down from the top of the head.")
    ] = 160.0,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Simulate a dynamic PET scan of a head, from the injection on, with its rate constants known.

    OUTPUT gets scan.nii.gz (frames), plasma.csv, early and late images, the ratio to the tracer's reference region
    (suvr) and parametric images: patlak (FDG), patlak_reference (FDOPA) or r1, bp and dvr (amyloid). Its folder
    'reference' gets the noise-free and the true frames, the truth of each image, regions and simulation.json.
    """
    from nmsynth.workflows.dynamic_simulation import SimulateDynamicSettings, simulate_dynamic

    values = {
        "tracer": tracer, "severity": severity, "labels": labels, "frames_s": _frames(frames), "voxel_mm": voxel_mm,
        "length_mm": length_mm, "seed": seed, "head": "drawn" if drawn else None,
    }  # fmt: skip
    settings = resolve(SimulateDynamicSettings, {k: v for k, v in values.items() if v is not None}, where="the options")
    terminal = terminal_of(context)
    with terminal.progress() as progress:
        record = simulate_dynamic(settings, output, overwrite=overwrite, progress=progress)
    if as_json:
        terminal.print_json(record)
        return
    terminal.print_line(f"Wrote {output} (simulated, {len(record['frames_s'])} frames)")
    for name, reason in record["left_out"].items():
        terminal.print_line(f"No {name}: {reason}")
    terminal.print_line(f"What is known of it: {output / 'reference'}")


def _frames(text: str | None) -> tuple[float, ...] | None:
    """Lengths of frames [s] from a text such as ``6x10,4x30``."""
    if text is None:
        return None
    lengths: list[float] = []
    for part in text.split(","):
        number, _, seconds = part.strip().partition("x")
        try:
            count, length = int(number), float(seconds)
        except ValueError:
            count, length = 0, 0.0
        if not (0 < count <= 500 and 0 < length <= 86400):
            raise InputError(f"Frames are given as number x seconds, such as '6x10,4x30'; found {part.strip()!r}.")
        lengths += [length] * count
    return tuple(lengths)
