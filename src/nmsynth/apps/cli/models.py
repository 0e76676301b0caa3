"""``nmsynth models``: which models there are, their cards, their checksums; export and import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nmsynth.apps.cli import options
from nmsynth.apps.cli.terminal import terminal_of

app = typer.Typer(help="List, show, verify, export and import models.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model, folder of a package, or hub:OWNER/NAME.")]


class ExportFormat(StrEnum):
    """Format of an export."""

    PACKAGE = "package"
    ONNX = "onnx"
    OPENVINO = "openvino"
    MONAI_BUNDLE = "monai-bundle"


@app.command("list")
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """List the models that are installed."""
    from nmsynth.models.registry import list_models
    from nmsynth.workflows.tasks import defaults

    terminal = terminal_of(context)
    of_task = defaults()
    found: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "version": entry.card.version if entry.card else None,
            "task": entry.card.task if entry.card else None,
            "sha256": entry.card.sha256 if entry.card else None,
            "size_bytes": entry.size_bytes,
            "licence": entry.card.licence if entry.card else None,
            "shipped": entry.shipped,
            "default": entry.name in of_task.values(),
            "verdict": entry.card.verdict if entry.card else None,
            "summary": entry.card.summary if entry.card else None,
            "problem": entry.problem,
        }
        for entry in list_models()
    ]
    if as_json:
        terminal.print_json({"schema_version": 1, "models": found})
    elif found:
        rows = [
            [
                *(r["name"], r["version"], r["task"], "yes" if r["default"] else None, f"{r['size_bytes'] / 1e6:.1f}"),
                r["problem"] or f"{r['verdict']} {r['summary']}".strip(),
            ]
            for r in found
        ]
        terminal.print_table(("name", "version", "task", "default", "MB", "summary"), rows)
    else:
        terminal.print_line("No model is installed.")


@app.command("show")
def show(context: typer.Context, name: Name, as_json: options.Json = False) -> None:
    """Show the card of a model: data, envelope, performance, limits."""
    from nmsynth.models.registry import show_model

    terminal = terminal_of(context)
    card = show_model(name)
    if as_json:
        terminal.print_json(card.model_dump(mode="json"))
        return
    for line in card.to_markdown().splitlines():
        terminal.print_line(line)


@app.command("calibrate")
def calibrate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training, with its model and cases.")],
    samples: Annotated[int, typer.Option("--samples", min=2, help="Samples that are drawn of each case.")] = 16,
    as_json: options.Json = False,
) -> None:
    """Calibrate the intervals of a model that draws samples, on the patients held for validation."""
    from nmsynth.workflows.calibration import calibrate_run

    terminal = terminal_of(context)
    with terminal.progress() as progress:
        found = calibrate_run(run, n_samples=samples, progress=progress)
    if as_json:
        terminal.print_json({"schema_version": 1, **found.model_dump(mode="json")})
        return
    terminal.print_line(
        f"{100 * found.coverage:g} % intervals from {found.n_samples} samples, calibrated on {found.n_cases} patients "
        f"with {found.n_regions} regions; written to the card"
    )


@app.command("verify")
def verify(context: typer.Context, name: Name, as_json: options.Json = False) -> None:
    """Check that a model's files are whole and are those its card names."""
    from nmsynth.models.registry import verify_model

    terminal = terminal_of(context)
    card = verify_model(name)
    result = {"name": card.name, "version": card.version, "sha256": card.sha256}
    if as_json:
        terminal.print_json({"schema_version": 1, **result})
    else:
        terminal.print_pairs(result, title="The model is whole: its weights are those that its card names.")


@app.command("export")
def export(
    context: typer.Context,
    name: Name,
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder or .zip (package), .onnx, .xml (OpenVINO), folder (MONAI).")
    ],
    kind: Annotated[ExportFormat, typer.Option("--format", help="What is written.")] = ExportFormat.PACKAGE,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write a model for another program, after checking that it gives the same numbers there."""
    from nmsynth.models.export import export_model

    terminal = terminal_of(context)
    done = export_model(name, output, kind=kind.value, overwrite=overwrite)
    if as_json:
        terminal.print_json({"schema_version": 1, **done.to_json()})
        return
    terminal.print_line(f"Wrote {output} ({done.kind}).")
    if done.difference is not None:
        sizes = "any size" if done.any_size else "one size"
        terminal.print_line(
            f"  Takes {', '.join(done.inputs)} of {sizes}; differs by {done.difference:.1e} of the largest value."
        )


@app.command("import")
def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or zip of a model package.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name by which it is loaded.", show_default="that of its card")
    ] = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Check a model package and install it among your models."""
    from nmsynth.models.registry import install_model

    terminal = terminal_of(context)
    entry = install_model(path, name=name, overwrite=overwrite)
    result = {"name": entry.name, "version": entry.card.version if entry.card else None}
    if as_json:
        terminal.print_json({"schema_version": 1, **result})
    else:
        terminal.print_pairs(result, title="The model was checked and is installed.")
